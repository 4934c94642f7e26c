"""The import index: what the last import of a source saw, so that the unchanged need no reading.

One file for each pair of source and target, in the store's cache; losing it costs time, nothing
else. It holds, for each directory, its entries in name order, and for each entry the fingerprint
of the inode that it was read from. A directory's block stands after those of its subdirectories,
whose offsets it holds; the trailer stands last and names the root's block and the commit that
has all the content. An import that finds changes writes a copy to which new blocks were
appended, and renames it over the old file once its commit is there; blocks of unchanged
directories stay where they are. A file that has doubled in size that way is written anew.

Every block carries a checksum, and is compressed where that helps (fingerprints and names: to about
a third). A damaged block is as good as none.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import secrets
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.model.entry import Entry, Totals
from vfs.model.node import Leaf, decode_node, encode_leaf
from vfs.repo.importer.inode import Unreadable
from vfs.store.compression import compress_all, decompress

log = logging.getLogger(__name__)

FINGERPRINT: Final = struct.Struct("<QqqQI")
"""Inode number, ctime and mtime (ns), size, mode. A directory's: the offset of its block."""
UNTRUSTED: Final = bytes(FINGERPRINT.size)

RACY_NS: Final = 50_000_000
"""An inode that was changed this shortly before it was looked at may change again without a new
time stamp: the kernel's clock for them ticks every 1 to 10 ms."""
RACY_COARSE_NS: Final = 2_000_000_000
"""The same for file systems with whole seconds (or FAT's two)."""

_MAGIC: Final = b"vfs import index\x02"
_BLOCK: Final = struct.Struct("<II16s")  # bytes here, bytes as they were before zstd, checksum
_TRAILER: Final = struct.Struct("<32sQQ17s")  # commit, root's block, bytes when new, magic
_DIRECTORY: Final = struct.Struct("<32sIQQQQI")  # tree, totals, entries, segments
_OFFSET: Final = struct.Struct("<Q")
_SEGMENT_ENTRIES: Final = 256
_SEGMENT_BYTES: Final = 256 << 10
_BLOAT_BYTES: Final = 64 << 10
WRITE_BYTES: Final = 1 << 20
_UNFINISHED: Final = ".new"

Record = tuple[bytes, bytes, Leaf, int]
"""Name, fingerprint, and where the entry is."""


def is_settled(ctime_ns: int, now_ns: int) -> bool:
    """Say whether an inode of *ctime_ns*, looked at after *now_ns*, would show a later change."""
    coarse = ctime_ns % 1_000_000_000 == 0
    return ctime_ns + (RACY_COARSE_NS if coarse else RACY_NS) < now_ns


def fingerprint(st: os.stat_result, now_ns: int) -> bytes:
    """Return the fingerprint of an inode looked at after *now_ns*; UNTRUSTED for a fresh one."""
    ctime_ns = st.st_ctime_ns
    if not is_settled(ctime_ns, now_ns):
        return UNTRUSTED
    return exact_fingerprint(st)


def exact_fingerprint(st: os.stat_result) -> bytes:
    """Return the fingerprint of an inode, however fresh. Raises Unreadable for impossible times."""
    try:
        return FINGERPRINT.pack(st.st_ino, st.st_ctime_ns, st.st_mtime_ns, st.st_size, st.st_mode)
    except struct.error:
        raise Unreadable("its times are not between 1678 and 2262") from None


class Segment(NamedTuple):
    """Consecutive records of a directory."""

    offset: int
    leaf: Leaf
    stamps: bytes  # a fingerprint for each entry

    def records(self) -> Iterator[Record]:
        """Yield the records."""
        size = FINGERPRINT.size
        at = 0
        for i, name in enumerate(self.leaf.names):
            yield name, self.stamps[at : at + size], self.leaf, i
            at += size


