"""`vfs://data@v3/path` for fsspec, and so for pandas, pyarrow, dask, zarr and their like.

A path is `DATASET@REVISION/PATH`, as in the hub. Branches can be written to: each call makes a
version, and so does each file when it is closed; all that is written in `with fs.transaction:`
makes one for each branch, at its end.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from glob import has_magic
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

from fsspec import AbstractFileSystem
from fsspec.transaction import Transaction as FsspecTransaction

from vfs.api.client import Client
from vfs.api.files import BUFFER_BYTES, RawFile
from vfs.errors import (
    AlreadyExists,
    InvalidName,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotSupported,
    ReadOnly,
    VfsError,
)
from vfs.model.names import DEFAULT_BRANCH

if TYPE_CHECKING:
    from vfs.api.paths import Info
    from vfs.api.transaction import Transaction
    from vfs.api.version import Version
    from vfs.model.entry import Entry

_ERRNOS: Final[dict[type[VfsError], int]] = {
    NotFound: errno.ENOENT,
    InvalidName: errno.ENOENT,
    NotADirectory: errno.ENOTDIR,
    IsADirectory: errno.EISDIR,
    AlreadyExists: errno.EEXIST,
    NotEmpty: errno.ENOTEMPTY,
    ReadOnly: errno.EROFS,
    NotSupported: errno.EOPNOTSUPP,
}


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Raise what fsspec's users expect: FileNotFoundError and so on, OSError for all else."""
    try:
        yield
    except VfsError as error:
        number = _ERRNOS.get(type(error), errno.EIO)
        raise OSError(number, str(error), path) from error


class VfsTransaction(FsspecTransaction):  # type: ignore[misc]  # fsspec has no types
    """`with fs.transaction:`, which ends in one commit for each branch that was written to."""

    def complete(self, commit: bool = True) -> None:
        """Commit, or give all up."""
        fs: VfsFileSystem = self.fs
        self.files.clear()
        try:
            fs.end_writing(commit=commit)
        finally:
            super().complete(commit)


class VfsFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The versions of a store. Thread-safe."""

    protocol: ClassVar[str] = "vfs"
    root_marker: ClassVar[str] = ""
    transaction_type: ClassVar[type] = VfsTransaction

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        *,
        message: str = "",
        author: str | None = None,
        **options: Any,
    ) -> None:
        """*message* and *author*: of the versions that are made."""
        super().__init__(**options)
        self.client = Client(store)
        self._message, self._author = message, author
        self._writing: dict[tuple[str, str], Transaction] = {}
        self._lock = threading.RLock()  # of what is being written

    # reading

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Return what stands at *path*. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        target, below = _split(path)
        with _as_os_errors(path), self._lock:
            if not target:
                return _directory("")
            if not below and "@" not in target:
                return self._data_set(target)
            return _details(target, self._side(target).info(below))

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        """Return what a directory holds: of the top, all branches and tags."""
        path = self._strip_protocol(path)
        target, below = _split(path)
        with _as_os_errors(path), self._lock:
            if not target:
                found = [
                    _directory(f"{data_set}@{ref.name}")
                    for data_set in self.client.data_sets()
                    for ref in self.client.refs(data_set)
                ]
            else:
                side = self._side(target)
                here = side.info(below)
                infos = side.ls(below) if here.is_dir else [here]
                found = [_details(target, info) for info in infos]
        return found if detail else [one["name"] for one in found]

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_options: Any
    ) -> bytes:
        """Return the bytes of a file, or those from *start* to *end*; negative: from its end."""
        path = self._strip_protocol(path)
        target, below = _split(path)
        with _as_os_errors(path), self._lock:
            side = self._side(target)
            first, last, _ = slice(start, end).indices(side.info(below).size)
            return side.read_bytes(below, first, max(last - first, 0))

    def checksum(self, path: str) -> str:
        """Return the id of what a file holds: equal ids, equal bytes."""
        return str(self.info(path)["content"])

    def ukey(self, path: str) -> str:
        """Return the same, by which caches know what they have."""
        return self.checksum(path)

    def created(self, path: str) -> datetime:
        """Return the time of the last change: when a file was made is not kept."""
        return self.modified(path)

    def modified(self, path: str) -> datetime:
        """Return the time of the last change."""
        return datetime.fromtimestamp(self.info(path)["mtime"], tz=UTC)

    # writing

    def _open(
        self, path: str, mode: str = "rb", autocommit: bool = True, **_options: Any
    ) -> IO[bytes] | _OwnVersion:
        target, below = _split(path)
        with _as_os_errors(path), self._lock:
            if mode == "rb" and _key(target) not in self._writing:
                return _reading(path, self.client.open(target), below)
            if autocommit and mode != "rb":
                return _OwnVersion(self, self._begin(target, f"write {below}"), below, mode)
            return self._begin_all(target).open(below, mode)  # type: ignore[call-overload, no-any-return]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        """Make a file that holds *value*."""
        path = self._strip_protocol(path)
        if mode == "create" and self.exists(path):
            raise FileExistsError(errno.EEXIST, "there is one already", path)
        with self._changing(path, "write") as (new, below):
            new.write_bytes(below, value)

    def touch(self, path: str, truncate: bool = True, **_options: Any) -> None:
        """Make an empty file; without *truncate*, only where there is none."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"")

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:
        """Make a directory; at the top, a data set."""
        path = self._strip_protocol(path)
        if "/" not in path and "@" not in path:
            with _as_os_errors(path):
                self.client.create_data_set(path)
            return
        with self._changing(path, "make") as (new, below):
            new.mkdir(below, parents=create_parents, exist_ok=False)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those that it is in."""
        with self._changing(self._strip_protocol(path), "make") as (new, below):
            new.mkdir(below, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        if not self.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        self._rm(path)

    def _rm(self, path: str) -> None:
        with self._changing(self._strip_protocol(path), "remove") as (new, below):
            new.remove(below)

    def rm(
        self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Remove files, and directories with all in them if *recursive*."""
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for one in [path] if isinstance(path, str) else path:
            found = self.expand_path(one) if has_magic(one) else [self._strip_protocol(one)]
            for each in found:
                with self._changing(each, "remove") as (new, below):
                    new.remove(below, recursive=recursive)

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        """Copy a file. Within a branch that takes no room and no time."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
            return
        (source, below1), (target, _) = _split(path1), _split(path2)
        with self._changing(path2, "copy") as (new, below2):
            if _key(source) == _key(target):
                new.copy(below1, below2)
            else:
                new.write_bytes(below2, self.cat_file(path1))

    def mv(self, path1: str, path2: str, recursive: bool = True, **options: Any) -> None:
        """Move what stands at a path. Within a branch that takes no room and no time."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        (source, below1), (target, _) = _split(path1), _split(path2)
        if _key(source) != _key(target) or has_magic(path1) or self.isdir(path2):
            super().mv(path1, path2, recursive=recursive, **options)
            return
        if not recursive and self.isdir(path1):
            raise IsADirectoryError(errno.EISDIR, "a directory", path1)
        with self._changing(path2, "move") as (new, below2):
            new.move(below1, below2)

    # transactions

    def end_writing(self, *, commit: bool) -> None:
        """End what was written since the fsspec transaction began; for `VfsTransaction`."""
        with self._lock:
            writing, self._writing = self._writing, {}
            try:
                for (data_set, branch), new in writing.items():
                    with _as_os_errors(f"{data_set}@{branch}"):
                        new.end(commit=commit)
            finally:
                for new in writing.values():
                    if new.is_open:
                        new.end(commit=False)

    @contextmanager
    def _changing(self, path: str, doing: str) -> Iterator[tuple[Transaction, str]]:
        """Give what a change of *path* goes into, and the path in it."""
        target, below = _split(path)
        with _as_os_errors(path), self._lock:
            if self._intrans:
                yield self._begin_all(target), below
                return
            with self._begin(target, f"{doing} {below}") as new:
                yield new, below

    def _begin_all(self, target: str) -> Transaction:
        """Return what the whole fsspec transaction goes into."""
        key = _key(target)
        if key not in self._writing:
            self._writing[key] = self._begin(target, "written by a program")
        return self._writing[key]

    def _begin(self, target: str, message: str) -> Transaction:
        if not target:
            raise ReadOnly("this is no branch", hint="write to vfs://DATASET@BRANCH/PATH")
        return self.client.commit(target, self._message or message, author=self._author)

    def _side(self, target: str) -> Version | Transaction:
        """Return what shows *target* now: what is being written to it, or its version."""
        return self._writing.get(_key(target)) or self.client.open(target)

    def _data_set(self, name: str) -> dict[str, Any]:
        if name not in self.client.data_sets():
            raise NotFound(f"there is no data set '{name}'")
        return _directory(name)


