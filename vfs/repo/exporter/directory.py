"""Writing a version as a directory, with several threads.

The caller's thread walks the version: it makes directories, files of one chunk, and everything
without content. Python's lock is held for most of the time that such a file takes: threads would
only wait for each other. Larger files go to the crew, many at a time or in pieces.
A directory gets its own attributes when the last name in it was made, as making names changes its
time.
"""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial as bound
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, ExportProblem
from vfs.model.entry import FLAG_BLOB, Entry, Extra
from vfs.repo.blobs import FileReader
from vfs.repo.exporter.api import not_exportable
from vfs.repo.exporter.attributes import CREATE, Attributes
from vfs.repo.exporter.content import write_file, write_range
from vfs.repo.exporter.links import LinkSets
from vfs.repo.exporter.place import OPEN_DIRECTORY

if TYPE_CHECKING:
    from vfs.repo.blobs import FileReader
    from vfs.repo.exporter.api import ExportResult
    from vfs.repo.exporter.crew import Crew
    from vfs.repo.exporter.earlier import Earlier, OldDirectory
    from vfs.repo.importer.api import Progress
    from vfs.repo.repository import Repository

BATCH_FILES: Final = 64
BATCH_BYTES: Final = 4 << 20
PIECE_BYTES: Final = 16 << 20
"""Of a larger file, so that all threads have something to do when it is the last one."""


