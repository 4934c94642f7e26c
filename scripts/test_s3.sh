#!/usr/bin/env bash
# Run a command with a gateway of Ceph beside it: VFS_TEST_S3 and its kin say where.
#
#   scripts/test_s3.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(ceph-mon ceph-mgr ceph-osd radosgw curl openssl)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
dir=$(mktemp -d)/ceph
trap 'scripts/ceph.sh stop "$dir"; rmdir "$(dirname "$dir")"' EXIT
environment=$(scripts/ceph.sh start "$dir")
eval "$environment"
"$@"