class OldDirectory:
    """A directory as the index has it."""

    def __init__(self, index: OldIndex, offset: int) -> None:
        """Raises CorruptObject."""
        payload = index.block(offset)
        try:
            tree, *totals, self.count, segments = _DIRECTORY.unpack_from(payload)
            self._segments = struct.unpack_from(f"<{segments}Q", payload, _DIRECTORY.size)
        except struct.error:
            raise CorruptObject("a block of the import index is damaged") from None
        self.tree = ObjectId(tree)  # NO_CONTENT: not to be used again
        self.totals = Totals(*totals)
        self.offset = offset
        self.is_whole = True  # False once a damaged segment was found
        self._index = index

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in name order, up to the first damaged one."""
        for offset in self._segments:
            segment = self._segment(offset)
            if segment is None:
                self.is_whole = False
                return
            yield segment

    def _segment(self, offset: int) -> Segment | None:
        try:
            payload = self._index.block(offset)
            (count,) = _OFFSET.unpack_from(payload)
            at = _OFFSET.size + count * FINGERPRINT.size
            leaf = decode_node(payload[at:])
        except (CorruptObject, struct.error):
            return None
        if not isinstance(leaf, Leaf) or len(leaf) != count:
            return None
        return Segment(offset, leaf, payload[_OFFSET.size : at])

    def records(self) -> Iterator[Record]:
        """Yield the entries in name order; fewer where a block is damaged."""
        for segment in self.segments():
            yield from segment.records()

    def child(self, record: Record) -> OldDirectory | None:
        """Return the subdirectory that has this record; None when it is none, or damaged."""
        if not stat.S_ISDIR(record[2].mode(record[3])):
            return None
        try:
            return OldDirectory(self._index, FINGERPRINT.unpack(record[1])[0])
        except CorruptObject:
            return None


class OldIndex:
    """The index that the last import left."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, or CorruptObject for anything that is no whole index.

        `whole` is the size that the file had when all of it was new.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.path = path
        self.size = len(self._map)
        try:
            payload = self.block(self.size - _BLOCK.size - _TRAILER.size)
            trailer: tuple[bytes, int, int, bytes] = _TRAILER.unpack(payload)
        except (CorruptObject, struct.error):
            self.close()
            raise CorruptObject("the import index is damaged") from None
        commit, self._root, self.whole, magic = trailer
        if magic != _MAGIC:
            self.close()
            raise CorruptObject("the import index is of another version")
        self.commit = ObjectId(commit)

    @classmethod
    def load(cls, path: Path) -> OldIndex | None:
        """Open the index in *path*; None when there is none of use."""
        try:
            return cls(path)
        except (OSError, ValueError, CorruptObject):  # ValueError: mmap, of an empty file
            return None

    def root(self) -> OldDirectory | None:
        """Return the directory that was imported; None when its block is damaged."""
        try:
            return OldDirectory(self, self._root)
        except CorruptObject:
            return None

    @property
    def is_bloated(self) -> bool:
        """Say whether most of it has been replaced since it was written whole."""
        return self.size > 2 * self.whole + _BLOAT_BYTES

    def block(self, offset: int) -> bytes:
        """Return the payload of a block. Raises CorruptObject."""
        start = offset + _BLOCK.size
        if not 0 <= offset <= start <= self.size:
            raise CorruptObject("an offset in the import index is wrong")
        length, raw, checksum = _BLOCK.unpack_from(self._map, offset)
        body = self._map[start : start + length]
        if len(body) != length or blake3(body).digest(16) != checksum:
            raise CorruptObject("a block of the import index is damaged")
        return body if raw == length else decompress(body, raw)

    def close(self) -> None:
        """Close the file."""
        self._map.close()


class DirectoryWriter:
    """Writes the records of one directory."""

    def __init__(self, index: NewIndex) -> None:
        self._index = index
        self._entries: list[Entry] = []
        self._stamps: list[bytes] = []
        self._bytes = 0
        self._segments: list[int] = []
        self._count = 0

    def add(self, entry: Entry, stamp: bytes) -> None:
        """Append an entry and its fingerprint."""
        self._entries.append(entry)
        self._stamps.append(stamp)
        self._bytes += len(entry.name) + len(entry.extra)
        if len(self._entries) >= _SEGMENT_ENTRIES or self._bytes >= _SEGMENT_BYTES:
            self._flush()

    def add_segment(self, segment: Segment) -> None:
        """Append a segment of the old index as it is."""
        if self._entries:
            self._flush()
        self._segments.append(segment.offset)
        self._count += len(segment.leaf)

    def _flush(self) -> None:
        count = len(self._entries)
        payload = _OFFSET.pack(count) + b"".join(self._stamps) + encode_leaf(self._entries)
        self._segments.append(self._index.append(payload))
        self._count += count
        self._entries, self._stamps, self._bytes = [], [], 0

    def finish(self, tree: ObjectId, totals: Totals) -> int:
        """Write the directory's block; return its offset."""
        if self._entries:
            self._flush()
        segments = struct.pack(f"<{len(self._segments)}Q", *self._segments)
        head = _DIRECTORY.pack(tree, *totals, self._count, len(self._segments))
        return self._index.append(head + segments)


