"""Which file a damaged object belongs to, for the log: found by a bounded search."""

from __future__ import annotations

import os
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
    name = os.fsdecode(wanted.name)
    searched: set[ObjectId] = set()
    room = ENTRIES_SEARCHED
    try:
        for ref in sorted(repo.all_refs(), key=lambda ref: -ref.time_ns):
            waiting = [(b"", repo.commit(ref.commit).root.content)]
            while waiting and room > 0:
                path, tree = waiting.pop()
                if tree in searched:
                    continue
                searched.add(tree)
                for place in walk(repo.nodes, tree):
                    room -= 1
                    entry = place.entry
                    if entry == wanted:
                        where = os.fsdecode(path + wanted.name)
                        return f"'{ref.data_set}@{ref.name}:{where}'"
                    if entry.is_dir:
                        waiting.append((path + entry.name + b"/", entry.content))
    except VfsError:
        pass  # more is damaged: the name alone has to do
    return f"a file named '{name}'"
