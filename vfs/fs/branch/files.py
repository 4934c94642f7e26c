"""Open files of a branch, and what is written to them until a checkpoint stores it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from vfs.errors import CorruptObject, FileTooLarge, IsADirectory, StaleHandle, StoreError
from vfs.fs.attrs import BLOCK_BYTES
from vfs.fs.branch.content import ReadPlan, plan_read
from vfs.fs.branch.data import Data, FileLayer
from vfs.fs.branch.inodes import Inodes
from vfs.model.entry import SIZE_MAX_BYTES
from vfs.model.overlay import PATCH_BYTES

if TYPE_CHECKING:
    from vfs.model.overlay import InodeRow
    from vfs.repo.blobs import FileReader


class Handle(NamedTuple):
    """An open file."""

    ino: int
    writes: bool


class OpenFiles:
    """Reads and writes files."""

    def __init__(self, inodes: Inodes, reader: FileReader) -> None:
        self._inodes = inodes
        self._state = inodes.state
        self._reader = reader
        self._handles: dict[int, Handle] = {}
        self._last_handle = 0
        self._writers: dict[int, int] = {}  # inode -> handles open for writing
        self._unsettled: set[int] = set()  # closed files with patches

    def open(self, ino: int, flags: int) -> int:
        """Open a file; return the handle."""
        row = self._inodes.row(ino)
        if stat.S_ISDIR(row.mode):
            raise IsADirectory("a directory is not opened as a file")
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        self._last_handle += 1
        handle = self._last_handle
        self._handles[handle] = Handle(ino, writes)
        self._inodes.use(ino, 1)
        if writes:
            self._writers[ino] = self._writers.get(ino, 0) + 1
        return handle

    def release(self, handle: int) -> None:
        """Close a file."""
        ino, writes = self._handles.pop(handle)
        self._inodes.use(ino, -1)
        if writes:
            self._writers[ino] -= 1
            if not self._writers[ino]:
                del self._writers[ino]
                if self._has_patches(ino):
                    self._unsettled.add(ino)

    def handle(self, handle: int) -> Handle:
        """Return what a handle stands for. Raises StaleHandle."""
        try:
            return self._handles[handle]
        except KeyError:
            raise StaleHandle(f"there is no open file {handle}") from None

    def has_writers(self) -> bool:
        """Say whether a file is open for writing, so that the kernel may hold changes back."""
        return bool(self._writers)

    def plan_read(self, handle: int, offset: int, length: int) -> ReadPlan | None:
        """Return how to read a range of an open file, None where there is nothing to read."""
        ino = self.handle(handle).ino
        row = self._inodes.row(ino)
        end = min(offset + length, row.size)
        if offset >= end:
            return None
        return plan_read(self._state.rows, ino, row, self._file_layers(ino), offset, end)

    def read_now(self, plan: ReadPlan) -> bytes:
        """Carry out a plan in the loop's thread."""
        return plan.read(self._reader)

    def write(self, handle: int, offset: int, data: Data) -> int:
        """Write to an open file. Its times are the kernel's to set, which holds writes back."""
        ino = self.handle(handle).ino
        row = self._inodes.row(ino)
        end = offset + len(data)
        if end > SIZE_MAX_BYTES:
            raise FileTooLarge(f"a file of {end} bytes")
        if offset % PATCH_BYTES or end % PATCH_BYTES:
            self._require_edges(ino, row, offset, end)
        layer = self._layer(ino)
        before = layer.runs.size
        layer.runs.write(offset, data)
        self._state.dirty.bytes += layer.runs.size - before
        self._inodes.change(ino, row.replaced({"size": end}) if end > row.size else row)
        return len(data)

    def _require_edges(self, ino: int, row: InodeRow, start: int, end: int) -> None:
        """Raise CorruptObject when the rest of a page that is written in part can't be read.

        Nothing could be stored of it then. The kernel writes in part what ends with the file; all
        else only comes past its cache.
        """
        before, behind = start % PATCH_BYTES, -end % PATCH_BYTES
        for at, stop in ((start - before, start), (end, end + behind)):
            stop = min(stop, row.size)  # noqa: PLW2901
            if at < stop:
                self.read_now(
                    plan_read(self._state.rows, ino, row, self._file_layers(ino), at, stop)
                )

    def truncate(self, ino: int, size: int) -> None:
        """Cut what a file holds; its attributes are the caller's to change."""
        layer = self._layer(ino)
        before = layer.runs.size
        layer.truncate(size)
        self._state.dirty.bytes += layer.runs.size - before

    def writers(self) -> frozenset[int]:
        """Return the files that are open for writing."""
        return frozenset(self._writers)

    def settle(self) -> None:
        """Let the next checkpoint give closed files with patches their final form."""
        for ino in self._unsettled - self._writers.keys():
            try:
                row = self._inodes.row(ino)
            except (StaleHandle, CorruptObject, StoreError):
                continue  # whoever asks for it is told
            if row.patches and row.nlink:
                self._layer(ino)
                self._state.put(ino, row, counts=False)
        self._unsettled.clear()

    def _layer(self, ino: int) -> FileLayer:
        files = self._state.dirty.files
        layer = files.get(ino)
        if layer is None:
            layer = files[ino] = FileLayer()
        return layer

    def _file_layers(self, ino: int) -> list[FileLayer]:
        state, layers = self._state, []
        if (layer := state.dirty.files.get(ino)) is not None:
            layers.append(layer)
        if state.frozen is not None and (layer := state.frozen.files.get(ino)) is not None:
            layers.append(layer)
        return layers

    def _has_patches(self, ino: int) -> bool:
        row = self._inodes.row(ino)
        frozen = self._state.frozen
        return bool(row.patches) or (frozen is not None and ino in frozen.files)

    def blocks(self, ino: int, row: InodeRow) -> int:
        """Return what `st_blocks` says: units of 512 bytes that are not holes, roughly."""
        if not stat.S_ISREG(row.mode):
            return 8 if stat.S_ISDIR(row.mode) else 0
        filled = min(row.visible, row.size) - row.holes
        filled += row.patches * BLOCK_BYTES
        for layer in self._file_layers(ino):
            filled += layer.runs.size
        return -(-min(max(filled, 0), row.size) // BLOCK_BYTES) * 8
