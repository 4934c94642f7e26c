"""The handlers without a kernel; what they do with one is in tests/mounted."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pyfuse3
import pytest
from pyfuse3 import FUSEError

from tests.support.memory_view import DIRECTORIES, FILES, ROOT, MemoryView, file_bytes
from vfs.fs.attrs import FOREVER
from vfs.fuse.operations import SnapshotOperations

Result = TypeVar("Result")
CTX: Any = SimpleNamespace(pid=0)


def done(request: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(request)


@pytest.fixture
def operations(tmp_path: Path) -> SnapshotOperations:
    made = SnapshotOperations()
    made.view = MemoryView(tmp_path)
    return made


def test_a_directory_has_its_node_first_and_its_number_then(
    operations: SnapshotOperations,
) -> None:
    found = done(operations.lookup(ROOT, b"d3", CTX))
    assert (found.st_ino, found.attr_timeout) == (DIRECTORIES + 3, 0)
    asked = done(operations.getattr(DIRECTORIES + 3, CTX))
    assert (asked.st_ino, asked.attr_timeout) == (77, FOREVER)
    assert stat.S_ISDIR(asked.st_mode)


def test_attributes_of_a_file_leave_nothing_of_the_one_before(
    operations: SnapshotOperations,
) -> None:
    done(operations.lookup(ROOT, b"d3", CTX))
    found = done(operations.lookup(DIRECTORIES + 3, b"f4", CTX))
    assert found.st_ino == FILES + (3 << 16) + 4
    assert found.st_size == len(file_bytes(3, 4))
    assert found.st_nlink == 1
    assert found.st_atime_ns == found.st_mtime_ns == found.st_ctime_ns
    assert found.entry_timeout == found.attr_timeout == FOREVER


def test_what_is_not_there_may_be_remembered(operations: SnapshotOperations) -> None:
    absent = done(operations.lookup(DIRECTORIES, b"none", CTX))
    assert (absent.st_ino, absent.entry_timeout) == (0, FOREVER)
    absent = done(operations.lookup(ROOT, b"none", CTX))
    assert (absent.st_ino, absent.entry_timeout) == (0, 0)


def test_a_long_name(operations: SnapshotOperations) -> None:
    with pytest.raises(FUSEError) as caught:
        done(operations.lookup(ROOT, b"x" * 256, CTX))
    assert caught.value.errno == errno.ENAMETOOLONG


def test_handles_are_node_ids(operations: SnapshotOperations) -> None:
    node = FILES + 5
    opened = done(operations.open(node, os.O_RDONLY, CTX))
    assert (opened.fh, opened.keep_cache) == (node, True)
    assert done(operations.opendir(DIRECTORIES, CTX)) == DIRECTORIES
    assert done(operations.read(node, 3, 10)) == file_bytes(0, 5)[3:13]


@pytest.mark.parametrize(("uid", "sees"), [(0, True), (1000, False)])
def test_trusted_attributes_are_listed_to_root_alone(
    operations: SnapshotOperations, monkeypatch: pytest.MonkeyPatch, uid: int, sees: bool
) -> None:
    names = [b"security.x", b"trusted.overlay.opaque", b"user.kind", b"user.trusted.x"]
    monkeypatch.setattr(operations.view, "listxattr", lambda node: names)
    listed = done(operations.listxattr(FILES, SimpleNamespace(uid=uid)))
    assert listed == [name for name in names if sees or not name.startswith(b"trusted.")]


@pytest.mark.parametrize("name", ["flush", "fsync", "fsyncdir"])
def test_what_need_not_be_asked_again(operations: SnapshotOperations, name: str) -> None:
    arguments = (1,) if name == "flush" else (1, False)
    with pytest.raises(FUSEError) as caught:
        done(getattr(operations, name)(*arguments))
    assert caught.value.errno == errno.ENOSYS


WRITING = [
    "setattr",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "symlink",
    "rename",
    "link",
    "create",
    "write",
    "setxattr",
    "removexattr",
]


@pytest.mark.parametrize("name", WRITING)
def test_writing_is_refused(operations: SnapshotOperations, name: str) -> None:
    with pytest.raises(FUSEError) as caught:
        done(getattr(operations, name)(1, b"name", 0, CTX))
    assert caught.value.errno == errno.EROFS


def test_opening_for_writing_is_refused(operations: SnapshotOperations) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(FUSEError) as caught:
            done(operations.open(FILES, flags, CTX))
        assert caught.value.errno == errno.EROFS


def test_every_handler_of_pyfuse3_is_answered() -> None:
    handlers = {name for name, value in vars(pyfuse3.Operations).items() if callable(value)}
    left_to_pyfuse3 = {"access", "poll", "stacktrace", "__init__"}
    assert handlers - left_to_pyfuse3 <= set(vars(SnapshotOperations))


def test_forget_and_init_never_raise(operations: SnapshotOperations) -> None:
    done(operations.forget([(1, 1), (12345, 7)]))
    operations.init()
    assert operations.initialised
