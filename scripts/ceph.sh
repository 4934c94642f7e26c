#!/usr/bin/env bash
# A gateway of Ceph on this machine's loopback, to test against: S3 as others speak it.
#
#   scripts/ceph.sh start DIR    start one in DIR, empty or missing; prints the environment to use
#   scripts/ceph.sh stop DIR     end it
#
# One monitor, one manager, one OSD in memory, one gateway, all on ports of loopback that are free;
# about 500 MB of memory, ready in some 15 s. Nothing in it lasts. Needs: ceph-mon ceph-mgr ceph-osd
# radosgw.
set -euo pipefail

KEY=vfstest SECRET=vfstestvfstest BUCKET=vfs

die() { printf 'ceph: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '4,6s/^# *//p' "$0" >&2; exit 2; }

[ $# = 2 ] || usage
command=$1 dir=$(realpath -m "$2")
export CEPH_CONF=$dir/ceph.conf

write_conf() {
    cat > "$CEPH_CONF" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = v1:127.0.0.1:$MON_PORT
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_objectstore = memstore
memstore_device_bytes = 8G
osd_max_object_size = 128M
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
log_file = $dir/log/\$name.log
pid_file = $dir/run/\$name.pid
mon_data = $dir/mon
mgr_data = $dir/mgr
osd_data = $dir/osd
keyring = /dev/null
setuser_match_path =
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$PORT
rgw_data = $dir/rgw
rgw_enable_usage_log = false
CONF
}

free_ports() {
    # Held at once, so that they differ.
    python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))'
}

start() {
    [ ! -e "$dir/ceph.conf" ] || die "there is one in $dir already"
    local PORT MON_PORT
    read -r PORT MON_PORT <<<"$(free_ports)"
    mkdir -p "$dir"/{mon,mgr,osd,rgw,run,log}
    write_conf
    local fsid monmap=$dir/monmap
    fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
    monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$MON_PORT]" "$monmap" >/dev/null
    ceph-mon --mkfs -i a --monmap "$monmap" --mon-data "$dir/mon" 2>"$dir/log/start"
    ceph-mon -i a
    ceph-mgr -i a
    local id uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    id=$(timeout 60 ceph osd new "$uuid" 2>>"$dir/log/start")
    ceph-osd -i "$id" --mkfs --osd-uuid "$uuid" 2>>"$dir/log/start"
    # It may ask the monitor for something before it knows whose it is ("wrong fsid"), and ends then.
    local tries=20
    until ceph-osd -i "$id" 2>>"$dir/log/start"; do
        [ $((tries -= 1)) -gt 0 ] || die "the OSD does not start; see $dir/log"
        sleep 0.2
    done
    radosgw -n client.rgw 2>>"$dir/log/start"
    tries=120
    until curl -sf -o /dev/null "http://127.0.0.1:$PORT/"; do
        [ $((tries -= 1)) -gt 0 ] || die "the gateway does not answer; see $dir/log"
        sleep 0.5
    done
    timeout 60 radosgw-admin -n client.rgw user create --uid vfs --display-name vfs \
        --access-key "$KEY" --secret-key "$SECRET" >>"$dir/log/start" 2>&1
    make_bucket
    printf 'export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_REGION=default\n' \
        "$KEY" "$SECRET"
    printf 'export VFS_TEST_S3=s3://%s VFS_TEST_S3_ENDPOINT=http://127.0.0.1:%s\n' \
        "$BUCKET" "$PORT"
}

make_bucket() {
    # Signed by hand (version 2): nothing that makes buckets is needed for anything else.
    local date signature
    date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
    signature=$(printf 'PUT\n\n\n%s\n/%s' "$date" "$BUCKET" |
        openssl dgst -sha1 -hmac "$SECRET" -binary | base64)
    curl -sf -X PUT -H "Date: $date" -H "Authorization: AWS $KEY:$signature" \
        "http://127.0.0.1:$PORT/$BUCKET" || die "the bucket can't be made"
}

stop() {
    local file pid
    for file in "$dir"/run/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        # Only what still is one of Ceph's: the number may be another's by now.
        if grep -qE 'ceph|radosgw' "/proc/$pid/comm" 2>/dev/null; then
            kill -9 "$pid" || true  # asked to, it takes some 12 s, and nothing in it lasts
            timeout 20 tail --pid="$pid" -s 0.1 -f /dev/null || true
        fi
    done
    rm -rf "$dir"
}

case $command in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
