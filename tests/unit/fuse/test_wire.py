"""The kernel's structures, byte for byte, as <linux/fuse.h> has them."""

from __future__ import annotations

import ctypes
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import fuse_structs as kernel
from vfs.fs.attrs import FOREVER, Attr, Statfs
from vfs.fuse import wire

WORD = st.integers(0, 2**64 - 1)
HALF = st.integers(0, 2**32 - 1)
TIMEOUTS = st.sampled_from([0.0, 0.25, 1.5, FOREVER])
ATTRS = st.builds(
    Attr,
    node=WORD,
    number=WORD,
    mode=st.integers(0, 2**16 - 1),
    nlink=HALF,
    uid=HALF,
    gid=HALF,
    rdev=WORD,
    size=WORD,
    blocks=WORD,
    mtime_ns=st.integers(-(2**62), 2**62),
    entry_timeout=TIMEOUTS,
    attr_timeout=TIMEOUTS,
)


def check(got: kernel.Attr, meant: Attr) -> None:
    assert (got.ino, got.size, got.blocks) == (meant.number, meant.size, meant.blocks)
    for which in ("atime", "mtime", "ctime"):
        seconds = ctypes.c_int64(getattr(got, which)).value  # the kernel takes it as signed
        part = getattr(got, f"{which}nsec")
        assert 0 <= part < 10**9
        assert seconds * 10**9 + part == meant.mtime_ns
    assert (got.mode, got.nlink) == (meant.mode, meant.nlink)
    assert (got.uid, got.gid) == (meant.uid, meant.gid)
    assert got.rdev == meant.rdev & 0xFFFFFFFF
    assert (got.blksize, got.flags) == (4096, 0)


@given(ATTRS)
def test_an_entry(attr: Attr) -> None:
    data = wire.entry(attr)
    assert len(data) == ctypes.sizeof(kernel.EntryOut)
    got = kernel.EntryOut.from_buffer_copy(data)
    assert (got.nodeid, got.generation) == (attr.node, 0)
    assert got.entry_valid + got.entry_valid_nsec / 1e9 == attr.entry_timeout
    assert got.attr_valid + got.attr_valid_nsec / 1e9 == attr.attr_timeout
    check(got.attr, attr)


@given(ATTRS)
def test_attributes(attr: Attr) -> None:
    data = wire.attributes(attr)
    assert len(data) == ctypes.sizeof(kernel.AttrOut)
    got = kernel.AttrOut.from_buffer_copy(data)
    assert got.attr_valid + got.attr_valid_nsec / 1e9 == attr.attr_timeout
    check(got.attr, attr)


@pytest.mark.parametrize("timeout", [0.0, 0.5, FOREVER])
def test_a_name_that_is_not_there(timeout: float) -> None:
    got = kernel.EntryOut.from_buffer_copy(wire.no_entry(timeout))
    assert got.nodeid == 0
    assert got.entry_valid + got.entry_valid_nsec / 1e9 == timeout


@given(st.binary(min_size=1, max_size=255), ATTRS, st.integers(1, 2**63 - 1))
def test_entries_of_a_listing(name: bytes, attr: Attr, position: int) -> None:
    plain, full = wire.name_entry(name, attr, position), wire.full_entry(name, attr, position)
    assert len(plain) % 8 == len(full) % 8 == 0
    assert full.endswith(plain)
    got = kernel.Dirent.from_buffer_copy(plain)
    assert (got.ino, got.off, got.namelen) == (attr.number, position, len(name))
    assert got.type == stat.S_IFMT(attr.mode) >> 12
    assert plain[ctypes.sizeof(kernel.Dirent) :].rstrip(b"\0") == name.rstrip(b"\0")
    head = full[: ctypes.sizeof(kernel.EntryOut)]
    assert head == (bytes(len(head)) if name in (b".", b"..") else wire.entry(attr))


def test_what_is_free() -> None:
    data = wire.statfs(Statfs(1000, 400, 300, 50, 7))
    assert len(data) == ctypes.sizeof(kernel.KStatfs)
    got = kernel.KStatfs.from_buffer_copy(data)
    assert (got.blocks, got.bfree, got.bavail, got.files, got.ffree) == (1000, 400, 300, 50, 7)
    assert (got.bsize, got.frsize, got.namelen) == (4096, 4096, 255)


def test_headers() -> None:
    header = kernel.InHeader(len=48, opcode=15, unique=2**63 | 6, nodeid=9, uid=1, gid=2, pid=3)
    request = wire.Request._make(wire.HEADER.unpack(bytes(header)))
    assert request[:7] == (48, wire.READ, 2**63 | 6, 9, 1, 2, 3)
    got = kernel.OutHeader.from_buffer_copy(wire.answer(7, 10))
    assert (got.len, got.error, got.unique) == (26, 0, 7)
    got = kernel.OutHeader.from_buffer_copy(wire.answer(7, 0, 5))
    assert (got.len, got.error, got.unique) == (16, -5, 7)


def test_a_string_that_does_not_end_is_refused() -> None:
    assert wire.text(b"12name\0rest", 2) == b"name"
    with pytest.raises(ValueError, match="not found"):
        wire.text(b"12name", 2)
