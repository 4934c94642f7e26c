"""Which file a damaged object belongs to, for the log: found by a bounded search."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from vfs.errors import VfsError
from vfs.ids import ObjectId
from vfs.model.entry import Entry
from vfs.repo.repository import Repository
from vfs.repo.trees import walk

ENTRIES_SEARCHED: Final = 200_000
"""About 1 s of search; a reader of a damaged file waits for it once."""


def paths_of(repo: Repository, wanted: Entry) -> str:
    """Return a text that names the file *wanted*: its path in some version, or its name alone."""
    search = _Search(repo, wanted)
    for ref in sorted(repo.all_refs(), key=lambda ref: -ref.time_ns):
        with suppress(VfsError):  # more is damaged: another version may still tell
            path = search.below(repo.commit(ref.commit).root.content)
            if path is not None:
                return f"'{ref.data_set}@{ref.name}:{_shown(path)}'"
    return f"a file named '{_shown(wanted.name)}'"


class _Search:
    """Looks for an entry, in no tree twice."""

    def __init__(self, repo: Repository, wanted: Entry) -> None:
        self._repo = repo
        self._wanted = wanted
        self._searched: set[ObjectId] = set()
        self._room = ENTRIES_SEARCHED

    def below(self, tree: ObjectId) -> bytes | None:
        """Return the path of the entry below a root, or None."""
        waiting = [(b"", tree)]
        while waiting and self._room > 0:
            path, tree = waiting.pop()
            if tree in self._searched:
                continue
            self._searched.add(tree)
            for place in walk(self._repo.nodes, tree):
                self._room -= 1
                entry = place.entry
                if entry == self._wanted:
                    return path + entry.name
                if entry.is_dir:
                    waiting.append((path + entry.name + b"/", entry.content))
        return None


def _shown(path: bytes) -> str:
    """Return *path* on one line, whatever is in it: names are anybody's, lines of a log are not."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
