"""A `View` made up in memory: what mounted tests of the FUSE layer and of the daemon serve.

The root holds `d0`, `d1`, ... with files `f0`, `f1`, ... whose bytes follow from their numbers, and
a few entries that misbehave on purpose.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from vfs.errors import CorruptObject, NoData, NotFound, ReadOnly
from vfs.fs.attrs import FOREVER, Attr, Statfs
from vfs.ids import ObjectId
from vfs.store.objects import IsWanted

ROOT = 1
DIRECTORIES = 1 << 20
FILES = 1 << 40
SPECIAL = 100
SPECIALS = {b"broken": 100, b"bug": 101, b"crash": 102, b"gate": 103, b"link": 104, b"big": 105}
BIG_BYTES = 8 << 20


def file_bytes(directory: int, file: int) -> bytes:
    """What `d<directory>/f<file>` holds."""
    seed = hashlib.blake2b(f"{directory}/{file}".encode()).digest()
    return (seed * 200)[: 37 + (directory * 31 + file * 977) % 12000]


def attr(node: int, mode: int, size: int, *, number: int | None = None) -> Attr:
    """Attributes that follow from the arguments alone."""
    return Attr(
        node=node,
        number=node if number is None else number,
        mode=mode,
        nlink=2 if stat.S_ISDIR(mode) else 1,
        uid=os.getuid(),
        gid=os.getgid(),
        rdev=0,
        size=size,
        blocks=(size + 511) // 512,
        mtime_ns=1_700_000_000_123_456_789,
        entry_timeout=FOREVER,
        attr_timeout=FOREVER,
    )


class MemoryView:
    """*control* is a directory with the fifos that `gate` waits at."""

    notes_opens = False

    def __init__(self, control: Path, directories: int = 20, files: int = 50) -> None:
        self.control = control
        self.directories = directories
        self.files = files

    def wait_for_objects(self, *, wait: bool) -> None:
        pass

    def waiting(self) -> nullcontext[None]:
        return nullcontext()

    def bring(self, oid: ObjectId, wanted: IsWanted) -> None:
        raise AssertionError("all is here")

    def lookup(self, parent: int, name: bytes) -> Attr:
        if name == b".":
            return self.getattr(parent)
        if parent == ROOT and name in SPECIALS:
            return self._special(SPECIALS[name])
        kind, number = name[:1], name[1:]
        if number.isdigit():
            if parent == ROOT and kind == b"d" and int(number) < self.directories:
                return self._directory(int(number))
            if parent >= DIRECTORIES and kind == b"f" and int(number) < self.files:
                return self._file(parent - DIRECTORIES, int(number))
        raise NotFound(f"no {name!r} here")

    def negative_timeout(self, parent: int) -> float:
        return FOREVER if parent != ROOT else 0.0

    def keeps_listing(self, node: int) -> bool:
        return node != ROOT

    def getattr(self, node: int, pid: int = 0) -> Attr:
        if node == ROOT:
            return attr(ROOT, stat.S_IFDIR | 0o755, 0)
        if node in SPECIALS.values():
            return self._special(node)
        if node >= FILES:
            return self._file(*divmod(node - FILES, 1 << 16))
        # A directory's node id is a position, its number is shared: as the real views have it.
        return self._directory(node - DIRECTORIES)

    def _directory(self, index: int) -> Attr:
        return attr(DIRECTORIES + index, stat.S_IFDIR | 0o755, 0, number=77)

    def _file(self, directory: int, file: int) -> Attr:
        node = FILES + (directory << 16) + file
        return attr(node, stat.S_IFREG | 0o644, len(file_bytes(directory, file)))

    def _special(self, node: int) -> Attr:
        if node == SPECIALS[b"link"]:
            return attr(node, stat.S_IFLNK | 0o777, 5)
        size = BIG_BYTES if node == SPECIALS[b"big"] else 4096
        return attr(node, stat.S_IFREG | 0o644, size)

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        entries = [(b".", self.getattr(node)), (b"..", self.getattr(ROOT))]
        if node == ROOT:
            entries += [(b"d%d" % i, self._directory(i)) for i in range(self.directories)]
            entries += [(name, self._special(special)) for name, special in SPECIALS.items()]
        else:
            directory = node - DIRECTORIES
            entries += [(b"f%d" % i, self._file(directory, i)) for i in range(self.files)]
        for position in range(offset, len(entries)):
            yield *entries[position], position + 1

    def readlink(self, node: int) -> bytes:
        return b"d0/f0"

    def open(self, node: int) -> None:
        pass

    def read(self, node: int, offset: int, length: int) -> list[bytes]:
        if node >= FILES:
            directory, file = divmod(node - FILES, 1 << 16)
            return [file_bytes(directory, file)[offset : offset + length]]
        if node == SPECIALS[b"broken"]:
            raise CorruptObject("broken: chunk 00ff is damaged")
        if node == SPECIALS[b"bug"]:
            raise RuntimeError("nobody expected this")
        if node == SPECIALS[b"crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        if node == SPECIALS[b"gate"]:
            return [self._at_gate()[offset : offset + length]]
        return [bytes(min(length, BIG_BYTES - offset))]

    def _at_gate(self) -> bytes:
        """Tell who reads, and wait for the test to say go on."""
        with (self.control / "arrived").open("w") as arrived:
            arrived.write(f"{os.getpid()}\n")
        with (self.control / "go").open("rb") as go:
            return go.read().ljust(4096, b".")

    def read_ahead(self, node: int) -> list[tuple[int, bytes]]:
        return []

    def getxattr(self, node: int, name: bytes) -> bytes:
        if node == SPECIALS[b"gate"] and name == b"user.gate":
            return self._at_gate()[:10]
        if node >= FILES and name == b"user.kind":
            return b"made up"
        raise NoData("no such attribute")

    def listxattr(self, node: int) -> list[bytes]:
        return [b"user.kind"] if node >= FILES else []

    def mkdir(self, parent: int, name: bytes) -> Attr:
        raise ReadOnly("nothing is made here")

    def statfs(self) -> Statfs:
        return Statfs(1000, 400, 300, 50)

    def close(self) -> None:
        pass