class _Directory:
    """A directory that is being filled. It is open until nothing more is made in it."""

    __slots__ = ("entry", "fd", "old", "path", "waiting")

    def __init__(self, fd: int, entry: Entry, path: bytes, old: OldDirectory | None) -> None:
        self.fd = fd
        self.entry = entry
        self.path = path
        self.old = old
        self.waiting = 1  # the walk, and files that are still to be made

    def path_of(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


class _File:
    """A regular file that was made and is still to be filled, in pieces."""

    __slots__ = ("directory", "entry", "fd", "is_damaged", "waiting")

    def __init__(self, fd: int, entry: Entry, directory: _Directory, pieces: int) -> None:
        self.fd = fd
        self.entry = entry
        self.directory = directory
        self.waiting = pieces
        self.is_damaged = False


class DirectoryWriter:
    """Writes one version. A context manager: leaving it closes what is open."""

    def __init__(
        self,
        repo: Repository,
        crew: Crew,
        result: ExportResult,
        progress: Progress,
        *,
        partial: bool,
        earlier: Earlier | None = None,
    ) -> None:
        """*partial*: files whose content can't be read are left out, and noted."""
        self._earlier = earlier
        self._repo = repo
        self._crew = crew
        self._result = result
        self._progress = progress
        self._partial = partial
        self._attributes = Attributes()
        self._links = LinkSets()
        self._lock = threading.Lock()
        self._open: set[_Directory | _File] = set()
        self._batch: list[tuple[_Directory, Entry]] = []
        self._batch_bytes = 0
        self._written = self._written_bytes = 0  # by the walk, and not told yet
        self._top = -1
        self._files = FileReader(repo.store.reader())
        # An open directory for each level of the tree, and for each that files are made in.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def close(self) -> None:
        """Close what an error left open; the crew must be gone."""
        for item in self._open:
            os.close(item.fd)
        self._open.clear()
        self._result.lost = self._attributes.lost

    def write(self, fd: int, root: Entry) -> None:
        """Fill the open directory *fd* with what *root* holds; the crew may still be at work."""
        self._top = fd
        self._attributes.learn(fd)
        top = self._opened(
            os.dup(fd), root, b"", self._earlier.top(root) if self._earlier else None
        )
        above = [(top, self._entries(top))]
        while above:
            directory, entries = above[-1]
            inner = self._fill(directory, entries)
            if inner is None:
                above.pop()
                if self._earlier and directory.old:
                    self._earlier.leave(directory.old)
                self._release(directory)
            else:
                above.append((inner, self._entries(inner)))
        self._send_batch()
        self._tell()

    def _fill(self, directory: _Directory, entries: Iterator[Entry]) -> _Directory | None:
        """Make the next entries of a directory, up to one that is a directory itself."""
        for entry in entries:
            try:
                if entry.is_dir:
                    return self._make_directory(directory, entry)
                if entry.is_file:
                    self._make_file(directory, entry)
                else:
                    self._make_other(directory, entry)
            except OSError as error:
                raise problem(directory.path_of(entry.name), error) from error
        return None

    def _entries(self, directory: _Directory) -> Iterator[Entry]:
        """Yield a directory's entries up to where they are damaged; an error unless *partial*."""
        try:
            yield from self._repo.entries(directory.entry.content)
        except CorruptObject as error:
            self._damaged(directory.path, f"not all names in it can be read: {error}", error)

    def _damaged(self, path: bytes, reason: str, error: CorruptObject) -> None:
        """Note what can't be read, or raise CorruptObject."""
        if not self._partial:
            raise not_exportable(path, error, "--partial exports all else") from error
        self._result.left_out(path, reason)

    # in the walk

    def _opened(self, fd: int, entry: Entry, path: bytes, old: OldDirectory | None) -> _Directory:
        directory = _Directory(fd, entry, path, old)
        self._open.add(directory)
        return directory

    def _make_directory(self, parent: _Directory, entry: Entry) -> _Directory:
        os.mkdir(entry.name, 0o700, dir_fd=parent.fd)
        fd = os.open(entry.name, OPEN_DIRECTORY, dir_fd=parent.fd)
        old = self._earlier.enter(parent.old, entry) if self._earlier else None
        return self._opened(fd, entry, parent.path_of(entry.name), old)

    def _make_file(self, directory: _Directory, entry: Entry) -> None:
        extra = Extra.decode(entry.extra)
        if extra.link is None:
            if self._is_taken(directory, entry):
                self._count(entry.size)
                return
            if entry.size <= PIECE_BYTES:
                if entry.flags & FLAG_BLOB:
                    self._add_to_batch(directory, entry)
                elif self._write_whole(directory, entry, self._files):
                    self._count(entry.size)
                return
        elif not self._has_content(directory, entry) or self._is_linked(directory, entry, extra):
            return
        # Other names of it are made before it has its content, so its first name is made at once.
        fd = os.open(entry.name, CREATE, 0o600, dir_fd=directory.fd)
        starts = range(0, max(entry.size, 1), PIECE_BYTES)
        file = _File(fd, entry, directory, len(starts))
        self._open.add(file)
        self._take(directory)
        os.ftruncate(fd, entry.size)
        for start in starts:
            end = min(start + PIECE_BYTES, entry.size)
            self._crew.do(bound(self._write_piece, file, start, end))

    def _is_taken(self, directory: _Directory, entry: Entry) -> bool:
        """Make a file from an earlier export; say whether that was possible."""
        return (
            self._earlier is not None
            and directory.old is not None
            and entry.size > 0
            and self._earlier.take(directory.old, entry, directory.fd, self._attributes)
        )

    def _has_content(self, directory: _Directory, entry: Entry) -> bool:
        """Say whether all of a linked file can be read: none of its names must lead to less."""
        if not self._partial:
            return True  # it is an error then, and nothing is exported
        try:
            for _ in self._repo.read_file(entry):
                pass
        except CorruptObject as error:
            self._damaged(directory.path_of(entry.name), str(error), error)
            return False
        return True

    def _is_linked(self, directory: _Directory, entry: Entry, extra: Extra) -> bool:
        """Make a name of an inode that has one already; say whether it has."""
        path = directory.path_of(entry.name)
        first = self._links.first_name(entry, extra, path)
        if first is None:
            return False
        os.link(
            first, entry.name, src_dir_fd=self._top, dst_dir_fd=directory.fd, follow_symlinks=False
        )
        self._done(1, entry.size)
        return True

    def _make_other(self, directory: _Directory, entry: Entry) -> None:
        extra = Extra.decode(entry.extra)
        if extra.link is not None and self._is_linked(directory, entry, extra):
            return
        if stat.S_ISLNK(entry.mode):
            os.symlink(extra.target, entry.name, dir_fd=directory.fd)
        else:
            try:
                os.mknod(
                    entry.name, stat.S_IFMT(entry.mode) | 0o600, extra.rdev, dir_fd=directory.fd
                )
            except PermissionError:
                self._links.forget(entry)
                self._result.left_out(directory.path_of(entry.name), "only root can make a device")
                return
        self._attributes.set_named(directory.fd, entry, extra)
        self._done(1, 0)

    def _add_to_batch(self, directory: _Directory, entry: Entry) -> None:
        self._take(directory)
        self._batch.append((directory, entry))
        self._batch_bytes += entry.size
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._send_batch()

    def _count(self, size: int) -> None:
        self._written += 1
        self._written_bytes += size
        if self._written == BATCH_FILES:
            self._tell()

    def _tell(self) -> None:
        self._done(self._written, self._written_bytes)
        self._written = self._written_bytes = 0

    def _send_batch(self) -> None:
        if self._batch:
            self._crew.do(bound(self._write_batch, self._batch))
            self._batch, self._batch_bytes = [], 0

    # in the crew's threads

    def _write_batch(self, batch: list[tuple[_Directory, Entry]], files: FileReader) -> None:
        for directory, entry in batch:
            if self._write_whole(directory, entry, files):
                self._done(1, entry.size)
            self._release(directory)

    def _write_whole(self, directory: _Directory, entry: Entry, files: FileReader) -> bool:
        """Write all of a file; say whether its content could be read."""
        try:
            fd = self._attributes.make_file(directory.fd, entry)
            try:
                write_file(files, fd, entry)
                self._attributes.set_made(fd, entry)
            finally:
                os.close(fd)
        except OSError as error:
            raise problem(directory.path_of(entry.name), error) from error
        except CorruptObject as error:
            os.unlink(entry.name, dir_fd=directory.fd)
            self._damaged(directory.path_of(entry.name), str(error), error)
            return False
        return True

    def _write_piece(self, file: _File, start: int, end: int, files: FileReader) -> None:
        path = file.directory.path_of(file.entry.name)
        try:
            write_range(files, file.fd, file.entry, start, end)
            self._done(0, end - start)
        except OSError as error:
            raise problem(path, error) from error
        except CorruptObject as error:
            file.is_damaged = True
            self._damaged(path, str(error), error)
        if self._is_last(file):
            try:
                self._finish(file)
            except OSError as error:
                raise problem(path, error) from error
            self._release(file.directory)

    def _finish(self, file: _File) -> None:
        self._open.discard(file)
        try:
            if file.is_damaged:
                os.unlink(file.entry.name, dir_fd=file.directory.fd)
            else:
                self._attributes.set_open(file.fd, file.entry, Extra.decode(file.entry.extra))
                self._done(1, 0)
        finally:
            os.close(file.fd)

    # what both do

    def _take(self, directory: _Directory) -> None:
        """Note that something more is to be made in a directory."""
        with self._lock:
            directory.waiting += 1

    def _is_last(self, item: _Directory | _File) -> bool:
        with self._lock:
            item.waiting -= 1
            return item.waiting == 0

    def _release(self, directory: _Directory) -> None:
        """Note that something was made in a directory, and finish it if that was the last."""
        if not self._is_last(directory):
            return
        self._open.discard(directory)
        try:
            extra = Extra.decode(directory.entry.extra)
            self._attributes.set_open(directory.fd, directory.entry, extra)
        except OSError as error:
            raise problem(directory.path, error) from error
        finally:
            os.close(directory.fd)

    def _done(self, files: int, size: int) -> None:
        self._result.wrote(files, size)
        self._progress.advance(files, size)


def problem(path: bytes, error: OSError) -> ExportProblem:
    """Return what *error* means where *path* was to be written."""
    name = os.fsdecode(path) or "the directory itself"
    return ExportProblem(f"'{name}' can't be written: {error.strerror}; nothing was exported")
