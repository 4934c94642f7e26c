"""Killed at any moment, an export, a backup or a restore leaves all of it or nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.full_store import import_tree, rows
from tests.support.import_trees import tree_on_disk
from vfs.repo.repository import Repository
from vfs.store.backup import save_backup

pytestmark = [pytest.mark.crash]

KILLS = int(os.environ.get("VFS_TEST_KILLS", "10"))
VFS = [sys.executable, "-m", "vfs", "--debug"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("kill")
    shuffle = random.Random(4)
    for directory in range(8):
        (base / f"source/{directory}").mkdir(parents=True)
        for file in range(60):
            (base / f"source/{directory}/{file}").write_bytes(shuffle.randbytes(6000))
    (base / "source/large").write_bytes(shuffle.randbytes(40 << 20))
    with Repository.create(base / "store") as repo:
        repo.create_data_set("data")
        import_tree(repo, base / "source", "data")
        save_backup(repo.store, base / "backup", lambda _: None)
    return base


def kill_in_the_middle(store: Path, *args: object, begun: Path, delay: float) -> bool:
    """Run a command and kill it *delay* s after *begun* is there; say whether it had ended."""
    child = subprocess.Popen([*VFS, "--store", store, *map(str, args)], stderr=subprocess.DEVNULL)
    while child.poll() is None and not begun.exists():
        pass
    try:
        child.wait(delay)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    return child.wait() == 0


def test_exports(prepared: Path, tmp_path: Path) -> None:
    """A directory that is replaced is the old one or the new one; what is left is taken away."""
    shuffle = random.Random()
    whole = tree_on_disk(prepared / "source")
    out, hidden = tmp_path / "out", tmp_path / ".out.vfs-export"
    out.mkdir()
    (out / "old").write_bytes(b"old")
    old = tree_on_disk(out)
    for _ in range(KILLS):
        args = ("export", "--replace", "data", out)
        delay = shuffle.uniform(0, 0.3)
        ended = kill_in_the_middle(prepared / "store", *args, begun=hidden, delay=delay)
        there = tree_on_disk(out)
        assert there == whole or (there == old and not ended)
    subprocess.run([*VFS, "--store", prepared / "store", *map(str, args)], check=True)
    assert tree_on_disk(out) == whole
    assert os.listdir(tmp_path) == ["out"]


def test_exports_that_share_files(prepared: Path, tmp_path: Path) -> None:
    """What files are taken from stays as it is, and what they make up is whole or not there."""
    shuffle = random.Random()
    whole = tree_on_disk(prepared / "source")
    store, old, out = prepared / "store", tmp_path / "old", tmp_path / "out"
    subprocess.run([*VFS, "--store", store, "export", "data", old], check=True)
    args = ("export", "--replace", "--link", "--like", old, "data", out)
    for _ in range(KILLS):
        hidden = tmp_path / ".out.vfs-export"
        kill_in_the_middle(store, *args, begun=hidden, delay=shuffle.uniform(0, 0.1))
        assert tree_on_disk(old) == whole
        assert not out.exists() or tree_on_disk(out) == whole
    subprocess.run([*VFS, "--store", store, *map(str, args)], check=True)
    assert tree_on_disk(out) == whole
    assert sorted(os.listdir(tmp_path)) == ["old", "out"]


def test_backups(prepared: Path, tmp_path: Path) -> None:
    shuffle = random.Random()
    file, hidden = tmp_path / "backup", tmp_path / ".backup.vfs-backup"
    args = ("backup", file)
    for _ in range(KILLS):
        delay = shuffle.uniform(0, 0.1)
        kill_in_the_middle(prepared / "store", *args, begun=hidden, delay=delay)
        if file.exists():
            subprocess.run([*VFS, "backup", "--verify", file], check=True)
            file.unlink()
    subprocess.run([*VFS, "--store", prepared / "store", *map(str, args)], check=True)
    assert os.listdir(tmp_path) == ["backup"]


def test_restores(prepared: Path, tmp_path: Path) -> None:
    shuffle = random.Random()
    store, hidden = tmp_path / "store", tmp_path / ".store.vfs-restore"
    args = ("backup", "--restore", prepared / "backup")
    for _ in range(KILLS):
        kill_in_the_middle(store, *args, begun=hidden, delay=shuffle.uniform(0, 0.15))
        if store.exists():
            break
    if not store.exists():
        subprocess.run([*VFS, "--store", store, *map(str, args)], check=True)
    assert os.listdir(tmp_path) == ["store"]
    assert rows(store, "refs") == rows(prepared / "store", "refs")
    subprocess.run([*VFS, "--store", store, "fsck", "--data"], check=True)
