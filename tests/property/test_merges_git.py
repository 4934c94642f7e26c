"""Merges of random trees: what git makes of them, with exact renames and files as wholes.

VFS_TEST_MERGES is how many. git keeps no empty directories, so they are left out of the comparison.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.git_merges import Files, GitMerge, GitRepository
from tests.support.stores import MemoryObjects
from tests.support.trees import MTIME_NS, store_file, store_tree
from vfs.ids import NO_CONTENT, object_id
from vfs.model.commit import Commit
from vfs.model.entry import Entry, Extra
from vfs.repo.history import entry_or_none
from vfs.repo.merge.bases import merge_bases
from vfs.repo.merge.trees import MergedTree, base_root, merge_trees
from vfs.repo.treediff import all_pairs
from vfs.repo.trees import Nodes
from vfs.repo.uncommitted import PassingObjects

MERGES = int(os.environ.get("VFS_TEST_MERGES", "300"))
SEED = int(os.environ.get("VFS_TEST_MERGES_SEED", "1"))
NAMES = "abcd"


def content(label: str) -> bytes:
    """Bytes that are like no others, so that nothing is similar to git but what is the same."""
    return "".join(f"{label} line {n} of {label}\n" for n in range(3)).encode()


class Maker:
    """Makes a base and changes it."""

    def __init__(self, rng: random.Random, *, repeats: bool = True) -> None:
        """*repeats*: what is added may have the same content as something else that is."""
        self.rng = rng
        self.repeats = repeats
        self.fresh = 0

    def path(self) -> str:
        depth = self.rng.choice((1, 1, 2, 2, 3))
        return "/".join(self.rng.choice(NAMES) for _ in range(depth))

    def put(self, files: dict, path: str, value: tuple[str, bytes]) -> bool:
        """Put a file where nothing is in its way."""
        parts = path.split("/")
        if any("/".join(parts[:n]) in files for n in range(1, len(parts))):
            return False
        if path in files or any(other.startswith(path + "/") for other in files):
            return False
        files[path] = value
        return True

    def base(self) -> dict:
        files: dict = {}
        for _ in range(self.rng.randint(0, 7)):
            self.fresh += 1
            mode = self.rng.choice(("100644", "100644", "100755", "120000"))
            data = content(f"base {self.fresh}") if mode != "120000" else b"to %d" % self.fresh
            self.put(files, self.path(), (mode, data))
        return files

    def change(self, base: dict) -> dict:
        files = dict(base)
        for _ in range(self.rng.randint(0, 4)):
            getattr(
                self,
                self.rng.choice(
                    (
                        "modify",
                        "modify",
                        "delete",
                        "add",
                        "rename",
                        "rename",
                        "rename_directory",
                        "delete_directory",
                        "chmod",
                    )
                ),
            )(files)
        return files

    def pick(self, files: dict) -> str | None:
        return self.rng.choice(sorted(files)) if files else None

    def modify(self, files: dict) -> None:
        if path := self.pick(files):
            mode = files[path][0]
            number = self.rng.randint(0, 3)
            data = content(f"new {number}") if mode != "120000" else b"other %d" % number
            files[path] = mode, data

    def delete(self, files: dict) -> None:
        if path := self.pick(files):
            del files[path]

    def add(self, files: dict) -> None:
        self.fresh += 1
        label = f"add {self.rng.randint(0, 2) if self.repeats else self.fresh}"
        self.put(files, self.path(), ("100644", content(label)))

    def chmod(self, files: dict) -> None:
        if (path := self.pick(files)) and files[path][0] != "120000":
            files[path] = "100755" if files[path][0] == "100644" else "100644", files[path][1]

    def rename(self, files: dict) -> None:
        if path := self.pick(files):
            value = files.pop(path)
            if value[0] == "120000" or not self.put(files, self.path(), value):
                files[path] = value

    def directories(self, files: dict) -> list[str]:
        return sorted(
            {"/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)}
        )

    def rename_directory(self, files: dict) -> None:
        if not (found := self.directories(files)):
            return
        old, new = self.rng.choice(found), self.path()
        moved = {path: files.pop(path) for path in list(files) if path.startswith(old + "/")}
        if any(value[0] == "120000" for value in moved.values()) or not all(
            self.put(files, new + path[len(old) :], value) for path, value in moved.items()
        ):
            for path in moved:
                files.pop(new + path[len(old) :], None)
            files.update(moved)

    def delete_directory(self, files: dict) -> None:
        if found := self.directories(files):
            old = self.rng.choice(found)
            for path in [path for path in files if path.startswith(old + "/")]:
                del files[path]


def store(objects: object, files: Files) -> Entry:
    tree: dict = {}
    for path, (mode, data) in files.items():
        *above, name = path.encode().split(b"/")
        directory = tree
        for part in above:
            directory = directory.setdefault(part, {})
        if mode == "120000":
            extra = Extra(target=data).encode()
            directory[name] = Entry(
                name, stat.S_IFLNK | 0o777, 1, 2, MTIME_NS, len(data), NO_CONTENT, 0, extra
            )
        else:
            made = store_file(objects, name, data)
            directory[name] = made._replace(mode=int(mode, 8))
    return store_tree(objects, b"", tree)


def flat(objects: PassingObjects, root: Entry) -> dict[str, tuple[str, bytes]]:
    found = {}
    for path, _, entry in all_pairs(Nodes(objects), NO_CONTENT, root.content):
        assert entry is not None
        if entry.is_dir:
            continue
        link = Extra.decode(entry.extra).target
        data = link or (objects.get(entry.content) if entry.size else b"")
        found[path.decode()] = ("120000" if link else f"{entry.mode:o}", data)
    return found


def merged(base: Files, ours: Files, theirs: Files) -> tuple[PassingObjects, MergedTree]:
    memory = MemoryObjects()
    objects = PassingObjects(memory)
    roots = [store(memory, files) for files in (base, ours, theirs)]
    return objects, merge_trees(objects, *roots, too_many)


def too_many() -> None:
    pytest.fail("too many changes")


def places(objects: PassingObjects, tree: MergedTree) -> set[str]:
    """Return the conflicting paths as git has them: of files alone."""
    found: set[bytes] = set()
    for conflict in tree.conflicts:
        # git names what was removed on one side and renamed on the other by its new name alone.
        # Neither does it name what has become a directory.
        roots = (tree.ours, tree.theirs)
        now = [entry_or_none(Nodes(objects), root, conflict.path) for root in roots]
        is_left_out = len(conflict.renamed) == 1 or (conflict.renamed and any(now))
        paths = [b"/".join(path) for path in conflict.places()][bool(is_left_out) :]
        if conflict.renamed and conflict.base is not None and conflict.base.is_dir:
            below = all_pairs(Nodes(objects), NO_CONTENT, conflict.base.content)
            files = [path for path, _, entry in below if entry and not entry.is_dir]
            found |= {path + b"/" + file for path in paths for file in files}
        else:
            found |= set(paths)
    return {path.decode() for path in found}


def without_labels(paths: set[str]) -> set[str]:
    """Return paths as both sides call them: git marks a file that a directory is in the way of."""
    return {path.partition("~")[0] for path in paths}


def compare(objects: PassingObjects, tree: MergedTree, expected: GitMerge, where: str) -> None:
    """Compare a merge with that of git."""
    told = [(conflict.path, conflict.kind) for conflict in tree.conflicts]
    where += f"\ngit: {expected.conflicts}, vfs: {told}"
    assert (not tree.conflicts) == expected.clean, where
    if expected.clean:
        assert flat(objects, tree.settled((), {})) == expected.files, where
        return
    found, theirs = places(objects, tree), without_labels(expected.conflicts)
    assert theirs <= found, where
    # A file where the other side renamed a directory to: git goes on to play that rename around
    # the file, vfs has it removed from its old place, and says so.
    assert theirs == found or any("directory" in kind for _, kind in told), where


def told(case: Sequence[Files]) -> str:
    shown = (
        str({path: (mode[-3:], data[:10]) for path, (mode, data) in sorted(files.items())})
        for files in case
    )
    return "\n".join(shown)


def test_merges_are_those_of_git(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    cases = []
    versions: list[tuple[Files, list[int]]] = []
    for _ in range(MERGES):
        maker = Maker(rng)
        base = maker.base()
        case = (base, maker.change(base), maker.change(base))
        cases.append(case)
        at = len(versions)
        versions += [(files, [at] if number else []) for number, files in enumerate(case)]
    git = GitRepository(tmp_path / "git")
    ids = git.commits(versions)
    clean = 0
    for number, case in enumerate(cases):
        expected = git.merge(*ids[3 * number + 1 : 3 * number + 3])
        clean += expected.clean
        objects, tree = merged(*case)
        with objects:
            compare(objects, tree, expected, f"seed {SEED}, case {number}\n{told(case)}")
    assert 0 < clean < MERGES  # both were seen


PARENTS = ((), (0,), (0,), (1, 2), (2, 1))
"""Two lines that merged each other, and went on: versions 1 and 2 are the last that both have."""


def test_merges_of_lines_that_merged_each_other(tmp_path: Path) -> None:
    """Where the older merge had no conflict: of those git keeps what vfs does not."""
    rng = random.Random(SEED)
    cases = []
    versions: list[tuple[Files, list[int]]] = []
    for _ in range(MERGES // 3):
        maker = Maker(rng, repeats=False)
        base = maker.base()
        sides = maker.change(base), maker.change(base)
        objects, tree = merged(base, *sides)
        with objects:
            if tree.conflicts:
                continue
            both = flat(objects, tree.settled((), {}))
        case = (base, *sides, maker.change(both), maker.change(both))
        cases.append(case)
        at = len(versions)
        versions += [
            (files, [at + parent for parent in parents])
            for files, parents in zip(case, PARENTS, strict=True)
        ]
    git = GitRepository(tmp_path / "git")
    ids = git.commits(versions)
    for number, case in enumerate(cases):
        expected = git.merge(*ids[5 * number + 3 : 5 * number + 5])
        memory = MemoryObjects()
        oids = [object_id(b"%d" % at) for at in range(5)]
        commits = {
            oid: Commit(
                root=store(memory, files),
                parents=tuple(oids[parent] for parent in PARENTS[at]),
                time_ns=at,
                author="",
                message="",
            )
            for at, (oid, files) in enumerate(zip(oids, case, strict=True))
        }
        bases = merge_bases(commits.__getitem__, oids[3:4], oids[4])
        assert bases == [oids[2], oids[1]]
        with PassingObjects(memory) as objects:
            base = base_root(commits.__getitem__, objects, bases, too_many)
            roots = commits[oids[3]].root, commits[oids[4]].root
            tree = merge_trees(objects, base, *roots, too_many)
            compare(objects, tree, expected, f"seed {SEED}, case {number}\n{told(case)}")
