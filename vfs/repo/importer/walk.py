"""Walking a directory of this machine: what is where, in order, and reading it.

Every call is relative to an open directory and follows no symlink, so nothing that happens to the
tree meanwhile leads out of it. Fifos and devices are never opened.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.errors import SourceProblem
from vfs.repo.importer.api import Problem
from vfs.repo.importer.assemble import Directory, Known
from vfs.repo.importer.index import (
    UNTRUSTED,
    OldDirectory,
    Record,
    exact_fingerprint,
    fingerprint,
)
from vfs.repo.importer.inode import (
    CHANGED,
    SOURCE,
    Unreadable,
    entry_of,
    read_xattrs,
    with_link,
)
from vfs.repo.importer.lookahead import Lookahead
from vfs.repo.importer.names import DIRECTORY, KIND_BYTES, REGULAR, NameBudget, Names
from vfs.repo.importer.trust import Times, Trust

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.importer.api import ProblemList, Tally
    from vfs.repo.importer.assemble import Assembler
    from vfs.repo.importer.content import Feeder
    from vfs.repo.importer.links import Links
    from vfs.repo.importer.pipeline import Pipeline

OPEN_DIRECTORIES_MAX: Final = 128
"""Of deeper trees, the upper directories are closed meanwhile, and opened again through `..`."""

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DIRECTORY_FLAGS: Final = _OPEN_FLAGS | os.O_DIRECTORY


class _Level:
    """A directory that is being walked."""

    __slots__ = (
        "above",
        "before",
        "fd",
        "iterator",
        "name",
        "names",
        "old",
        "record",
        "records",
        "times",
    )

    def __init__(
        self,
        name: bytes,
        above: _Level | None,
        fd: int,
        before: os.stat_result,
        names: Names,
        old: OldDirectory | None,
        times: Times,
    ) -> None:
        self.above = above
        self.name = name
        self.fd = fd  # -1 while it is closed
        self.before = before
        self.times = times
        self.names = names
        self.iterator: Iterator[bytes] = iter(names)
        self.old = old
        self.records: Iterator[Record] = iter(()) if old is None else old.records()
        self.record = next(self.records, None)  # the next one that the index has

    def path(self, name: bytes) -> bytes:
        """Return the path of an entry, from the source; b"" is the directory itself."""
        parts = [name] if name else []
        level: _Level | None = self
        while level is not None and level.above is not None:
            parts.append(level.name)
            level = level.above
        return b"/".join(reversed(parts))


class Walker:
    """Walks one source, and feeds the pipeline."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        assembler: Assembler,
        feeder: Feeder,
        links: Links,
        tally: Tally,
        problems: ProblemList,
        skip: Callable[[os.stat_result], str | None],
        spill_dir: Path,
        budget: NameBudget | None = None,
    ) -> None:
        """*skip* says why a directory is left out, or None."""
        self._pipeline = pipeline
        self._assembler = assembler
        self._feeder = feeder
        self._links = links
        self._tally = tally
        self._problems = problems
        self._skip = skip
        self._spill_dir = spill_dir
        self._budget = budget or NameBudget()
        self._ahead = Lookahead()
        self._levels: list[_Level] = []
        self._directories = 0
        self._noatime = os.O_NOATIME
        self._trust = Trust()
        self.notes: list[Problem] = []

    def walk(self, source: bytes, old: OldDirectory | None) -> None:
        """Walk the directory *source*; *old* is what the index knows of it.

        Raises SourceProblem when it can't be read itself.
        """
        try:
            with SOURCE:
                # The source itself may be named by a symlink.
                fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._enter(b"", fd, old, None)
        except Unreadable as error:
            raise SourceProblem(f"{os.fsdecode(source)} can't be imported: {error}") from error
        try:
            while self._levels:
                self._continue(self._levels[-1])
            self._ahead.finish()
        finally:
            self._ahead.close()
            for level in self._levels:
                self._close(level)

    def _continue(self, level: _Level) -> None:
        """Go on with a directory until it ends or another begins."""
        for key in level.iterator:
            name, kind = key[:-KIND_BYTES], key[-KIND_BYTES:]
            record = level.record
            while record is not None and record[0] < name:
                self._ahead.do(self._pipeline.post, self._assembler.gone, record[0])
                record = next(level.records, None)
            if record is not None and record[0] == name:
                level.record = next(level.records, None)
            else:
                level.record, record = record, None
            try:
                if kind == DIRECTORY:
                    self._descend(level, name, record)
                    return
                if kind == REGULAR:
                    self._file(level, name, record)
                else:
                    self._special(level, name, record)
            except Unreadable as error:
                self._problems.add(level.path(name), str(error))
                self._gone(name, record)
        self._leave(level)

    def _gone(self, name: bytes, record: Record | None) -> None:
        """Note that what the index has under *name* is not imported again."""
        if record is not None:
            self._ahead.do(self._pipeline.post, self._assembler.gone, name)

    # directories

    def _descend(self, level: _Level, name: bytes, record: Record | None) -> None:
        fd = self._open(name, _DIRECTORY_FLAGS, level.fd)
        old = None
        if record is not None and level.old is not None:
            old = level.old.child(record)
        self._enter(name, fd, old, record)

    def _enter(self, name: bytes, fd: int, old: OldDirectory | None, record: Record | None) -> None:
        """Begin a directory, of which *fd* is taken over."""
        try:
            with SOURCE:
                before = os.fstat(fd)
            reason = self._skip(before) if self._levels else None
            if reason is not None:
                os.close(fd)
                self.notes.append(Problem(self._levels[-1].path(name), reason))
                self._gone(name, record)
                return
            head = entry_of(name, before, read_xattrs(fd))
            names = Names(fd, self._budget, self._spill_dir)
        except BaseException:
            os.close(fd)
            raise
        above = self._levels[-1] if self._levels else None
        level = _Level(name, above, fd, before, names, old, self._trust.of(fd, before))
        directory = Directory(head, self._directories, old, record)
        self._directories += 1
        self._tally.directories += 1
        self._levels.append(level)
        self._ahead.do(self._pipeline.post, self._assembler.enter, directory)
        if len(self._levels) > OPEN_DIRECTORIES_MAX:
            far = self._levels[-OPEN_DIRECTORIES_MAX - 1]
            if far.fd >= 0:
                os.close(far.fd)
                far.fd = -1

    def _leave(self, level: _Level) -> None:
        while level.record is not None:
            self._ahead.do(self._pipeline.post, self._assembler.gone, level.record[0])
            level.record = next(level.records, None)
        self._check_unchanged(level)
        self._ahead.do(self._pipeline.post, self._assembler.leave, None)
        self._tally.report()
        self._levels.pop()
        try:
            if self._levels and self._levels[-1].fd < 0:
                self._reopen(self._levels[-1], level.fd)
        finally:
            self._close(level)

    def _check_unchanged(self, level: _Level) -> None:
        """Name a directory that changed since its names were read: one may have moved past us."""
        try:
            with SOURCE:
                after = os.fstat(level.fd)
        except Unreadable as error:
            self._problems.add(level.path(b""), str(error))
            return
        before = level.before
        if (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
            self._problems.add(level.path(b""), CHANGED)

    def _reopen(self, level: _Level, child: int) -> None:
        fd = -1
        try:
            fd = self._open(b"..", _DIRECTORY_FLAGS, child)
            with SOURCE:
                st = os.fstat(fd)
            is_same = (st.st_dev, st.st_ino) == (level.before.st_dev, level.before.st_ino)
        except Unreadable:
            is_same = False
        if not is_same:
            if fd >= 0:
                os.close(fd)
            path = os.fsdecode(level.path(b"")) or "the source"
            raise SourceProblem(
                f"{path} was moved while it was read; nothing was committed",
                hint="leave the source alone while it is imported",
            )
        level.fd = fd

    def _close(self, level: _Level) -> None:
        level.names.close()
        if level.fd >= 0:
            os.close(level.fd)
            level.fd = -1

    def _open(self, name: bytes, flags: int, directory: int) -> int:
        with SOURCE:
            try:
                return os.open(name, flags | self._noatime, dir_fd=directory)
            except PermissionError:
                if not self._noatime:
                    raise
                # O_NOATIME is only for the owner of a file (open(2)).
                return os.open(name, flags, dir_fd=directory)

    # everything else

    def _special(self, level: _Level, name: bytes, record: Record | None) -> None:
        """Import a symlink, a fifo, a socket or a device."""
        now_ns = time.time_ns()
        st = _stat(level, name)
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            # It was something else when it was listed, or the file system does not say.
            raise Unreadable(CHANGED)
        if record is not None and self._is_known(level, st, name, record):
            return
        target = b""
        if stat.S_ISLNK(st.st_mode):
            with SOURCE:
                target = os.readlink(name, dir_fd=level.fd)
        xattrs = read_xattrs(b"/proc/self/fd/%d/%s" % (level.fd, name))
        entry = entry_of(name, st, xattrs, target)
        known = Known(_fingerprint(level, st, now_ns), None)
        if st.st_nlink > 1:
            if self._is_other_link(level, st, entry, known):
                return
            known = known._replace(link=self._links.key(st))
        self._ahead.do(self._pipeline.post, self._assembler.add, (entry, known), len(entry.extra))
        self._tally.files += 1

    def _file(self, level: _Level, name: bytes, record: Record | None) -> None:
        now_ns = time.time_ns()
        if record is not None:
            st = _stat(level, name)
            if self._is_known(level, st, name, record):
                return
        fd = self._open(name, _OPEN_FLAGS, level.fd)
        try:
            with SOURCE:
                st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                raise Unreadable(CHANGED)
            entry = entry_of(name, st, read_xattrs(fd))
            known = Known(_fingerprint(level, st, now_ns), None)
            if st.st_nlink > 1 and self._is_other_link(level, st, entry, known):
                os.close(fd)
                return
        except BaseException:
            os.close(fd)
            raise
        self._ahead.read(fd, st.st_size, self._read, level, fd, st, entry, known, record)
        if st.st_nlink > 1:
            self._ahead.finish()  # whether it can be read decides who the first link is

    def _read(
        self,
        level: _Level,
        fd: int,
        st: os.stat_result,
        entry: Entry,
        known: Known,
        record: Record | None,
    ) -> None:
        """Read a file that was opened a little earlier, and close it."""
        if st.st_nlink > 1:
            known = known._replace(link=self._links.key(st))
        try:
            self._feeder.file(fd, st, entry, known)
        except Unreadable as error:
            self._problems.add(level.path(entry.name), str(error))
            if known.link is not None:
                self._links.forget(known.link)
            if record is not None:
                self._pipeline.post(self._assembler.gone, entry.name)
        else:
            self._tally.files += 1
        finally:
            os.close(fd)

    def _is_other_link(self, level: _Level, st: os.stat_result, entry: Entry, known: Known) -> bool:
        """Note one more name of an inode; import it if it is not the first one.

        Raises Unreadable when the inode has changed meanwhile.
        """
        link = self._links.key(st)
        if self._links.see(link, st, level.path(entry.name)):
            return False
        item = entry, known._replace(link=link)
        self._ahead.do(self._pipeline.post, self._assembler.add_other_link, item, len(entry.extra))
        self._tally.take_known(st)
        return True

    def _is_known(self, level: _Level, st: os.stat_result, name: bytes, record: Record) -> bool:
        """Take an entry over from the index if it is unchanged; say whether it is."""
        stamp = record[1]
        if stamp == UNTRUSTED or not level.times.tell(st) or stamp != exact_fingerprint(st):
            return False
        if st.st_nlink == 1:
            self._ahead.do(self._pipeline.post, self._assembler.match, record)
        else:
            entry = with_link(record[2].entry(record[3]), None)
            known = Known(stamp, None)
            if self._is_other_link(level, st, entry, known):
                return True
            item = entry, known._replace(link=self._links.key(st))
            self._ahead.do(self._pipeline.post, self._assembler.add, item, len(entry.extra))
        self._tally.take_known(st)
        return True


def _stat(level: _Level, name: bytes) -> os.stat_result:
    with SOURCE:
        return os.stat(name, dir_fd=level.fd, follow_symlinks=False)


def _fingerprint(level: _Level, st: os.stat_result, now_ns: int) -> bytes:
    return fingerprint(st, now_ns) if level.times.tell(st) else UNTRUSTED
