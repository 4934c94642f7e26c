"""Importing a tar archive, from a file or a stream, without unpacking it.

Members come in any order, so entries wait in a `Spool` until all are known; contents go straight
into the store. A member that would lead out of the archive's own tree is refused with all of it.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from vfs.errors import InvalidInput, InvalidName
from vfs.ids import NO_CONTENT
from vfs.model.entry import TARGET_MAX_BYTES, Entry, Extra
from vfs.model.names import check_entry_name
from vfs.repo.importer import tarformat
from vfs.repo.importer.api import Problem
from vfs.repo.importer.content import Contents, Feeder
from vfs.repo.importer.decompress import Exact, open_plain
from vfs.repo.importer.inode import Unreadable
from vfs.repo.importer.spool import Misplaced, Spool
from vfs.repo.importer.tarattrs import xattrs_of
from vfs.repo.importer.tarformat import Member, TarReader, looks_like_tar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfs.ids import ObjectId
    from vfs.model.names import Target
    from vfs.repo.importer.api import ProblemList, Tally
    from vfs.repo.importer.pipeline import Pipeline
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest

PATH_MAX_BYTES: Final = 64 << 10
NOTES_MAX: Final = 10_000
NOTE_MAX: Final = 500  # characters of a reason, which may show a header
_PART_BYTES: Final = 64  # of memory that one name in a path takes

_TAR_NAME: Final = re.compile(r"\.(tar(\.[^.]*)?|tgz|tbz2|txz|tzst)$", re.IGNORECASE)
_AS_A_FILE: Final = "--format file stores it as it is; tar archives may be plain, gz, bz2, xz, zst"

_TYPES: Final = {
    tarformat.REGULAR: stat.S_IFREG,
    tarformat.SYMLINK: stat.S_IFLNK,
    tarformat.CHARACTER: stat.S_IFCHR,
    tarformat.BLOCK_DEVICE: stat.S_IFBLK,
    tarformat.DIRECTORY: stat.S_IFDIR,
    tarformat.FIFO: stat.S_IFIFO,
}

Place = tuple[tuple[bytes, ...], Entry]


def is_tar(source: Path) -> bool:
    """Say whether the file *source* is a tar archive, compressed or not.

    Raises InvalidInput when its name or the damage that it has speak against a plain file: a
    download that broke off must not become the only file of a new version.
    """
    try:
        file = source.open("rb")
    except OSError:
        return False
    with file:
        try:
            header = Exact(open_plain(file), str(source)).read_up_to(tarformat.BLOCK)
            if not header and os.fstat(file.fileno()).st_size > tarformat.BLOCK:
                # A zstd frame that was cut off in its first block ends without an error.
                raise InvalidInput(f"{source} is damaged or truncated: nothing can be unpacked")
        except InvalidInput as error:
            raise InvalidInput(str(error), hint=_AS_A_FILE) from error
    is_named = _TAR_NAME.search(source.name) is not None
    if looks_like_tar(header) or (is_named and header == bytes(tarformat.BLOCK)):
        return True
    if is_named:
        what = "no tar archive, or its beginning is damaged"
        raise InvalidInput(f"{source} is {what}", hint=_AS_A_FILE)
    return False


class TarImport:
    """One import of an archive. A context manager."""

    def __init__(self, repo: Repository, source: Path | BinaryIO, target: Target) -> None:
        self._repo = repo
        self._source = source
        self._target = target
        self._name = str(source) if isinstance(source, Path) else "the archive"
        self._resources = ExitStack()
        self._spool: Spool
        self._reader: TarReader
        self._pipeline: Pipeline
        self._notes: list[Problem] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._resources.close()

    def committed(self, commit: ObjectId) -> None:
        """Nothing is kept for the next import: an archive has to be read whole."""

    def read(
        self, pipeline: Pipeline, ingest: Ingest, tally: Tally, problems: ProblemList
    ) -> tuple[Entry, list[Problem]]:
        """Read the archive; return its root entry and what could not be kept.

        Raises InvalidInput.
        """
        stream = Exact(open_plain(self._open()), self._name)
        self._spool = self._resources.enter_context(Spool(self._repo.store))
        self._pipeline = pipeline

        def refused(_entry: Entry, context: Any, reason: str) -> Any:
            problems.add(b"/".join(context[0]), reason)
            return context

        feeder = Feeder(pipeline, Contents(ingest, self._add, refused), tally)
        self._reader = reader = TarReader(stream, self._name)
        for member in reader.members():
            entry, path = self._entry(member)
            weight = len(entry.extra) + _PART_BYTES * len(path)
            if member.kind == tarformat.LINK:
                target = self._path(member.target, "a link to")
                weight += _PART_BYTES * len(target)
                pipeline.post(self._link, (path, target, _named(member)), weight)
            elif member.kind == tarformat.DIRECTORY:
                stream.skip(member.stored)
                pipeline.post(self._add_directory, (path, entry, _named(member)), weight)
            elif member.kind == tarformat.REGULAR:
                context = path, _named(member)
                feeder.stream(stream.read, member.extents, entry, context, weight)
            else:
                pipeline.post(self._add_other, (path, entry, _named(member)), weight)
            if member.kind != tarformat.DIRECTORY:
                tally.files += 1
        pipeline.finish()
        tally.files = self._spool.files
        tally.directories = self._spool.directories
        return self._spool.build(ingest, self._target.path), self._notes

    def _open(self) -> BinaryIO:
        if not isinstance(self._source, Path):
            return self._source
        try:
            return self._resources.enter_context(self._source.open("rb", buffering=0))
        except OSError as error:
            raise InvalidInput(f"{self._source} can't be read: {error.strerror}") from error

    # from a member to an entry

    def _entry(self, member: Member) -> tuple[Entry, tuple[bytes, ...]]:
        path = self._path(member.name, "named")
        if not path and member.kind != tarformat.DIRECTORY:
            raise self._reader.bad("has no name")
        try:
            xattrs, lost = xattrs_of(member.headers)
        except Unreadable as error:
            raise self._reader.bad(f"can't be kept: {error}") from None
        for reason in lost[: NOTES_MAX - len(self._notes)]:
            self._notes.append(Problem(b"/".join(path)[:4096], reason[:NOTE_MAX]))
        target = b""
        if member.kind == tarformat.SYMLINK:
            target = member.target
            if not 0 < len(target) <= TARGET_MAX_BYTES or b"\0" in target:
                raise self._reader.bad("is a symlink without a possible target")
        rdev = os.makedev(*member.device)
        extra = Extra(rdev=rdev, target=target, xattrs=xattrs).encode()
        entry = Entry(
            path[-1] if path else b"",
            _TYPES.get(member.kind, stat.S_IFREG) | member.mode,
            member.uid,
            member.gid,
            member.mtime_ns,
            len(target) if target else member.size if member.kind == tarformat.REGULAR else 0,
            NO_CONTENT,
            0,
            extra,
        )
        return entry, path

    def _path(self, name: bytes, how: str) -> tuple[bytes, ...]:
        """Return the path that *name* is. Raises InvalidInput unless it stays in the archive."""
        shown = name[:300].decode("utf-8", "backslashreplace")
        if name.startswith(b"/"):
            raise self._reader.bad(f"is {how} an absolute path, '{shown}'")
        if len(name) > PATH_MAX_BYTES:
            raise self._reader.bad(f"is {how} a path of {len(name):,} bytes")
        parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
        try:
            for part in parts:
                check_entry_name(part)
        except InvalidName as error:
            raise self._reader.bad(f"is {how} an impossible path: {error}") from None
        return parts

    # behind the pipeline

    def _add(self, entry: Entry, context: Any) -> None:
        path, name = context
        self._add_other((path, entry, name), ())

    def _add_other(
        self, item: tuple[tuple[bytes, ...], Entry, str], _ids: Sequence[ObjectId]
    ) -> None:
        path, entry, name = item
        try:
            self._spool.add(path, entry)
        except Misplaced as error:
            raise self._misplaced(name, error) from None

    def _add_directory(
        self, item: tuple[tuple[bytes, ...], Entry, str], _ids: Sequence[ObjectId]
    ) -> None:
        path, entry, name = item
        try:
            self._spool.add_directory(path, entry)
        except Misplaced as error:
            raise self._misplaced(name, error) from None

    def _link(
        self,
        item: tuple[tuple[bytes, ...], tuple[bytes, ...], str],
        _ids: Sequence[ObjectId],
    ) -> None:
        path, target, name = item
        try:
            self._spool.link(path, target)
        except Misplaced as error:
            raise self._misplaced(name, error) from None

    def _misplaced(self, name: str, error: Misplaced) -> InvalidInput:
        return InvalidInput(f"{self._name} can't be imported: the member {name} {error}")


def _named(member: Member) -> str:
    return repr(member.name[:300].decode("utf-8", "backslashreplace"))
