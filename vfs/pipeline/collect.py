"""What a datum wrote, on its way into the store.

Everything gets one owner, one time and one of two modes, so that the same bytes are the same tree,
wherever and whenever they were written. Empty directories are left out, as a directory of the
output is there for what stands in it: several datums may write to the same.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, Self

from vfs.clock import NS
from vfs.errors import SourceProblem
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra
from vfs.pipeline.output import OUTPUT_TIME_S, Files, tree_of
from vfs.repo.importer.api import SILENT, Tally
from vfs.repo.importer.content import Contents, Feeder
from vfs.repo.importer.inode import SOURCE, Unreadable, read_xattrs
from vfs.repo.importer.pipeline import Pipeline

if TYPE_CHECKING:
    from vfs.repo.treepaths import Path
    from vfs.store.ingest import Ingest

NAMES_MAX: Final = 500
"""Of a path: trees of outputs are put together by recursion."""


class Collector:
    """Stores what datums wrote. A context manager; for one thread."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        tally = Tally(SILENT)
        self._pipeline = Pipeline(ingest, None, tally.report)
        self._found: Files = {}
        self._feeder = Feeder(self._pipeline, Contents(ingest, self._done, _refused), tally)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipeline.__exit__(*exception)

    def collect(self, directory: FilePath) -> Entry:
        """Return the directory's tree, stored. Raises SourceProblem, with the path."""
        self._found = {}
        self._walk(os.fsencode(directory))
        self._pipeline.finish()
        return tree_of(self._ingest, self._found)

    def _done(self, entry: Entry, path: Any) -> None:
        self._found[path] = entry

    def _walk(self, top: bytes) -> None:
        waiting: list[Path] = [()]
        while waiting:
            above = waiting.pop()
            with os.scandir(b"/".join((top, *above))) as found:
                for one in found:
                    path = (*above, one.name)
                    try:
                        if one.is_dir(follow_symlinks=False):
                            if len(path) >= NAMES_MAX:
                                raise Unreadable(f"it is more than {NAMES_MAX} directories deep")
                            waiting.append(path)
                        else:
                            self._take(one, path)
                    except Unreadable as error:
                        name = os.fsdecode(b"/".join(path))
                        raise SourceProblem(f"it wrote '{name}': {error}") from None

    def _take(self, found: os.DirEntry[bytes], path: Path) -> None:
        status = found.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(found.path)  # noqa: PTH115 - bytes
            extra = Extra(target=target).encode()
            mode = stat.S_IFLNK | 0o777
            self._done(_entry(path, mode, len(target), extra), path)
            return
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("only files, directories and symlinks can be in an output")
        with SOURCE:
            fd = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            xattrs = read_xattrs(fd)
            extra = Extra(xattrs=xattrs).encode() if xattrs else b""
            mode = stat.S_IFREG | (0o755 if status.st_mode & stat.S_IXUSR else 0o644)
            self._feeder.file(fd, status, _entry(path, mode, status.st_size, extra), path)
        finally:
            os.close(fd)


def _entry(path: Path, mode: int, size: int, extra: bytes) -> Entry:
    return Entry(path[-1], mode, 0, 0, OUTPUT_TIME_S * NS, size, NO_CONTENT, 0, extra)


def _refused(_entry: Entry, _path: Any, reason: str) -> Any:
    raise Unreadable(reason)
