#!/usr/bin/env bash
# Run a command with a gateway of Ceph beside it: VFS_TEST_S3 and its kin say where.
#
#   scripts/test_s3.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --gateway
dir=$(mktemp -d)/ceph
trap 'scripts/ceph.sh stop "$dir"; rmdir "$(dirname "$dir")"' EXIT
environment=$(scripts/ceph.sh start "$dir")
eval "$environment"
"$@"
