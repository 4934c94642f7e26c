"""Where logs and records go when the store takes none: to a directory that is the user's alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.daemon.test_registry import record
from vfs.daemon import private, registry
from vfs.daemon.logs import begin_file
from vfs.errors import MountProblem

Refuse = Callable[[int], None]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = tmp_path / "store"
    made.mkdir()
    return made


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory to fall back to: an ordinary user's."""
    monkeypatch.setattr(private, "_own_directories", lambda: [tmp_path / "own"])
    return tmp_path / "own"


@pytest.fixture
def refuse(store: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Have all opening of directories in the store fail."""
    really = private.opened

    def set_up(number: int) -> None:
        def opened(directory: Path, *, make: bool = False) -> object:
            if make and directory.is_relative_to(store):
                raise OSError(number, os.strerror(number))
            return really(directory, make=make)

        monkeypatch.setattr(private, "opened", opened)

    return set_up


UNWRITABLE = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("number", UNWRITABLE)
def test_a_store_that_takes_nothing(store: Path, own: Path, refuse: Refuse, number: int) -> None:
    refuse(number)
    path, fd = begin_file(store, "mnt")
    os.write(fd, b"line")
    os.close(fd)
    assert path.read_bytes() == b"line"
    with registry.registered(record(store)):
        assert registry.find(store, "/mnt") == record(store)
        assert registry.find(store.parent, "/mnt") is None
        (run,) = own.glob("*/run")
        assert len(list(run.iterdir())) == 1
    assert registry.find(store, "/mnt") is None
    assert list(run.iterdir()) == []
    assert list(store.iterdir()) == []
    for directory in (own, path.parent, run):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_disk_that_fills_up_leaves_no_half_record(
    store: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(str(store)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with registry.registered(record(store)):
        assert list((store / "run").iterdir()) == []
        assert registry.find(store, "/mnt") == record(store)


def test_other_failures_are_not_hidden(store: Path, own: Path, refuse: Refuse) -> None:
    refuse(errno.EIO)
    with pytest.raises(MountProblem, match="Input/output"), registry.registered(record(store)):
        pass
    with pytest.raises(OSError, match="Input/output"):
        begin_file(store, "mnt")
    assert not own.exists()


@pytest.mark.parametrize("trap", ["open to others", "a symlink", "a file", "another's"])
def test_a_directory_that_is_not_the_user_s_alone(
    store: Path, own: Path, refuse: Refuse, trap: str
) -> None:
    if trap == "another's" and os.geteuid():
        pytest.skip("only root can make it another's")
    refuse(errno.EROFS)
    if trap == "a file":
        own.touch(mode=0o700)
    elif trap == "a symlink":
        (own.parent / "elsewhere").mkdir(mode=0o700)
        own.symlink_to(own.parent / "elsewhere")
    else:
        own.mkdir(mode=0o700)
        if trap == "another's":
            os.chown(own, 65534, 65534)
        else:
            own.chmod(0o755)
    before = own.lstat()
    with pytest.raises(OSError, match="Read-only file system"):
        begin_file(store, "mnt")
    with pytest.raises(MountProblem, match="Read-only"), registry.registered(record(store)):
        pass
    assert registry.find(store, "/mnt") is None
    assert own.lstat().st_mode == before.st_mode
    assert own.is_file() or list(own.iterdir()) == []


def test_where_a_user_s_own_directory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert private._own_directories() == [Path("/run/user/1000/vfs"), Path("/tmp/vfs-1000")]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert private._own_directories() == [Path("/var/tmp/vfs-1000")]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert private._own_directories() == [Path("/run/vfs"), Path("/var/tmp/vfs-0")]
