"""Power cuts, simulated: what a process wrote to a store, and images of any moment of it.

A small FUSE file system holds `data.mdb` and notes every write and every sync of it. LMDB writes
pages through one descriptor, syncs it (fdatasync), and writes the meta page, which makes the
transaction count, through another one (O_DSYNC). What no sync has covered yet may be on the disk
after a power cut or not, in any order and in part.
"""

from __future__ import annotations

import errno
import os
import pickle
import random
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from tests.support.mounting import lazy_unmount, wait_until
from tests.support.stores import start_child

DATA, NOTES = b"data.mdb", b"notes"
_INODES = {DATA: pyfuse3.ROOT_INODE + 1, NOTES: pyfuse3.ROOT_INODE + 2}
SECTOR_BYTES = 512
PAGE_BYTES = 4096


class Write(NamedTuple):
    """Bytes that went to the file."""

    offset: int
    data: bytes
    synced: bool  # by a descriptor that syncs each write (O_DSYNC), when `Sync` of it has come


class Sync(NamedTuple):
    """The end of an fdatasync, or of the sync that belongs to the write of a meta page."""

    of_all: bool


class Note(NamedTuple):
    """What the writing process said in between."""

    text: str


Event = Write | Sync | Note


class Recorder(pyfuse3.Operations):
    """The file system."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._handles: dict[int, int] = {}  # handle -> flags

    def _attributes(self, inode: int) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = inode
        entry.st_nlink = 1
        entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
        entry.attr_timeout = entry.entry_timeout = 1000
        entry.st_mode = stat.S_IFREG | 0o600
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode = stat.S_IFDIR | 0o700
        elif inode == _INODES[DATA]:
            entry.st_size = self._size
            entry.st_blocks = -(-self._size // 512)
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if name not in _INODES:
            raise FUSEError(errno.ENOENT)
        return self._attributes(_INODES[name])

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._attributes(inode)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        handle = len(self._handles) + 1
        self._handles[handle] = flags if inode == _INODES[DATA] else -1
        return FileInfo(fh=handle, keep_cache=True, direct_io=inode == _INODES[NOTES])

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(self._fd, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        flags = self._handles[fh]
        if flags == -1:
            self.events.append(Note(buf.decode()))
            return len(buf)
        self.events.append(Write(off, bytes(buf), bool(flags & os.O_DSYNC)))
        self._size = max(self._size, off + len(buf))
        return os.pwrite(self._fd, buf, off)

    async def fsync(self, fh: int, datasync: bool) -> None:
        self.events.append(Sync(of_all=not self._handles[fh] & os.O_DSYNC))

    async def flush(self, fh: int) -> None:
        raise FUSEError(errno.ENOSYS)

    async def release(self, fh: int) -> None:
        pass


def record(mountpoint: str, path: str, log: str) -> None:
    """Serve until unmounted, then write down what happened."""
    fd = os.open(path, os.O_RDWR)
    recorder = Recorder(fd)
    pyfuse3.init(recorder, mountpoint, {"fsname=vfs-powercut"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)
    Path(log).write_bytes(pickle.dumps(recorder.events))


_RECORD = "import sys; from tests.support.powercut import record; record(*sys.argv[1:])"


class Recording:
    """A store whose data file is recorded."""

    def __init__(self, store: Path, before: bytes) -> None:
        self.store = store
        self.before = before  # the data file as it was at first
        self.events: Sequence[Event] = ()


@contextmanager
def recorded(store: Path, directory: Path) -> Iterator[Recording]:
    """Record the store while the block runs. No process may have it open at either end."""
    mountpoint, backing, log = directory / "recorder", directory / "backing", directory / "log"
    mountpoint.mkdir()
    data = store / DATA.decode()
    data.rename(backing)
    recording = Recording(store, backing.read_bytes())
    process = start_child(_RECORD, mountpoint, backing, log)
    try:
        wait_until(lambda: os.path.ismount(mountpoint) or process.poll() is not None)
        data.symlink_to(mountpoint / DATA.decode())
        yield recording
        subprocess.run(["fusermount3", "-u", mountpoint], check=True)
        assert process.wait(30) == 0
    finally:
        lazy_unmount(mountpoint)
        process.kill()
        process.communicate()
    recording.events = pickle.loads(log.read_bytes())


def note(store: Path, text: str) -> None:
    """Have the recorder of a store note something, between what was and what will be written."""
    notes = Path(os.readlink(store / DATA.decode())).parent / NOTES.decode()
    fd = os.open(notes, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


class Cut(NamedTuple):
    """A moment at which the power went."""

    at: int  # events before it
    durable: bytearray  # the file as it is on the disk at least; changes when the next cut is made
    loose: list[Write]  # what was written since, and what is being written
    notes: list[str]  # what was said until then

    def image(self, chance: random.Random, how: str) -> bytes:
        """Return what the disk holds: nothing of what is loose, all of it, or some."""
        image = bytearray(self.durable)
        for piece in self._kept(chance, how):
            end = piece.offset + len(piece.data)
            if len(image) < end:
                image.extend(bytes(end - len(image)))
            image[piece.offset : end] = piece.data
        return bytes(image)

    def _kept(self, chance: random.Random, how: str) -> Iterator[Write]:
        if how == "none":
            return
        share = 1.0 if how == "all" else chance.random()
        unit = {"sectors": SECTOR_BYTES, "pages": PAGE_BYTES}.get(how, 1 << 40)
        for write in self.loose:
            for start in range(0, len(write.data), unit):
                if chance.random() < share:
                    yield Write(write.offset + start, write.data[start : start + unit], False)


HOW = ("none", "all", "writes", "pages", "sectors")


def cuts(recording: Recording) -> Iterator[Cut]:
    """Yield a cut in front of every sync, behind it, and behind the write of every meta page."""
    durable, loose, notes = bytearray(recording.before), list[Write](), list[str]()
    for at, event in enumerate(recording.events):
        if isinstance(event, Note):
            notes.append(event.text)
            continue
        if isinstance(event, Write):
            loose.append(event)
            continue
        yield Cut(at, durable, loose, notes)
        done = [write for write in loose if event.of_all or write.synced]
        loose = [write for write in loose if not (event.of_all or write.synced)]
        for write in done:
            end = write.offset + len(write.data)
            if len(durable) < end:
                durable.extend(bytes(end - len(durable)))
            durable[write.offset : end] = write.data
        yield Cut(at + 1, durable, loose, notes)
