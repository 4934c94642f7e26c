"""Real programs on a branch: they do what they do elsewhere, and a new mount shows the same."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.branch import Branch, a_branch
from tests.support.fsx import Fsx
from tests.support.mounting import wait_for_end

MODES = ("delete", "wal", "truncate", "persist", "memory")
WRITERS = 2
ROUNDS = 12
MOVES = """
import random, sqlite3, sys
path, mode, seed, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
database = sqlite3.connect(path, timeout=60, isolation_level=None)
database.execute(f"pragma journal_mode = {mode}")
numbers = random.Random(seed)
for number in range(rounds):
    database.execute("begin immediate")
    one, other = numbers.sample(range(50), 2)
    database.execute("update accounts set value = value - 1 where id = ?", (one,))
    database.execute("update accounts set value = value + 1 where id = ?", (other,))
    database.execute("insert into log values (?, ?)", (seed, "x" * numbers.randrange(2000)))
    database.execute("commit")
"""
DISK_BYTES = 48 << 20


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[Branch]:
    with a_branch(tmp_path) as branch:
        branch.mount()
        yield branch


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [os.fspath(part) if isinstance(part, Path) else str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def a_tree(directory: Path) -> None:
    """Files of several sizes, modes and times, holes, links of both kinds, a fifo."""
    for number in range(120):
        below = directory / f"d{number % 7}" / "e"
        below.mkdir(parents=True, exist_ok=True)
        file = below / f"f{number}"
        file.write_bytes(f"{number}\n".encode() * (number * number % 3000))
        file.chmod(0o600 | number % 64)
        os.utime(file, ns=(10**18, 10**18 + number))
        if number % 5 == 0:
            os.link(file, below / f"l{number}")
        if number % 7 == 0:
            (below / f"s{number}").symlink_to("../e/f" + "x" * number)
        if number % 11 == 0:
            os.setxattr(file, "user.number", str(number).encode())
    with (directory / "sparse").open("wb") as sparse:
        sparse.seek(3_000_000)
        sparse.write(b"end")
    os.mkfifo(directory / "fifo")


def test_git(branch: Branch) -> None:
    top = branch.mountpoint
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org")
    run("git", "init", "-q", "-b", "main", "work", cwd=top)
    a_tree(top / "work")
    (top / "work" / "fifo").unlink()
    for command in (("add", "."), ("commit", "-qm", "one"), ("checkout", "-qb", "two")):
        run(*git, *command, cwd=top / "work")
    (top / "work" / "d1" / "e" / "f1").write_text("two")
    for command in (
        ("mv", "d2", "moved"),
        ("commit", "-qam", "two"),
        ("checkout", "-q", "main"),
        ("merge", "-q", "two"),
        ("gc", "-q"),
    ):
        run(*git, *command, cwd=top / "work")
    run("git", "clone", "-q", "work", "copy", cwd=top)
    branch.unmount()
    branch.mount()
    for name in ("work", "copy"):
        run("git", "fsck", "--full", "--strict", cwd=top / name)
        assert run("git", "status", "--porcelain", cwd=top / name) == ""
    assert (top / "copy" / "d1" / "e" / "f1").read_text() == "two"


def test_sqlite_with_several_writers(branch: Branch) -> None:
    writers = []
    for mode in MODES:
        path = branch.mountpoint / f"{mode}.db"
        database = sqlite3.connect(path)
        assert database.execute(f"pragma journal_mode = {mode}").fetchone() == (mode,)
        database.execute("create table accounts (id integer primary key, value int)")
        database.execute("create table log (who, text)")
        database.executemany("insert into accounts values (?, 0)", [(at,) for at in range(50)])
        database.commit()
        database.close()
        for seed in range(WRITERS):
            command = [sys.executable, "-c", MOVES, str(path), mode, str(seed), str(ROUNDS)]
            writers.append(subprocess.Popen(command))
    assert [writer.wait(60) for writer in writers] == [0] * len(writers)
    branch.unmount()
    branch.mount()
    for mode in MODES:
        database = sqlite3.connect(branch.mountpoint / f"{mode}.db")
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        assert database.execute("select sum(value) from accounts").fetchone() == (0,)
        assert database.execute("select count(*) from log").fetchone() == (WRITERS * ROUNDS,)
        database.close()


def test_rsync_and_tar(branch: Branch, tmp_path: Path) -> None:
    source, top = tmp_path / "source", branch.mountpoint
    source.mkdir()
    a_tree(source)
    run("rsync", "-aHAX", f"{source}/", top / "copied")
    run("tar", "--xattrs", "-cf", tmp_path / "source.tar", "-C", source, ".")
    (top / "unpacked").mkdir()
    run("tar", "--xattrs", "-xpf", tmp_path / "source.tar", "-C", top / "unpacked")
    assert run("rsync", "-aHAXi", "--delete", f"{source}/", top / "copied") == ""
    branch.unmount()
    branch.mount()
    for name in ("copied", "unpacked"):
        assert run("rsync", "-aHAXic", "--delete", f"{source}/", top / name) == ""


def test_reads_and_writes_at_random(branch: Branch) -> None:
    path = branch.mountpoint / "file"
    tester = Fsx(path, 7)
    try:
        tester.run(2000)
    finally:
        tester.close()
    branch.unmount()
    branch.mount()
    assert path.read_bytes() == tester.shadow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk)
    yield disk
    run("umount", disk)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def test_what_cannot_be_stored_is_not_unmounted(small_disk: Path) -> None:
    with a_branch(small_disk) as branch:
        branch.mount()
        (branch.mountpoint / "kept").write_bytes(b"kept")
        run("sync", "-f", branch.mountpoint)
        with (branch.mountpoint / "waits").open("wb") as file:
            ballast = fill(small_disk)
            file.write(os.urandom(4 << 20))

        refused = branch.vfs("umount", branch.mountpoint, check=False)
        assert refused.returncode == 1
        assert "is full" in refused.stderr
        assert (branch.mountpoint / "waits").stat().st_size == 4 << 20

        ballast.unlink()
        branch.unmount()
        branch.mount()
        assert (branch.mountpoint / "kept").read_bytes() == b"kept"
        assert (branch.mountpoint / "waits").stat().st_size == 4 << 20


def test_unmounted_from_outside_with_a_full_disk_it_ends(small_disk: Path) -> None:
    with a_branch(small_disk) as branch:
        branch.mount()
        pid = branch.pid
        with (branch.mountpoint / "lost").open("wb") as file:
            ballast = fill(small_disk)
            file.write(os.urandom(4 << 20))
        assert branch.vfs("umount", branch.mountpoint, check=False).returncode == 1
        run("umount", branch.mountpoint)
        wait_for_end(pid)
        ballast.unlink()
        branch.mount()
        sizes = [path.stat().st_size for path in branch.mountpoint.iterdir()]
        assert max(sizes, default=0) < 4 << 20
