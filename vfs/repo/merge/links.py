"""Hard links in a tree that was put together: each set has all of its names, and says how many.

A set is known by a number in the entries of all its names. Where both sides of a merge changed a
set (one gave it a name, the other one wrote to it), its names were merged one by one, and would
differ; where a path was restored, other names of its set may have stayed behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from blake3 import blake3

from vfs.model.entry import Entry, Extra, Link, has_link
from vfs.model.overlay import GROUP_BYTES
from vfs.repo.history import entry_or_none
from vfs.repo.treediff import all_pairs

if TYPE_CHECKING:
    from vfs.repo.merge.planting import Edits
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes


def with_link(entry: Entry, link: Link | None) -> Entry:
    """Return *entry* as one of the names of a set; with None as a file of its own."""
    if link is None and not has_link(entry.extra):
        return entry
    return entry._replace(extra=replace(Extra.decode(entry.extra), link=link).encode())


def rejoined(nodes: Nodes, base: Entry, sides: Iterable[Entry], merged: Entry) -> Edits:
    """Return the edits that make sets whole again which *sides*, made from *base*, have changed."""
    names: defaultdict[bytes, dict[Path, bool]] = defaultdict(dict)  # by set; True: from the base
    for side in sides:
        for path, was, now in _linked(nodes, base, side):
            for entry in (was, now):
                link = None if entry is None else Extra.decode(entry.extra).link
                if link is not None:
                    known = names[link.group]
                    known[path] = known.get(path, False) or entry is was
    edits: Edits = {}
    for group, paths in names.items():
        there = {path: entry_or_none(nodes, merged, path) for path in sorted(paths)}
        kept = {path: entry for path, entry in there.items() if entry and not entry.is_dir}
        old = [entry for path, entry in kept.items() if paths[path]]
        like = old[0] if old else None  # was merged three-way, as new names are not
        link = Link(group, len(kept)) if len(kept) > 1 else None
        for path, entry in kept.items():
            whole = with_link(like or entry, link)._replace(name=entry.name)
            if whole != entry:
                edits[path] = whole
    return edits


def counted(nodes: Nodes, before: Entry, after: Entry) -> Edits:
    """Return the edits that make whole sets of those that were put into a tree that was *before*.

    A set that came with all of its names is as it was; where it did not, or is in the tree a second
    time, it becomes one of its own.
    """
    sets: defaultdict[Entry, list[Path]] = defaultdict(list)
    for path, _, now in _linked(nodes, before, after):
        if now is not None and has_link(now.extra):
            sets[now._replace(name=b"")].append(path)
    edits: Edits = {}
    for entry, paths in sets.items():
        first = blake3(b"/".join(paths[0])).digest(GROUP_BYTES)
        link = Link(first, len(paths)) if len(paths) > 1 else None
        for path in paths:
            made = with_link(entry, link)._replace(name=path[-1])
            if made != entry._replace(name=path[-1]):
                edits[path] = made
    return edits


def _linked(
    nodes: Nodes, old: Entry, new: Entry
) -> Iterator[tuple[Path, Entry | None, Entry | None]]:
    """Yield what differs between two trees and is a hard link in either."""
    for path, was, now in all_pairs(nodes, old.content, new.content):
        if any(entry is not None and has_link(entry.extra) for entry in (was, now)):
            yield tuple(path.split(b"/")), was, now
