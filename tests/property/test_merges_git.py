"""Merges of random trees: what git makes of them, with exact renames and files as wholes.

VFS_TEST_MERGES is how many. git keeps no empty directories, so they are left out of the comparison.
"""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from tests.support.git_merges import Files, GitRepository
from tests.support.stores import MemoryObjects
from tests.support.trees import MTIME_NS, store_file, store_tree
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra
from vfs.repo.history import entry_or_none
from vfs.repo.merge.trees import MergedTree, merge_trees
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

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
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
        self.put(files, self.path(), ("100644", content(f"add {self.rng.randint(0, 2)}")))

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
    return objects, merge_trees(objects, *roots, lambda: pytest.fail("too many changes"))


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


def test_merges_are_those_of_git(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    cases = []
    versions = []
    for _ in range(MERGES):
        maker = Maker(rng)
        base = maker.base()
        sides = maker.change(base), maker.change(base)
        cases.append((base, *sides))
        at = len(versions)
        versions += [(base, []), (sides[0], [at]), (sides[1], [at])]
    git = GitRepository(tmp_path / "git")
    ids = git.commits(versions)
    for number, (base, ours, theirs) in enumerate(cases):
        expected = git.merge(ids[3 * number + 1], ids[3 * number + 2])
        objects, tree = merged(base, ours, theirs)
        told = [(conflict.path, conflict.kind) for conflict in tree.conflicts]
        where = "\n".join(
            (
                f"seed {SEED}, case {number}",
                *(show(files) for files in (base, ours, theirs)),
                f"git: {expected.conflicts}, vfs: {told}",
            )
        )
        with objects:
            assert (not tree.conflicts) == expected.clean, where
            if expected.clean:
                assert flat(objects, tree.settled((), {})) == expected.files, where
                continue
            found, theirs_ = places(objects, tree), without_labels(expected.conflicts)
            assert theirs_ <= found, where
            # A file where the other side renamed a directory to: git goes on to play that rename
            # around the file, vfs has it removed from its old place, and says so.
            in_the_way = any("directory" in kind for _, kind in told)
            assert theirs_ == found or in_the_way, where


def show(files: Files) -> str:
    return str({path: (mode[-3:], data[:10]) for path, (mode, data) in sorted(files.items())})
