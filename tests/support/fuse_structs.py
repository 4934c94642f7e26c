"""What <linux/fuse.h> declares, as ctypes has it: what tests hold `vfs.fuse.wire` against."""

from __future__ import annotations

from ctypes import Structure, c_char, c_int32, c_uint16, c_uint32, c_uint64


class InHeader(Structure):
    _fields_ = [
        ("len", c_uint32),
        ("opcode", c_uint32),
        ("unique", c_uint64),
        ("nodeid", c_uint64),
        ("uid", c_uint32),
        ("gid", c_uint32),
        ("pid", c_uint32),
        ("total_extlen", c_uint16),
        ("padding", c_uint16),
    ]


class OutHeader(Structure):
    _fields_ = [("len", c_uint32), ("error", c_int32), ("unique", c_uint64)]


class Attr(Structure):
    _fields_ = [
        *((name, c_uint64) for name in "ino size blocks atime mtime ctime".split()),
        *((name, c_uint32) for name in "atimensec mtimensec ctimensec mode nlink".split()),
        *((name, c_uint32) for name in "uid gid rdev blksize flags".split()),
    ]


class EntryOut(Structure):
    _fields_ = [
        *((name, c_uint64) for name in "nodeid generation entry_valid attr_valid".split()),
        *((name, c_uint32) for name in "entry_valid_nsec attr_valid_nsec".split()),
        ("attr", Attr),
    ]


class AttrOut(Structure):
    _fields_ = [
        ("attr_valid", c_uint64),
        ("attr_valid_nsec", c_uint32),
        ("dummy", c_uint32),
        ("attr", Attr),
    ]


class Dirent(Structure):
    _fields_ = [("ino", c_uint64), ("off", c_uint64), ("namelen", c_uint32), ("type", c_uint32)]


class OpenOut(Structure):
    _fields_ = [("fh", c_uint64), ("open_flags", c_uint32), ("backing_id", c_int32)]


class ReadIn(Structure):
    _fields_ = [
        *((name, c_uint64) for name in "fh offset".split()),
        *((name, c_uint32) for name in "size read_flags".split()),
        ("lock_owner", c_uint64),
        *((name, c_uint32) for name in "flags padding".split()),
    ]


class KStatfs(Structure):
    _fields_ = [
        *((name, c_uint64) for name in "blocks bfree bavail files ffree".split()),
        *((name, c_uint32) for name in "bsize namelen frsize padding".split()),
        ("spare", c_char * 24),
    ]
