"""Changes that are in memory: one layer takes them, another is being stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.fs.branch.data import FileLayer

if TYPE_CHECKING:
    from vfs.model.overlay import InodeRow


class Layer:
    """What changed since the layer was begun. Absent: unchanged; None or 0: is gone."""

    __slots__ = ("born", "bytes", "changed", "files", "inodes", "links", "names", "names_changed")

    def __init__(self) -> None:
        self.inodes: dict[int, InodeRow | None] = {}
        self.names: dict[int, dict[bytes, int]] = {}  # directory -> name -> inode
        self.names_changed = 0  # in all directories
        self.links: dict[int, dict[tuple[int, bytes], bool]] = {}  # inode -> its names, if several
        self.files: dict[int, FileLayer] = {}
        self.born: set[int] = set()  # inodes that no earlier layer knows
        self.changed: set[int] = set()  # inodes that differ in what a commit holds
        self.bytes = 0  # of the runs in `files`

    def is_empty(self) -> bool:
        """Say whether nothing changed."""
        return not (self.inodes or self.names)

    def weight(self) -> int:
        """Return how many rows this comes to, about."""
        return len(self.inodes) + self.names_changed

    def put_under(self, above: Layer) -> None:
        """Make *above*, a later layer, the sum of both: this one could not be stored."""
        above.inodes = self.inodes | above.inodes
        for directory, names in self.names.items():
            above.names[directory] = names | above.names.get(directory, {})
        above.names_changed = sum(map(len, above.names.values()))
        for ino, links in self.links.items():
            above.links[ino] = links | above.links.get(ino, {})
        for ino, layer in self.files.items():
            # One that changes nothing was to give a file its final form: that has time.
            if above.inodes.get(ino) is None or layer.is_empty():
                continue
            if ino in above.files:
                layer.put_under(above.files[ino])
            else:
                above.files[ino] = layer
        above.changed |= self.changed
        above.born |= self.born
        above.bytes = sum(layer.runs.size for layer in above.files.values())
