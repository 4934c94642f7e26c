#!/usr/bin/env bash
# Make everything ready: system packages (through apt, only those that are missing), .venv, the
# package. With --bench also the programs that the benches compare with; with --gateway only what
# scripts/ceph.sh needs.
#
# PYTHON=/usr/bin/python3.12 chooses the interpreter; otherwise the first that is 3.11 or later.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 \
        /usr/bin/python3; do
        if is_recent "$candidate"; then
            # The base interpreter, not a virtual environment that happens to be active.
            "$candidate" -c 'import os, sys; print(getattr(sys, "_base_executable", sys.executable))'
            return
        fi
    done
    say "setup: vfs needs Python 3.11 or later, and there is none (python3 is" \
        "$(python3 --version 2>/dev/null || echo missing))."
    say "       Debian 12 and Ubuntu 24.04 have it as python3; on Ubuntu 22.04:" \
        "apt-get install python3.11"
    say "       An interpreter that is not in PATH: PYTHON=/path/to/python3 make ..."
    exit 1
}

# Names of the Debian packages that are missing, found by what they provide and not by their names,
# so that what was installed by other means counts too.
missing_packages() {
    local python=$1 version
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    command -v fusermount3 >/dev/null || echo fuse3
    command -v gcc >/dev/null || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists fuse3 2>/dev/null || echo libfuse3-dev
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
    "$python" -c 'import os, sysconfig as s
os.stat(os.path.join(s.get_path("include"), "Python.h"))' 2>/dev/null || echo "$version-dev"
    command -v setfattr >/dev/null || echo attr
    command -v setfacl >/dev/null || echo acl
    command -v rsync >/dev/null || echo rsync
    command -v git >/dev/null || echo git
    command -v make >/dev/null || echo make
}

missing_peers() {
    command -v borg >/dev/null || echo borgbackup
    command -v restic >/dev/null || echo restic
    command -v squashfuse >/dev/null || echo squashfuse
    command -v mksquashfs >/dev/null || echo squashfs-tools
    command -v fuse-overlayfs >/dev/null || echo fuse-overlayfs
    command -v bup >/dev/null || echo bup
    # Recommended by bup only, and what its mount is made with.
    /usr/bin/python3 -c 'import fuse' 2>/dev/null || echo python3-fuse
}

missing_gateway() {
    command -v ceph-mon >/dev/null || echo ceph-mon
    command -v ceph-mgr >/dev/null || echo ceph-mgr
    command -v ceph-osd >/dev/null || echo ceph-osd
    command -v radosgw >/dev/null || echo radosgw
    command -v curl >/dev/null || echo curl
    command -v openssl >/dev/null || echo openssl
}

install_packages() {
    local packages=("$@") become=()
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "these are missing, and there is no apt-get to install them with (names as in Debian): ${packages[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "as root, run: apt-get install ${packages[*]}"
        become=(sudo)
    fi
    say "setup: installing ${packages[*]}"
    "${become[@]}" apt-get update -q >&2
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}" >&2
}

main() {
    local python stamp packages
    if [ "${1:-}" = --bench ]; then
        mapfile -t packages < <(missing_peers)
        install_packages "${packages[@]}"
        .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[bench]'
        return
    fi

    if [ "${1:-}" = --gateway ]; then
        mapfile -t packages < <(missing_gateway)
        install_packages "${packages[@]}"
        return
    fi

    # The path is part of the stamp: an environment does not survive being moved.
    stamp="$(cat pyproject.toml scripts/setup.sh | sha256sum | cut -c1-64) $PWD ${PYTHON:-}"
    if [ -x .venv/bin/python ] && [ "$(cat .venv/ready 2>/dev/null)" = "$stamp" ]; then
        return
    fi

    python=$(find_python)
    mapfile -t packages < <(missing_packages "$python")
    install_packages "${packages[@]}"
    say "setup: making .venv with $("$python" --version) ($python)"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[test,dev]'
    [ -e /dev/fuse ] ||
        say "setup: there is no /dev/fuse here, so nothing can be mounted (modprobe fuse, or docker run --device /dev/fuse --cap-add SYS_ADMIN)"
    printf '%s' "$stamp" >.venv/ready
}

main "$@"
