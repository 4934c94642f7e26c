"""One version of a data set, read without a mount."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from vfs.api.connection import connect
from vfs.api.files import RawFile, as_wanted
from vfs.api.paths import Info, PathLike, info_of, parse_path, show_path
from vfs.errors import IsADirectory, NotADirectory, NotFound, NotSupported
from vfs.ids import ObjectId
from vfs.model.entry import Extra
from vfs.repo.trees import walk

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.api.connection import Connection
    from vfs.model.commit import JSON, Commit
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository

    Names = tuple[bytes, ...]

LINKS_MAX: Final = 40  # followed on one way, as in Linux
_PAGE: Final = 1000  # entries read at once


class Version:
    """What a data set was at one commit. It never changes. Thread-safe, and can be pickled.

    Paths are below the version's root, with `/` between names; "" is the root. Symlinks are
    followed as far as they stay in the version. Methods raise NotFound, NotADirectory,
    IsADirectory, and CorruptObject for bytes that are damaged.
    """

    def __init__(self, connection: Connection, data_set: str, commit: ObjectId) -> None:
        """For `vfs.open` and `Client.open`."""
        self._connection = connection
        self._id = commit
        with connection.repository() as repo:
            self._commit: Commit = repo.commit(commit)
        self.data_set = data_set

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._connection.path, self.data_set, self._id)

    def __repr__(self) -> str:
        return f"<Version {self.data_set}@{self.commit[:12]}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, ObjectId]:
        return self.data_set, self._id

    # what it is

    @property
    def commit(self) -> str:
        """The commit's id in hex: what to write down to have exactly this again."""
        return self._id.hex()

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the versions that it was made from."""
        return tuple(oid.hex() for oid in self._commit.parents)

    @property
    def message(self) -> str:
        """What its author said of it."""
        return self._commit.message

    @property
    def author(self) -> str:
        """Who made it."""
        return self._commit.author

    @property
    def time_ns(self) -> int:
        """When it was made: nanoseconds since 1970 UTC."""
        return self._commit.time_ns

    @property
    def provenance(self) -> Mapping[str, JSON]:
        """How it was made."""
        return self._commit.provenance

    @property
    def root(self) -> Entry:
        """The entry of its top directory."""
        return self._commit.root

    # what is in it

    def info(self, path: PathLike = "", *, follow: bool = True) -> Info:
        """Return what stands at *path*; without *follow*, of a symlink itself."""
        names, entry = self._find(parse_path(path), follow=follow)
        return info_of(names, entry)

    def exists(self, path: PathLike) -> bool:
        """Say whether anything stands at *path*."""
        try:
            self._find(parse_path(path), follow=True)
        except (NotFound, NotADirectory):
            return False
        return True

    def ls(self, path: PathLike = "") -> list[Info]:
        """Return what a directory holds, sorted by name."""
        return list(self.scan(path))

    def scan(self, path: PathLike = "") -> Iterator[Info]:
        """Yield what a directory holds, sorted by name, however much that is."""
        names, entry = self._find(parse_path(path), follow=True)
        if not entry.is_dir:
            raise NotADirectory(f"'{show_path(names)}' is not a directory")
        return (info_of((*names, child.name), child) for child in self._entries(entry))

    def walk(self, path: PathLike = "") -> Iterator[tuple[str, list[Info], list[Info]]]:
        """Yield each directory's path, the directories in it and all else in it, from the top.

        As os.walk does, it leaves out what is removed from the list of directories meanwhile.
        """
        waiting = [self.info(path)]
        while waiting:
            here = waiting.pop()
            directories: list[Info] = []
            others: list[Info] = []
            for info in self.scan(here.path):
                (directories if info.is_dir else others).append(info)
            yield here.path, directories, others
            waiting += reversed(directories)

    def files(self, path: PathLike = "") -> Iterator[Info]:
        """Yield all regular files at *path* and below, by name, each directory in its place."""
        top = self.info(path)
        if top.is_file:
            yield top
            return
        stack = [self.scan(top.path)]
        while stack:
            for info in stack[-1]:
                if info.is_dir:
                    stack.append(self.scan(info.path))
                    break
                if info.is_file:
                    yield info
            else:
                stack.pop()

    # what the files hold

    @overload
    def open(
        self, path: PathLike, mode: Literal["rb"] = "rb", *, encoding: None = None
    ) -> io.BufferedReader: ...

    @overload
    def open(
        self, path: PathLike, mode: Literal["r", "rt"], *, encoding: str | None = None
    ) -> io.TextIOWrapper: ...

    def open(self, path: PathLike, mode: str = "rb", *, encoding: str | None = None) -> Any:
        """Open a file to be read, as the built-in open does; as UTF-8 without an *encoding*."""
        if mode not in ("rb", "r", "rt"):
            raise NotSupported(
                f"a version never changes: it can't be opened as {mode!r}",
                hint="write to a branch: with vfs.commit('data@main', 'message') as new: ...",
            )
        names, entry = self.find_file(path)
        return as_wanted(RawFile(show_path(names), entry, self.read_entry), mode, encoding)

    def read_bytes(self, path: PathLike, offset: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or *length* of them from *offset*."""
        _, entry = self.find_file(path)
        rest = max(entry.size - offset, 0)
        return self.read_entry(entry, offset, rest if length is None else min(length, rest))

    def read_text(self, path: PathLike, encoding: str = "utf-8") -> str:
        """Return the text of a file."""
        return self.read_bytes(path).decode(encoding)

    def find_file(self, path: PathLike) -> tuple[Names, Entry]:
        """Return where the regular file at *path* is, and its entry."""
        names, entry = self._find(parse_path(path), follow=True)
        if entry.is_dir:
            raise IsADirectory(f"'{show_path(names)}' is a directory")
        if not entry.is_file:
            raise NotSupported(f"'{show_path(names)}' is not a regular file")
        return names, entry

    def read_entry(self, entry: Entry, offset: int, length: int) -> bytes:
        """Return the bytes of a range of a file that was found (see `find_file`)."""
        with self._connection.repository() as repo:
            return b"".join(repo.read_file(entry, offset, length))

    def _entries(self, directory: Entry) -> Iterator[Entry]:
        """Yield entries, some at a time: the store need not stay open in between."""
        at = 0
        while True:
            with self._connection.repository() as repo:
                places = islice(walk(repo.nodes, directory.content, at), _PAGE)
                page = [place.entry for place in places]
            yield from page
            if len(page) < _PAGE:
                return
            at += _PAGE

    def _find(self, path: Names, *, follow: bool) -> tuple[Names, Entry]:
        """Return where *path* leads, and the entry there."""
        with self._connection.repository() as repo:
            done: Names = ()
            entry, left = self.root, list(reversed(path))
            links = 0
            while left:
                name = left.pop()
                if name == b"..":
                    done = done[:-1]
                    entry = repo.entry_at(self.root, done)
                    continue
                entry = _child(repo, entry, done, name)
                target = Extra.decode(entry.extra).target if follow or left else b""
                if not target:
                    done = (*done, name)
                    continue
                links += 1
                if links > LINKS_MAX or target.startswith(b"/"):
                    raise NotFound(f"the symlink '{show_path((*done, name))}' leads nowhere here")
                left += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
                entry = repo.entry_at(self.root, done)
            return done, entry


def _child(repo: Repository, entry: Entry, path: Names, name: bytes) -> Entry:
    if not entry.is_dir:
        raise NotADirectory(f"'{show_path(path)}' is not a directory")
    try:
        return repo.entry_at(entry, (name,))
    except NotFound as error:
        where = show_path((*path, name))
        raise NotFound(f"there is no '{where}' in this version", hint=error.hint) from None


def _reopened(store: Path, data_set: str, commit: ObjectId) -> Version:
    return Version(connect(store), data_set, commit)
