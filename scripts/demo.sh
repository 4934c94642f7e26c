#!/usr/bin/env bash
# The main job on real data: three public releases of tzdata become data@v1, data@v2, data@v3, and
# ordinary Unix tools compare them through one mount. Everything happens in a temporary directory
# that is gone afterwards, however this ends.
set -euo pipefail

RELEASES=(2023.3 2024.1 2025.2)
scripts=$(cd "$(dirname "$0")" && pwd)
"$scripts/setup.sh"
export PATH="$scripts/../.venv/bin:$PATH"

work=$(mktemp -d "${TMPDIR:-/tmp}/vfs-demo.XXXXXX")
export VFS_STORE=$work/store

cleanup() {
    status=$?
    trap - EXIT
    cd /
    if mounted; then
        vfs umount "$work/mnt" || umount -R -l "$work/mnt" || fusermount3 -u -z "$work/mnt" || true
    fi
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mounted() { grep -q " $work/mnt " /proc/self/mountinfo; }
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
note() { printf '\n%s# %s%s\n' "$dim" "$*" "$plain"; }
run() { # a command line, shown and then done; of a pipe the last status counts
    printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
    (set +o pipefail && eval "$1")
}
run_refused() { # a command line that has to fail
    ! run "$1" 2>&1
}

# Unpack one release into releases/VERSION; fails where there is no network.
fetch() {
    python -m pip --disable-pip-version-check download -q --no-deps --only-binary :all: \
        --retries 1 --timeout 10 -d wheels "tzdata==$1" >pip.log 2>&1 &&
        python -m zipfile -e "wheels/tzdata-$1-"*.whl unpacked &&
        mkdir -p releases &&
        mv unpacked/tzdata "releases/$1" &&
        rm -rf unpacked
}

get_releases() {
    note "Three releases of tzdata from the package index: ${RELEASES[*]}"
    local release number=0
    for release in "${RELEASES[@]}"; do
        fetch "$release" || break
    done
    [ -d "releases/${RELEASES[2]}" ] && return
    note "The package index can't be reached from here; using data made here, of the same shape."
    rm -rf releases
    for release in "${RELEASES[@]}"; do
        number=$((number + 1))
        python "$scripts/make_data.py" release "releases/$release" "$number"
    done
}

cd "$work"
get_releases

note "A store, and in it a data set"
run 'vfs init'
run 'vfs create data'

note "A working copy follows the releases; each state of it becomes a version"
number=0
for release in "${RELEASES[@]}"; do
    number=$((number + 1))
    run "rsync -r --checksum --delete releases/$release/ tz/"
    run "vfs import tz data -m 'tzdata $release' --tag v$number"
done

note "One mount shows all versions side by side"
mkdir mnt
run 'vfs mount mnt'
run 'ls mnt'
run 'ls mnt/data@v3'

note "What differs between two versions; directories that they share diff does not even enter"
run 'diff -r mnt/data@v1 mnt/data@v3 | head -n 12'
run 'diff -rq mnt/data@v1 mnt/data@v3 | wc -l'
run 'find mnt/data@v3 -type f | wc -l'

note "Content that versions share counts once"
run 'du -sc mnt/data@v1 mnt/data@v2 mnt/data@v3'

run 'vfs log data'
run 'vfs stats'

note "Nothing can change a version"
run_refused 'touch mnt/data@v1/new'

note "A branch can be written to: it begins as v2, at no cost, and holds what is done to it"
run 'vfs branch data trial --from v2'
until grep -q " $work/mnt/data@trial " /proc/self/mountinfo; do sleep 0.1; done
run 'ls mnt'
first=$(cd mnt/data@trial && find * -mindepth 1 -maxdepth 1 -type f | sort | head -n 1)
run "rm mnt/data@trial/$first"
run 'echo "what was tried" > mnt/data@trial/NOTES'
run 'vfs status data@trial'
run 'vfs commit data@trial -m "one file less, and why"'
run 'diff -rq mnt/data@v2 mnt/data@trial | cat'

run 'vfs umount mnt'
if mounted; then
    echo "demo: still mounted after vfs umount" >&2
    exit 1
fi
note "Unmounted. The temporary directory goes now too."
