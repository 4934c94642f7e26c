"""Exporting a version to a directory: from the first look at the target to the last rename."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from vfs.errors import InvalidInput, NotADirectory
from vfs.model.entry import directory_totals
from vfs.repo.exporter.api import ExportOptions, ExportResult
from vfs.repo.exporter.crew import Crew
from vfs.repo.exporter.directory import DirectoryWriter
from vfs.repo.exporter.earlier import Earlier
from vfs.repo.exporter.place import Place
from vfs.repo.exporter.stamp import write_stamp
from vfs.repo.importer.api import SILENT, Progress

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository


def export_directory(
    repo: Repository,
    root: Entry,
    target: Path,
    options: ExportOptions,
    progress: Progress = SILENT,
) -> ExportResult:
    """Make the directory *target* hold what the directory *root* of a version holds.

    It appears whole, when all of it is on the disk, or not at all. Raises AlreadyExists when
    something is at *target*, ExportProblem where it can't be written or the earlier export not
    read, CorruptObject for content that can't be read, NotADirectory when *root* is none.
    """
    if not root.is_dir:
        raise NotADirectory("a file can't be exported", hint="write it with: vfs cat")
    if repo.store.path.resolve().is_relative_to(target.resolve()):
        raise InvalidInput(f"{target} holds the store itself", hint="choose another place")
    totals = directory_totals(root)
    progress.total(totals.files, totals.bytes)
    result = ExportResult(directories=totals.dirs)
    with ExitStack() as ended:
        earlier = None
        if options.like is not None:
            earlier = ended.enter_context(
                Earlier(repo, options.like, link=options.link, verify=options.verify)
            )
        place = ended.enter_context(Place(target, replace=options.replace))
        crew = Crew(repo.store, options.jobs)
        writer = DirectoryWriter(
            repo, crew, result, progress, partial=options.partial, earlier=earlier
        )
        try:
            with crew:
                writer.write(place.fd, root)
        finally:
            writer.close()
        write_stamp(place.fd, root.content)
        place.publish()
    if earlier is not None:
        result.taken, result.can_take = earlier.taken, not earlier.is_impossible
    return result
