"""Scrubs and compactions are killed at any moment, while others write and read."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support.scrubbing import all_rows, damages, open_environment
from tests.support.stores import children, start_child

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("VFS_TEST_SCRUB_KILLS", "8"))

WRITE = """
import hashlib, random, select, sys
from pathlib import Path
from tests.support.scrubbing import change, open_environment
env, rows, chance = open_environment(Path(sys.argv[1])), {}, random.Random(5)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    env.write(lambda txn: change(env, txn, rows, chance))
print(hashlib.blake2b(repr(sorted(rows.items())).encode()).hexdigest())
"""

READ = """
import select, sys
from pathlib import Path
from tests.support.scrubbing import all_rows, open_environment
env = open_environment(Path(sys.argv[1]))
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for value in all_rows(env).values():
        assert value == (value[:20] * (len(value) // 20 + 1))[: len(value)], value[:40]
"""

SCRUB = """
import sys
from pathlib import Path
from tests.support.scrubbing import open_environment
from vfs.errors import Conflict
from vfs.store.compact import compact, scrub
env = open_environment(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    compact(env)
    try:
        scrub(env, patience_s=0.2)
    except Conflict:
        pass
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    path, moments = tmp_path / "store", random.Random(6)
    env = open_environment(path)
    with children(WRITE, [[path]]) as (writer,), children(READ, [[path]]) as (reader,):
        for child in (writer, reader):
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for _ in range(KILLS):
            scrubber = start_child(SCRUB, path)
            assert scrubber.stdout is not None
            assert scrubber.stdout.readline() == "ready\n"
            try:  # no event to wait for: any moment will do
                scrubber.wait(timeout=moments.uniform(0.0, 0.4))
            except subprocess.TimeoutExpired:
                scrubber.kill()
            _, err = scrubber.communicate()
            assert not err
            assert damages(env) == []
        for child in (writer, reader):
            said, err = child.communicate("end\n", timeout=60)
            assert child.returncode == 0, err
            if child is writer:
                digest = said.split()[-1]
    rows = repr(sorted(all_rows(env).items())).encode()
    assert hashlib.blake2b(rows).hexdigest() == digest
    env.close()