def directory_stamp(offset: int) -> bytes:
    """Return what stands in the place of a directory's fingerprint."""
    return FINGERPRINT.pack(offset, 0, 0, 0, 0)


class NewIndex:
    """The index that this import leaves. Nothing is written before something has changed.

    Whatever goes wrong with it, the import goes on without: a lost index costs time, nothing else.
    """

    def __init__(self, path: Path, old: OldIndex | None) -> None:
        """*old*: the index whose blocks are used again, if any."""
        self._path = path
        self._old = old
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
        self._file: int = -1
        self._is_lost = False
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._at = 0

    def append(self, payload: bytes) -> int:
        """Write a block; return its offset."""
        (packed,) = compress_all([payload])
        return self._append(payload if packed is None else packed, len(payload))

    def _append(self, body: bytes, raw_bytes: int) -> int:
        if self._file < 0:
            self._try_to(self._start)
        offset = self._at
        if self._is_lost:
            return offset
        self._buffer.append(_BLOCK.pack(len(body), raw_bytes, blake3(body).digest(16)))
        self._buffer.append(body)
        size = _BLOCK.size + len(body)
        self._at += size
        self._buffered += size
        if self._buffered >= WRITE_BYTES:
            self._try_to(self._write)
        return offset

    def _try_to(self, action: Callable[[], None]) -> None:
        if self._is_lost:
            return
        try:
            action()
        except (OSError, CorruptObject) as error:
            log.warning("%s can't be written, so the next import reads all: %s", self._path, error)
            self._is_lost = True
            self._buffer = []
            self.close()

    def _start(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(self._path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self._temporary, flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed or we die
        if self._old is not None:
            source = os.open(self._old.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while self._at < self._old.size:
                    sent = os.sendfile(self._file, source, self._at, self._old.size - self._at)
                    if sent == 0:
                        raise CorruptObject("it was cut short")
                    self._at += sent
            finally:
                os.close(source)

    def _write(self) -> None:
        data = memoryview(b"".join(self._buffer))
        self._buffer, self._buffered = [], 0
        while data:
            data = data[os.write(self._file, data) :]

    def commit(self, commit: ObjectId, root_offset: int) -> None:
        """Put the index into place, for *commit*."""
        old = self._old
        if self._file < 0 and old is not None and old.commit == commit:
            return
        if self._file < 0:
            self._try_to(self._start)
        whole = self._at if old is None else old.whole
        trailer = _TRAILER.pack(commit, root_offset, whole, _MAGIC)
        self._append(trailer, len(trailer))  # not compressed: it is found by its size
        self._try_to(self._finish)

    def _finish(self) -> None:
        self._write()
        self._temporary.replace(self._path)
        self._close_file()

    def close(self) -> None:
        """Drop what was not committed."""
        if self._file >= 0:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        os.close(file)


def import_indices(store: Path) -> Path:
    """Return the directory of a store's indices."""
    return store / "cache" / "import"


def forget_all(store: Path) -> None:
    """Remove all indices of a store, so that the next imports read everything."""
    _sweep(import_indices(store))
    for path in import_indices(store).glob("*"):
        if path.suffix != _UNFINISHED:  # those are held
            with suppress(OSError):
                path.unlink()


def _sweep(directory: Path) -> None:
    """Remove what killed imports left: unfinished indices that nobody holds locked."""
    for path in directory.glob(f"*{_UNFINISHED}"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
