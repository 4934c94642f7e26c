"""A new version of a branch, made without a mount: all of it is committed, or nothing.

What is written goes into the store at once, as objects that nothing refers to; what changes is
kept as edits of directories, until the end makes trees and a commit of them.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self, overload

from vfs.api.edits import Edits, Names, Overtaken, entry_of, new_directory, own_entry, twin
from vfs.api.files import as_wanted
from vfs.api.paths import Info, PathLike, info_of, parse_path, show_path
from vfs.api.written import WrittenFile
from vfs.clock import now_ns
from vfs.errors import (
    AlreadyExists,
    Conflict,
    InvalidName,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotSupported,
)
from vfs.model.entry import Entry, Extra
from vfs.repo.blobs import EMPTY, Content, FileReader
from vfs.repo.repository import Repository
from vfs.repo.splice import Piece, splice

if TYPE_CHECKING:
    from types import TracebackType

    from vfs.api.connection import Connection
    from vfs.model.commit import JSON, Commit
    from vfs.store.ingest import Ingest

_SPOOLED_BYTES: Final = 8 << 20  # of a file that is written, in memory; the rest is on the disk
_PIECE_BYTES: Final = 1 << 20


class Transaction:
    """Changes of a branch. A context manager: commits at its end, unless by an exception.

    Paths are as in `Version`; symlinks are not followed. What is written can be read in it.
    Directories keep their times. One thread at a time may use it.
    """

    def __init__(
        self,
        connection: Connection,
        data_set: str,
        branch: str,
        message: str,
        *,
        author: str | None = None,
        provenance: dict[str, JSON] | None = None,
        tag: str | None = None,
    ) -> None:
        """For `vfs.commit` and `Client.commit`. Raises NotFound."""
        self.data_set, self.branch = data_set, branch
        self.message = message
        self.result: str | None = None
        """The commit's id in hex, once it is made."""
        self.is_open = True
        self._author, self._provenance, self._tag = author, provenance, tag
        self._open = connection.repository()
        # One of its own: other threads may read with this thread's meanwhile.
        self._repo = Repository(self._open.__enter__().store)
        try:
            ref = self._repo.branch_to_commit_to(data_set, branch)
            base = None if ref is None else self._repo.commit(ref.commit).root
            self._ingest: Ingest = self._repo.store.ingest()
        except BaseException:
            self._open.__exit__(None, None, None)
            raise
        self._scratch = self._repo.store.scratch_dir()
        self._edits = Edits(self._repo.reader, self._ingest, base)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(commit=error is None)

    def end(self, *, commit: bool) -> None:
        """Commit, or give all up; for whoever has no `with` block. Raises as `Client.commit`."""
        self.is_open = False
        try:
            with self._ingest:
                if commit:
                    self._commit()
        finally:
            self._open.__exit__(None, None, None)

    # reading

    def info(self, path: PathLike = "") -> Info:
        """Return what stands at *path* now. Raises NotFound, NotADirectory."""
        names = parse_path(path)
        return info_of(names, entry_of(self._edits.find(names)))

    def exists(self, path: PathLike) -> bool:
        """Say whether anything stands at *path* now."""
        try:
            self._edits.find(parse_path(path))
        except (NotFound, NotADirectory):
            return False
        return True

    def ls(self, path: PathLike = "") -> list[Info]:
        """Return what a directory holds now, sorted by name."""
        names = parse_path(path)
        found = self._edits.find(names)
        if not entry_of(found).is_dir:
            raise NotADirectory(f"'{show_path(names)}' is not a directory")
        children = self._edits.children(found)
        return [info_of((*names, name), entry_of(child)) for name, child in children]

    def read_bytes(self, path: PathLike, offset: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file as they are now, or *length* of them from *offset*."""
        self._ingest.flush()
        entry = self._file(parse_path(path))
        return b"".join(self._repo.read_file(entry, offset, length))

    # writing

    def write_bytes(self, path: PathLike, data: bytes | memoryview) -> None:
        """Make a file of *data*, or replace what one holds; directories on the way are made."""
        self._put_file(parse_path(path), io.BytesIO(data), len(data))

    def write_text(self, path: PathLike, text: str, encoding: str = "utf-8") -> None:
        """Make a file of *text* (see `write_bytes`)."""
        self.write_bytes(path, text.encode(encoding))

    @overload
    def open(
        self, path: PathLike, mode: Literal["rb", "wb", "ab", "xb"], *, encoding: None = None
    ) -> IO[bytes]: ...

    @overload
    def open(
        self, path: PathLike, mode: Literal["r", "w", "a", "x"], *, encoding: str | None = None
    ) -> IO[str]: ...

    def open(self, path: PathLike, mode: str = "rb", *, encoding: str | None = None) -> Any:
        """Open a file as the built-in open does. What is written counts when it is closed."""
        names = parse_path(path)
        how = mode.replace("b", "").replace("t", "")
        if how not in ("r", "w", "a", "x"):
            raise NotSupported(f"a file can't be opened as {mode!r} here")
        if how == "x" and self.exists(path):
            raise AlreadyExists(f"there is a '{show_path(names)}' already")
        spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by what it becomes a part of
            _SPOOLED_BYTES, dir=str(self._scratch)
        )
        if how == "r" or (how == "a" and self.exists(path)):
            self._ingest.flush()
            for data in self._repo.read_file(self._file(names)):
                spool.write(data)
        if how == "r":
            spool.seek(0)
        store = None if how == "r" else partial(self._put_file, names)
        return as_wanted(WrittenFile(spool, store), mode, encoding)

    def mkdir(self, path: PathLike, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Make a directory."""
        names = parse_path(path)
        if not names or self.exists(path):
            if not exist_ok or not entry_of(self._edits.find(names)).is_dir:
                raise AlreadyExists(f"there is a '{show_path(names)}' already")
            return
        if not parents:
            self._edits.find(names[:-1])
        self._edits.put(names, new_directory(names[-1]))

    def symlink(self, path: PathLike, target: str) -> None:
        """Make a symlink at *path* that leads to *target*, or replace what stands there."""
        names = parse_path(path)
        raw = os.fsencode(target)
        if not raw or len(raw) > 4095 or b"\0" in raw:
            raise InvalidName(f"{target!r} can't be where a symlink leads")
        extra = Extra(target=raw).encode()
        mode = stat.S_IFLNK | 0o777
        self._edits.put(names, own_entry(names, mode, size=len(raw), extra=extra))

    def remove(self, path: PathLike, *, recursive: bool = False) -> None:
        """Remove what stands at *path*; a directory that holds anything only if *recursive*."""
        names = parse_path(path)
        there = self._edits.find(names)
        if not recursive and entry_of(there).is_dir and any(self._edits.children(there)):
            raise NotEmpty(f"'{show_path(names)}' holds something")
        self._edits.put(names, None)

    def move(self, old: PathLike, new: PathLike) -> None:
        """Give what stands at *old* the path *new*, in place of what stands there."""
        source, target = parse_path(old), parse_path(new)
        if source[: len(target)] == target:
            raise InvalidName(f"'{show_path(source)}' is in '{show_path(target)}' itself")
        self.copy(old, new)
        self.remove(old, recursive=True)

    def copy(self, old: PathLike, new: PathLike) -> None:
        """Put what stands at *old* at the path *new*, too. Takes no room: contents are shared."""
        source, target = parse_path(old), parse_path(new)
        if target[: len(source)] == source:
            raise InvalidName(f"'{show_path(target)}' is in '{show_path(source)}' itself")
        self._edits.put(target, twin(self._edits.find(source)))

    def _file(self, names: Names) -> Entry:
        found = self._edits.find(names)
        entry = entry_of(found)
        if entry.is_dir:
            raise IsADirectory(f"'{show_path(names)}' is a directory")
        if not entry.is_file:
            raise NotSupported(f"'{show_path(names)}' is not a regular file")
        return entry

    def _put_file(self, names: Names, source: IO[bytes], size: int) -> None:
        """Store a file's content and have it stand at *names*, with the attributes of before."""
        content = self._stored(source, size)
        try:
            old: Entry | None = self._file(names)
        except NotFound:
            old = None
        entry = old if old is not None else own_entry(names, stat.S_IFREG | 0o644)
        extra = Extra(xattrs=Extra.decode(entry.extra).xattrs).encode()  # no link, no holes
        entry = entry._replace(
            size=content.size,
            content=content.oid,
            flags=content.flags,
            mtime_ns=now_ns(),
            extra=extra,
        )
        self._edits.put(names, entry)

    def _stored(self, source: IO[bytes], size: int) -> Content:
        files = FileReader(self._repo.reader)
        return splice(files, self._ingest, EMPTY, 0, _pieces(source), size)

    # the end

    def _commit(self) -> None:
        def make_root(head: Commit | None) -> Entry:
            return self._edits.make_root(None if head is None else head.root)

        try:
            result = self._repo.commit_root(
                self.data_set,
                self.branch,
                make_root,
                ingest=self._ingest,
                message=self.message,
                author=self._author,
                provenance=self._provenance,
                tag=self._tag,
            )
        except Overtaken as error:
            raise Conflict(
                f"'{error}' was changed in {self.data_set}@{self.branch} meanwhile",
                hint="begin again, with what there is now",
            ) from None
        self.result = result.commit.hex()


def _pieces(source: IO[bytes]) -> Iterator[Piece]:
    at = 0
    while data := source.read(_PIECE_BYTES):
        yield Piece(at, data)
        at += len(data)
