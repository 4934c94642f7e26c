"""One import from its beginning to its commit."""

from __future__ import annotations

import socket
import stat
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from vfs.errors import InvalidInput, InvalidName, NotFound
from vfs.model.commit import check_text
from vfs.model.entry import directory_entry
from vfs.model.names import DEFAULT_BRANCH
from vfs.repo import identity
from vfs.repo.importer.api import SILENT, ImportResult, ProblemList, Tally
from vfs.repo.importer.directory import DirectoryImport
from vfs.repo.importer.pipeline import Pipeline
from vfs.repo.importer.single import FileImport
from vfs.repo.importer.tar import TarImport, is_tar
from vfs.repo.treepaths import edit_paths
from vfs.repo.trees import TreeBuilder

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import JSON, Commit
    from vfs.model.entry import Entry
    from vfs.model.names import Target
    from vfs.repo.importer.api import ImportOptions, Problem, Progress
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest


PATH_MAX_PARTS: Final = 500
"""Of a target's path: they are put into place by recursion, and Python goes 1,000 calls deep."""
COMMAND_MAX_BYTES: Final = 256 << 10
"""With two texts and the rest, it has to fit into COMMIT_MAX_BYTES."""


class Source(Protocol):
    """Something that can be imported. A context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

    def read(
        self, pipeline: Pipeline, ingest: Ingest, tally: Tally, problems: ProblemList
    ) -> tuple[Entry, list[Problem]]:
        """Store the contents; return the entry of the whole and what was left out on purpose."""

    def committed(self, commit: ObjectId) -> None:
        """Note that all of it is in *commit*."""


def import_source(
    repo: Repository,
    source: Path | BinaryIO,
    target: Target,
    options: ImportOptions,
    progress: Progress = SILENT,
) -> ImportResult:
    """Import a directory, an archive or a file into a branch, and commit it.

    Without a path in *target* the source is the whole new version; with one it replaces what is
    there, and the rest stays. Raises SourceProblem when something can't be read (unless
    `options.partial`), InvalidInput for a bad archive or text, InvalidName for a path that is too
    deep, NotFound for a data set or a branch that is not there, ErasedMeanwhile.
    Whatever is raised, a KeyboardInterrupt included, nothing of the import shows.
    """
    begun = time.monotonic()
    branch = target.revision or DEFAULT_BRANCH
    _check(repo, target, branch, options)
    tally = Tally(progress)
    problems = ProblemList()
    with ExitStack() as stack:
        ingest = stack.enter_context(
            repo.store.ingest(
                verify=options.checksum,
                when_erased="store" if options.allow_erased else "note",
                who=identity.who(),
            )
        )
        reading = stack.enter_context(_open(repo, source, target, options))
        with Pipeline(ingest, options.jobs, tally.report) as pipeline:
            entry, notes = reading.read(pipeline, ingest, tally, problems)
        if not options.partial:
            problems.check()
        done = repo.commit_root(
            target.data_set,
            branch,
            lambda head: _new_root(repo, ingest, head, target, entry),
            ingest=ingest,
            message=options.message,
            author=options.author,
            provenance=_provenance(source, options),
            tag=options.tag,
        )
        # From here on it is there: an interrupt comes too late to be called one.
        with suppress(KeyboardInterrupt):
            reading.committed(done.commit)
    return ImportResult(
        commit=done.commit,
        changed=done.changed,
        files=tally.files,
        directories=tally.directories,
        bytes=tally.bytes,
        bytes_read=tally.bytes_read,
        new_stored_bytes=ingest.stored_bytes,
        problems=tuple(problems.kept),
        problem_count=problems.count,
        notes=tuple(notes),
        seconds=time.monotonic() - begun,
    )


def _check(repo: Repository, target: Target, branch: str, options: ImportOptions) -> None:
    """Refuse, before anything is read, what could not be committed."""
    head = repo.branch_to_commit_to(target.data_set, branch)
    repo.store.refs.require_committed(target.data_set, branch)
    if options.tag is not None:
        # It may name the head already: nothing may have changed since.
        repo.check_tag(target.data_set, options.tag, None if head is None else head.commit)
    if len(target.path) > PATH_MAX_PARTS:
        raise InvalidName(
            f"a path of {len(target.path):,} names", hint=f"{PATH_MAX_PARTS:,} are allowed"
        )
    check_text("message", options.message)
    check_text("author", options.author or "")
    check_text("command", " ".join(options.command), COMMAND_MAX_BYTES)


def _open(
    repo: Repository, source: Path | BinaryIO, target: Target, options: ImportOptions
) -> Source:
    """Return the reader for the kind of *source*. Raises NotFound, InvalidInput."""
    if not isinstance(source, Path):
        if options.format not in ("auto", "tar"):
            raise InvalidInput(
                f"standard input can't be imported as '{options.format}'",
                hint="only a tar archive can come from there",
            )
        return TarImport(repo, source, target)
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise NotFound(f"{source} can't be read: {error.strerror}") from error
    found = options.format
    if found != "tar" and not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidInput(
            f"{source} is a {_kind(mode)}",
            hint="name a directory or a file; a stream is imported with --format tar, or as '-'",
        )
    if found == "auto":
        found = "dir" if stat.S_ISDIR(mode) else "tar" if is_tar(source) else "file"
    if (found == "dir") != stat.S_ISDIR(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no directory"
        raise InvalidInput(f"{source} is {what}", hint="leave --format away")
    if found == "dir":
        return DirectoryImport(repo, source, target, checksum=options.checksum)
    if found == "tar":
        return TarImport(repo, source, target)
    return FileImport(source, target)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def _new_root(
    repo: Repository, ingest: Ingest, head: Commit | None, target: Target, entry: Entry
) -> Entry:
    """Return the root of the new version."""
    if not target.path:
        return entry._replace(name=b"")
    if head is not None:
        root = head.root
    else:
        tree, totals = TreeBuilder(ingest).finish()
        ingest.flush()
        root = directory_entry(
            b"", tree, totals, uid=entry.uid, gid=entry.gid, mtime_ns=entry.mtime_ns
        )
    return edit_paths(repo.reader, ingest, root, {target.path: entry})


def _provenance(source: Path | BinaryIO, options: ImportOptions) -> dict[str, JSON]:
    shown = str(source.resolve()) if isinstance(source, Path) else "-"
    return {
        "command": list(options.command),
        "host": socket.gethostname(),
        "kind": "import",
        "source": shown,
    }
