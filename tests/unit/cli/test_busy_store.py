"""What only reads does not wait for an import, which holds the store's one writing transaction."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOLD = """
import sys
from pathlib import Path
from vfs.store.store import Store

def wait(txn):
    print("holding", flush=True)
    sys.stdin.read()

with Store.open(Path(sys.argv[1])) as store:
    store._env.write(wait)
"""

# In one process, as starting an interpreter for each takes most of the time.
RUN = """
import json, os, sys
from pathlib import Path
from click.testing import CliRunner
from vfs.cli.main import vfs
from vfs.daemon import MountSpec, control
from vfs.store.shown import ShownSlots

store = Path(sys.argv[1])
for line in json.loads(sys.argv[2]):
    print(line, flush=True)
    done = CliRunner().invoke(vfs, ["--store", str(store), *line.split()])
    assert done.exit_code == 0, done.output
env = {"VFS_STORE": str(store), "_VFS_COMPLETE": "bash_complete", "COMP_LINE": "vfs ls da"}
print("completion", flush=True)
assert "data@v1" in CliRunner().invoke(vfs, [], env=env).output
print("mount", flush=True)
spec = MountSpec(store=store, mountpoint=store)
control._find_out(spec, ShownSlots(store, "busy"))
control._keep_house(spec)
print("end")
"""
READING = (
    "ls",
    "ls -l data",
    "log data --graph --stat -- README",
    "diff -u data@v1 data",
    "show data",
    "who -r data",
    "reflog data",
    "cat data:README",
    "stats",
    "tag data",
    "branch data --json",
    "gc --dry-run",
    "retention",
)


@pytest.fixture
def busy(new_store: Path) -> Iterator[Path]:
    """A store that another process writes to."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, new_store], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"holding\n"
        yield new_store
        assert writer.poll() is None


def test_what_reads_does_not_wait(busy: Path) -> None:
    command = [sys.executable, "-c", RUN, str(busy), json.dumps(READING)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1] == "end"
