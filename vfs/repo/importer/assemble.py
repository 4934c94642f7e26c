"""From entries, in the order of the walk, to trees and the next import index.

The pipeline calls the handlers, in order, from one thread. A directory of which the import index
knows every entry keeps its tree; where few entries changed, only their part of it is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject, NotFound
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Totals
from vfs.repo.importer.index import (
    DirectoryWriter,
    NewIndex,
    OldDirectory,
    Record,
    directory_stamp,
)
from vfs.repo.trees import TreeBuilder, edit_tree, with_tree

if TYPE_CHECKING:
    from vfs.repo.importer.links import Links
    from vfs.store.ingest import Ingest
    from vfs.store.reader import Reader

EDITS_MAX: Final = 1024
"""A directory with more changed entries is built anew."""

Ids = Sequence[ObjectId]
_Change = tuple[Entry, bytes] | None


class Known(NamedTuple):
    """What is known of an inode besides its entry."""

    stamp: bytes  # its fingerprint
    link: bytes | None  # its key in `Links`, where it has several names


class Directory:
    """A directory whose entries are arriving."""

    __slots__ = (
        "edits",
        "full",
        "has_links",
        "head",
        "matched",
        "number",
        "old",
        "parent",
        "record",
    )

    def __init__(
        self, head: Entry, number: int, old: OldDirectory | None, record: Record | None
    ) -> None:
        self.head = head  # without content
        self.number = number  # in preorder
        self.old = old
        self.record = record  # what the index of the directory above says of it
        self.parent: Directory | None = None
        self.matched = 0
        self.edits: dict[bytes, _Change] = {}  # against `old`; None for what is gone
        self.full: tuple[TreeBuilder, DirectoryWriter] | None = None  # when built anew
        self.has_links = False


class Assembler:
    """Builds the trees of one import."""

    def __init__(
        self,
        ingest: Ingest,
        reader: Reader,
        index: NewIndex,
        links: Links,
        *,
        rewrite: bool,
    ) -> None:
        """*rewrite*: write all of the new index, although the old one knows it."""
        self._ingest = ingest
        self._reader = reader
        self._index = index
        self._links = links
        self._rewrite = rewrite
        self._top: Directory | None = None
        self.root: Entry | None = None
        self.root_offset = 0

    # handlers

    def enter(self, directory: Directory, _ids: Ids) -> None:
        """Begin a directory."""
        directory.parent = self._top
        self._top = directory
        if directory.old is None or self._rewrite:
            self._build_anew(directory)

    def match(self, record: Record, _ids: Ids) -> None:
        """Take the next entry over from the index."""
        directory = self._top
        assert directory is not None
        if directory.full is None:
            directory.matched += 1
        else:
            self._add(directory, record[2].entry(record[3]), record[1])

    def gone(self, name: bytes, _ids: Ids) -> None:
        """Note that an entry of the index is not there any more."""
        assert self._top is not None
        if self._top.full is None:
            self._edit(self._top, name, None)

    def add(self, item: tuple[Entry, Known], _ids: Ids) -> None:
        """Append an entry."""
        self.append(*item)

    def append(self, entry: Entry, known: Known) -> None:
        """Append an entry that is complete."""
        assert self._top is not None
        if known.link is not None:
            self._top.has_links = True
            entry = self._links.first(known.link, entry, self._top.number)
        self._add(self._top, entry, known.stamp)

    def add_other_link(self, item: tuple[Entry, Known], _ids: Ids) -> None:
        """Append one more name of an inode that was appended before."""
        entry, known = item
        assert self._top is not None
        assert known.link is not None
        self._top.has_links = True
        entry = self._links.other(known.link, entry.name, self._top.number)
        self._add(self._top, entry, known.stamp)

    def leave(self, _nothing: None, _ids: Ids) -> None:
        """End the directory that was begun last."""
        directory = self._top
        assert directory is not None
        tree, totals, offset, is_old = self._close(directory)
        entry = with_tree(directory.head, tree, totals)
        self._top = parent = directory.parent
        if directory.has_links:
            above = 0 if parent is None else parent.number
            self._links.leave(directory.number, above, entry)
        if parent is None:
            self.root, self.root_offset = entry, offset
            return
        parent.has_links |= directory.has_links
        record = directory.record
        if is_old and parent.full is None and record and record[2].entry(record[3]) == entry:
            parent.matched += 1
        else:
            self._add(parent, entry, directory_stamp(offset))

    def path(self, name: bytes) -> bytes:
        """Return the path, from the source, of an entry of the directory that is being built."""
        parts, directory = [name], self._top
        while directory is not None and directory.parent is not None:
            parts.append(directory.head.name)
            directory = directory.parent
        return b"/".join(reversed(parts))

    # one directory

    def _add(self, directory: Directory, entry: Entry, stamp: bytes) -> None:
        if directory.full is None:
            self._edit(directory, entry.name, (entry, stamp))
        else:
            builder, writer = directory.full
            builder.add(entry)
            writer.add(entry, stamp)

    def _edit(self, directory: Directory, name: bytes, change: _Change) -> None:
        directory.edits[name] = change
        assert directory.old is not None
        if len(directory.edits) > EDITS_MAX:
            self._build_anew(directory)

    def _build_anew(self, directory: Directory) -> None:
        """Give up the old tree: take from the index what has matched so far."""
        builder, writer = directory.full = (TreeBuilder(self._ingest), DirectoryWriter(self._index))
        for entry, stamp in _merged(directory):
            builder.add(entry)
            writer.add(entry, stamp)
        directory.edits = {}

    def _close(self, directory: Directory) -> tuple[ObjectId, Totals, int, bool]:
        """Return tree, totals, where the index has it, and whether nothing at all changed."""
        old = directory.old
        if directory.full is None and old is not None:
            reusable = old.is_whole and old.tree != NO_CONTENT and not directory.has_links
            if reusable and not directory.edits and directory.matched == old.count:
                return old.tree, old.totals, old.offset, True
            if reusable and old.count > EDITS_MAX:
                changed = self._change(directory, old)
                if changed is not None:
                    return *changed, False
            self._build_anew(directory)
        assert directory.full is not None
        builder, writer = directory.full
        tree, totals = builder.finish()
        # The counts of links may still be corrected, so this tree may be none that is kept.
        kept = NO_CONTENT if directory.has_links else tree
        return tree, totals, writer.finish(kept, totals), False

    def _change(
        self, directory: Directory, old: OldDirectory
    ) -> tuple[ObjectId, Totals, int] | None:
        """Change the few entries of a large directory; None when the old tree can't be read."""
        edits = {name: change and change[0] for name, change in directory.edits.items()}
        try:
            tree, totals = edit_tree(self._reader, self._ingest, old.tree, edits)
        except (CorruptObject, NotFound):
            return None
        writer = DirectoryWriter(self._index)
        waiting = sorted(directory.edits.items(), reverse=True)
        for segment in old.segments():
            last = segment.leaf.names[-1]
            if not waiting or waiting[-1][0] > last:
                writer.add_segment(segment)
                continue
            here = dict[bytes, _Change]()
            while waiting and waiting[-1][0] <= last:
                name, change = waiting.pop()
                here[name] = change
            for entry, stamp in _merge(segment.records(), here):
                writer.add(entry, stamp)
        for _, change in reversed(waiting):
            if change is not None:
                writer.add(*change)
        return tree, totals, writer.finish(tree, totals)


def _merged(directory: Directory) -> Iterator[tuple[Entry, bytes]]:
    """Yield what a directory holds as far as it has arrived."""
    matched = directory.matched

    def records() -> Iterator[Record]:
        left = matched
        for record in directory.old.records() if directory.old and left else ():
            yield record
            if record[0] not in directory.edits:
                left -= 1
                if not left:
                    return

    return _merge(records(), directory.edits)


def _merge(records: Iterator[Record], edits: dict[bytes, _Change]) -> Iterator[tuple[Entry, bytes]]:
    waiting = sorted(edits.items(), reverse=True)
    for name, stamp, leaf, index in records:
        while waiting and waiting[-1][0] < name:
            change = waiting.pop()[1]
            if change is not None:
                yield change
        if waiting and waiting[-1][0] == name:
            change = waiting.pop()[1]
            if change is not None:
                yield change
        else:
            yield leaf.entry(index), stamp
    for _, change in reversed(waiting):
        if change is not None:
            yield change
