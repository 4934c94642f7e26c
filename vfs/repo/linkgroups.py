"""What tells the sets of hard links of one version apart, for inodes that a branch has changed.

An import calls a set after the path of its first name, and so does a commit, so that both make
the same entries of the same files. But a directory with links can be renamed without being read,
and another one with the same files put in its place: then the name is taken. Two sets whose
entries are equal in everything would be one inode; so the second gets a name that is no path's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from blake3 import blake3

from vfs.model.entry import Entry, Extra, Link
from vfs.model.node import identity
from vfs.model.overlay import GROUP_BYTES, LINKED_INO, InodeRow
from vfs.repo.origin import Origin

if TYPE_CHECKING:
    from vfs.repo.branchstate import BranchState
    from vfs.repo.repository import Repository


class LinkGroups:
    """The sets of links of one commit. For one thread."""

    def __init__(self, repo: Repository, state: BranchState, head: Entry | None) -> None:
        """*head*: the root of the last commit."""
        self._state = state
        self._numbering = repo.store.numbering
        self._head = Origin(repo.nodes, head, repo.store.numbering)
        self._salt = f"{repo.store.uuid} {state.taken.header.id} ".encode()
        self._chosen: dict[int, bytes] = {}
        self._claimed: dict[bytes, int] = {}

    def linked(self, ino: int, row: InodeRow, entry: Entry) -> Entry:
        """Return *entry* as one of the names of its inode."""
        group = self._chosen.get(ino)
        if group is None:
            group = self._chosen[ino] = self._choose(ino, row, entry)
        return _with_group(entry, group, row.nlink)

    def _choose(self, ino: int, row: InodeRow, entry: Entry) -> bytes:
        group = row.group or self._of_path(ino)
        number = self._numbering.number(identity(_with_group(entry, group, row.nlink)))
        if LINKED_INO | number == ino:
            return group  # as it was
        if self._claimed.setdefault(group, ino) == ino and (
            self._numbering.locate(number) is None
            or not self._head.names_of_link(LINKED_INO | number)
        ):
            return group
        return blake3(self._salt + b"%d" % ino).digest(GROUP_BYTES)

    def _of_path(self, ino: int) -> bytes:
        state = self._state
        first = min((*state.path(parent), name) for parent, name in state.taken.links(ino))
        return blake3(b"/".join(first)).digest(GROUP_BYTES)


def _with_group(entry: Entry, group: bytes, nlink: int) -> Entry:
    extra = replace(Extra.decode(entry.extra), link=Link(group, nlink))
    return entry._replace(extra=extra.encode())
