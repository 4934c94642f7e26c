"""A mounted branch and a directory of ext4 to which the same is done, and operations for both."""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.support.branch import Branch, a_branch
from tests.support.import_trees import tree_in_store, tree_on_disk
from tests.support.posix import make_zoo, opened
from tests.support.tree_ops import Ops, digest, facts_of
from vfs.repo.branchstatus import overlay_status
from vfs.repo.repository import Repository


class HoldingOps(Ops):
    """Operations that also hold files open, by a number, whatever becomes of their names."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self.held: dict[int, int] = {}

    def hold(self, number: int, path: str, flags: int) -> str:
        fd = os.open(self.at(path), flags | os.O_NONBLOCK, 0o640)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return "no file"
        self.held[number] = fd
        return "held"

    def held_write(self, number: int, offset: int, data: bytes) -> int:
        return os.pwrite(self.held[number], data, offset)

    def held_append(self, number: int, data: bytes) -> int:
        os.lseek(self.held[number], 0, os.SEEK_END)
        return os.write(self.held[number], data)

    def held_map_write(self, number: int, offset: int, data: bytes) -> bool:
        """Write to memory that is not synced; the kernel knows which pages changed."""
        fd = self.held[number]
        if not offset + len(data) <= os.fstat(fd).st_size > 0:
            return False
        with mmap.mmap(fd, 0) as mapped:
            mapped[offset : offset + len(data)] = data
        return True

    def held_truncate(self, number: int, size: int) -> None:
        os.ftruncate(self.held[number], size)

    def held_sync(self, number: int, data_only: bool) -> None:
        (os.fdatasync if data_only else os.fsync)(self.held[number])

    def held_chmod(self, number: int, mode: int) -> None:
        os.fchmod(self.held[number], mode)

    def held_look(self, number: int) -> tuple[object, ...]:
        fd = self.held[number]
        facts = os.fstat(fd)
        content = digest(os.pread(fd, 1 << 20, 0))
        return oct(facts.st_mode), facts.st_nlink, facts.st_uid, facts.st_size, content

    def held_forget_pages(self, number: int) -> None:
        """Have the kernel forget what it read of a file, so that it has to ask again."""
        os.posix_fadvise(self.held[number], 0, 0, os.POSIX_FADV_DONTNEED)

    def let_go(self, number: int) -> None:
        os.close(self.held.pop(number))

    def let_go_of_all(self) -> None:
        for number in list(self.held):
            with suppress(OSError):  # of a mount that died
                self.let_go(number)

    def forget_pages(self, path: str) -> None:
        with opened(self.at(path), os.O_RDONLY | os.O_NONBLOCK) as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class Pair:
    """Gives out directories, one in the branch and one on ext4, with an entry of each kind.

    The first *prepared* of the branch are committed, and nobody has looked at them yet.
    """

    def __init__(self, directory: Path, *, prepared: int) -> None:
        self._directory = directory
        self._prepared = prepared
        self._undo = ExitStack()
        self._made = self._used = 0
        self.broken = True  # what is mounted is not to be used any more

    def fresh(self) -> tuple[Path, Path]:
        """Return the next directory: in the branch, and on ext4."""
        if self.broken:
            self._begin()
        name = f"{self._used}"
        self._used += 1
        ours, theirs = self.branch.mountpoint / name, self._reference / name
        _make(theirs)
        if self._used > self._prepared:
            _make(ours)
        return ours, theirs

    def _begin(self) -> None:
        self._undo.close()
        place = self._directory / f"{self._made}"
        self._made += 1
        self._used = 0
        for number in range(self._prepared):
            _make(place / "source" / f"{number}")
        self._reference = place / "reference"
        self._reference.mkdir(parents=True)
        self.branch = self._undo.enter_context(a_branch(place, place / "source"))
        self.branch.mount()
        self.broken = False

    def close(self) -> None:
        """End the mount, cleanly unless it is broken."""
        with self._undo:
            if not self.broken:
                self.branch.unmount()


def _make(directory: Path) -> None:
    directory.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(directory)
    try:
        make_zoo()
    finally:
        os.chdir(before)


def shape_of(root: str) -> dict[str, tuple[object, ...]]:
    """What lstat(2) says of everything below a directory; nothing is read."""
    found = {}
    for top, directories, files in os.walk(root):
        for name in (*directories, *files):
            found[os.path.relpath(f"{top}/{name}", root)] = facts_of(f"{top}/{name}")
    return found


def times_of(root: str) -> dict[str, int]:
    """When each entry below a directory was changed last."""
    return {path: os.lstat(f"{root}/{path}").st_mtime_ns for path in sorted(["", *shape_of(root)])}


def check_committed(branch: Branch, directory: Path) -> None:
    """The last commit has a directory of the branch as it is, and nothing is left to commit."""
    name = os.fsencode(directory.name)
    with Repository.open(branch.store) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        committed = tree_in_store(repo, repo.entry_at(root, (name,)))
        assert committed == tree_on_disk(directory)
        assert overlay_status(repo, "data", "main") == []