def _reading(path: str, version: Version, below: str) -> IO[bytes]:
    """Open a file of a version, of which reading raises OSError as well."""
    _, entry = version.find_file(below)

    def read(entry: Entry, offset: int, length: int) -> bytes:
        with _as_os_errors(path):
            return version.read_entry(entry, offset, length)

    return io.BufferedReader(RawFile(path, entry, read), BUFFER_BYTES)


class _OwnVersion:
    """A file that becomes a version of its branch when it is closed."""

    def __init__(self, fs: VfsFileSystem, new: Transaction, below: str, mode: str) -> None:
        self._new = new
        self._path = f"{new.data_set}@{new.branch}/{below}"
        try:
            self._file: IO[bytes] = new.open(below, mode)  # type: ignore[call-overload]
        except BaseException:
            new.end(commit=False)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> IO[bytes]:
        return self  # type: ignore[return-value]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._end(commit=kind is None)

    def close(self) -> None:
        """Make the version."""
        self._end(commit=True)

    def _end(self, *, commit: bool) -> None:
        if self._file.closed:
            return
        with _as_os_errors(self._path):
            try:
                self._file.close()
            except BaseException:
                self._new.end(commit=False)
                raise
            self._new.end(commit=commit)


def _split(path: str) -> tuple[str, str]:
    """Return `DATASET@REVISION` and what is behind it."""
    target, _, below = path.strip("/").partition("/")
    return target, below


def _key(target: str) -> tuple[str, str]:
    data_set, _, branch = target.partition("@")
    return data_set, branch or DEFAULT_BRANCH


def _directory(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _details(target: str, info: Info) -> dict[str, Any]:
    details = {
        "name": f"{target}/{info.path}" if info.path else target,
        "size": 0 if info.is_dir else info.size,
        "type": {"symlink": "link"}.get(info.kind, info.kind),
        "mode": info.mode,
        "uid": info.uid,
        "gid": info.gid,
        "mtime": info.mtime_ns / 1e9,
        "content": info.content,
    }
    if info.target:
        details |= {"islink": True, "destination": info.target}
    return details
