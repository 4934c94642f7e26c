"""Requests without a kernel; what is done with one is in tests/mounted."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from tests.support import fuse_structs as kernel
from tests.support.memory_view import DIRECTORIES, FILES, ROOT, MemoryView, file_bytes
from vfs.errors import ReadOnly
from vfs.fuse import wire
from vfs.fuse.answers import Answers
from vfs.fuse.errnos import Refused
from vfs.fuse.wire import Request

ROOM = 4096


class Asked:
    """Answers, asked as the kernel does."""

    def __init__(self, view: MemoryView, *, opens: bool = False) -> None:
        self.view = view
        self.answers = Answers(view, opens=opens)

    def __call__(self, code: int, node: int, body: bytes = b"", uid: int = 0) -> bytes:
        request = Request(40 + len(body), code, 2, node, uid, 0, 0, 0, 0)
        answer, _ = self.answers.of[code]
        data = answer(request, body)
        assert data is not None
        return b"".join(data) if isinstance(data, list) else data


@pytest.fixture
def ask(tmp_path: Path) -> Asked:
    return Asked(MemoryView(tmp_path))


def listing(data: bytes, head: int) -> list[tuple[bytes, int]]:
    """Return names and what comes after each, of entries behind *head* bytes of attributes."""
    found = []
    while data:
        dirent = kernel.Dirent.from_buffer_copy(data, head)
        name = data[head + 24 : head + 24 + dirent.namelen]
        found.append((name, dirent.off))
        data = data[head + 24 + -(-dirent.namelen // 8) * 8 :]
    return found


def test_a_directory_has_a_node_and_a_number(ask: Asked) -> None:
    found = kernel.EntryOut.from_buffer_copy(ask(wire.LOOKUP, ROOT, b"d3\0"))
    assert (found.nodeid, found.attr.ino) == (DIRECTORIES + 3, 77)
    got = kernel.AttrOut.from_buffer_copy(ask(wire.GETATTR, DIRECTORIES + 3, bytes(16)))
    assert bytes(got.attr) == bytes(found.attr)


def test_what_is_not_there_may_be_remembered(ask: Asked) -> None:
    for parent, remembered in ((DIRECTORIES, True), (ROOT, False)):
        absent = kernel.EntryOut.from_buffer_copy(ask(wire.LOOKUP, parent, b"none\0"))
        assert (absent.nodeid, absent.entry_valid > 0) == (0, remembered)


def test_a_long_name(ask: Asked) -> None:
    with pytest.raises(Refused) as caught:
        ask(wire.LOOKUP, ROOT, b"x" * 256 + b"\0")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_file_is_read_without_having_been_opened(ask: Asked) -> None:
    assert wire.OPEN not in ask.answers.of
    request = bytes(kernel.ReadIn(fh=0, offset=3, size=10))
    assert ask(wire.READ, FILES + 5, request) == file_bytes(0, 5)[3:13]


def test_files_are_opened_where_that_is_asked_for(tmp_path: Path) -> None:
    ask = Asked(MemoryView(tmp_path), opens=True)
    opened = ask(wire.OPEN, FILES, struct.pack("=II", os.O_RDONLY, 0))
    assert kernel.OpenOut.from_buffer_copy(opened).open_flags == wire.FOPEN_KEEP_CACHE
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(ReadOnly):
            ask(wire.OPEN, FILES, struct.pack("=II", flags, 0))


def test_a_listing_is_kept_where_it_stays(ask: Asked) -> None:
    kept = kernel.OpenOut.from_buffer_copy(ask(wire.OPENDIR, DIRECTORIES))
    assert kept.open_flags == wire.FOPEN_CACHE_DIR | wire.FOPEN_KEEP_CACHE
    top = kernel.OpenOut.from_buffer_copy(ask(wire.OPENDIR, ROOT))
    assert top.open_flags == 0


@pytest.mark.parametrize(("code", "head"), [(wire.READDIR, 0), (wire.READDIRPLUS, 128)])
@pytest.mark.parametrize("room", [400, 4096])
def test_a_listing_goes_on_where_there_was_no_more_room(
    ask: Asked, code: int, head: int, room: int
) -> None:
    names, offset = [], 0
    while True:
        data = ask(code, DIRECTORIES, bytes(kernel.ReadIn(offset=offset, size=room)))
        assert len(data) <= room
        if not data:
            break
        page = listing(data, head)
        names += [name for name, _ in page]
        offset = page[-1][1]
    assert names == [b".", b"..", *(b"f%d" % number for number in range(50))]


def test_the_size_of_an_attribute_is_told_first(ask: Asked) -> None:
    def get(room: int) -> bytes:
        return ask(wire.GETXATTR, FILES, struct.pack("=II", room, 0) + b"user.kind\0")

    assert struct.unpack("=II", get(0)) == (7, 0)
    assert get(7) == b"made up"
    with pytest.raises(Refused) as caught:
        get(6)
    assert caught.value.errno == errno.ERANGE


@pytest.mark.parametrize(("uid", "sees"), [(0, True), (1000, False)])
def test_trusted_attributes_are_listed_to_root_alone(
    ask: Asked, monkeypatch: pytest.MonkeyPatch, uid: int, sees: bool
) -> None:
    names = [b"security.x", b"trusted.overlay.opaque", b"user.kind", b"user.trusted.x"]
    monkeypatch.setattr(ask.view, "listxattr", lambda node: names)
    listed = ask(wire.LISTXATTR, FILES, struct.pack("=II", ROOM, 0), uid)
    seen = [name for name in names if sees or not name.startswith(b"trusted.")]
    assert listed == b"".join(name + b"\0" for name in seen)


WRITING = (4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 51)
"""setattr, symlink, mknod, mkdir, unlink, rmdir, rename, link, write, setxattr, removexattr,
create, fallocate, rename2, tmpfile: by their numbers in the kernel's header."""


@pytest.mark.parametrize("code", WRITING)
def test_writing_is_refused(ask: Asked, code: int) -> None:
    with pytest.raises(ReadOnly):
        ask(code, DIRECTORIES, bytes(8) + b"name\0")


@pytest.mark.parametrize("code", [14, 20, 25, 30])
def test_what_need_not_be_asked_again_is_not_known(ask: Asked, code: int) -> None:
    """open, fsync, flush, fsyncdir."""
    assert code not in ask.answers.of
