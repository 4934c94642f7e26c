"""Changes of a tree that is not made yet: directories as they were, and what is put into them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from vfs.api.paths import show_path
from vfs.clock import now_ns
from vfs.errors import InvalidName, NotADirectory, NotFound
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra, Totals, directory_entry, has_link
from vfs.repo.history import entry_or_none
from vfs.repo.trees import Edit, Nodes, merge_tree, walk, with_tree

if TYPE_CHECKING:
    from vfs.store.objects import ObjectSink, ObjectSource

Names: TypeAlias = tuple[bytes, ...]


@dataclass
class Directory:
    """A directory in which something changed, or that is new."""

    base: Entry | None  # what it holds without the changes; None: nothing, it is new
    entry: Entry  # its attributes
    children: dict[bytes, Directory | Entry | None] = field(default_factory=dict)
    in_place: bool = True  # it stands where the base was when the transaction began


Node: TypeAlias = Directory | Entry
"""What stands at a path."""


class Overtaken(Exception):
    """Somebody else changed the same path in the same branch."""


class Edits:
    """A version's root, and what is put below it. For one thread."""

    def __init__(self, reader: ObjectSource, sink: ObjectSink, base: Entry | None) -> None:
        """*base*: the root as it is; None where there is no version yet."""
        self._reader, self._sink = reader, sink
        self._nodes = Nodes(reader)
        self._root = Directory(base, base if base is not None else _attributes(b""))

    def find(self, names: Names) -> Node:
        """Return what stands at *names* now. Raises NotFound, NotADirectory."""
        here: Node = self._root
        for depth, name in enumerate(names):
            found = self._child(here, name, names[:depth])
            if found is None:
                raise NotFound(f"there is no '{show_path(names[: depth + 1])}'")
            here = found
        return here

    def _child(self, here: Node, name: bytes, where: Names) -> Node | None:
        if isinstance(here, Directory):
            if name in here.children:
                return here.children[name]
            base = here.base
        elif here.is_dir:
            base = here
        else:
            raise NotADirectory(f"'{show_path(where)}' is not a directory")
        return None if base is None else entry_or_none(self._nodes, base, (name,))

    def children(self, here: Node) -> Iterator[tuple[bytes, Node]]:
        """Yield the names in a directory as it is now, and what stands there."""
        base = here.base if isinstance(here, Directory) else here
        changed = here.children if isinstance(here, Directory) else {}
        found: dict[bytes, Node | None] = {}
        if base is not None and base.content != NO_CONTENT:
            found = {p.entry.name: p.entry for p in walk(self._nodes, base.content)}
        found |= changed
        for name, child in sorted(found.items()):
            if child is not None:
                yield name, child

    def put(self, names: Names, what: Node | None) -> None:
        """Have *what* stand at *names*; None: nothing. Directories on the way are made."""
        if not names:
            raise InvalidName("the root of a version stays what it is")
        here = self._root
        for depth, name in enumerate(names[:-1]):
            there = self._child(here, name, names[:depth])
            if there is None:
                there = new_directory(name)
            elif isinstance(there, Entry):
                if not there.is_dir:
                    where = show_path(names[: depth + 1])
                    raise NotADirectory(f"'{where}' is not a directory")
                there = Directory(there, there, in_place=name not in here.children)
            here.children[name] = there
            here = there
        here.children[names[-1]] = what

    def make_root(self, now: Entry | None) -> Entry:
        """Store the trees that change on top of the root *now*; return the new root.

        Raises Overtaken where what stands at a path that was edited is not what it was.
        """
        return self._made(self._root, now, ())

    def _made(self, directory: Directory, now: Entry | None, path: Names) -> Entry:
        """Return the entry of a directory with its edits, on top of what the branch has *now*.

        Raises Overtaken where that is not what the edits were made on.
        """
        base = directory.base
        if base is not None and (now is None or not now.is_dir):
            raise Overtaken(show_path(path))
        edits: list[Edit] = []
        for name, child in sorted(directory.children.items()):
            here = (*path, name)
            there = self._below(now, name)
            if isinstance(child, Directory) and child.in_place:
                edits.append((name, self._made(child, there, here)))
                continue
            if self._below(base, name) != there:
                raise Overtaken(show_path(here))
            entry = self._made(child, child.base, here) if isinstance(child, Directory) else child
            edits.append((name, entry and entry._replace(name=name)))
        tree = None if now is None else now.content
        made = merge_tree(self._reader, self._sink, tree, edits)
        return with_tree(now if directory.in_place and now else directory.entry, *made)

    def _below(self, directory: Entry | None, name: bytes) -> Entry | None:
        return directory and entry_or_none(self._nodes, directory, (name,))


def entry_of(node: Node) -> Entry:
    """Return the entry of what stands at a path; of a directory that changed, its attributes."""
    return node.entry if isinstance(node, Directory) else node


def own_entry(names: Names, mode: int, *, size: int = 0, extra: bytes = b"") -> Entry:
    """Return an entry at *names* of the user who runs this, made now."""
    name = names[-1] if names else b""
    uid, gid = os.getuid(), os.getgid()
    return Entry(name, mode, uid, gid, now_ns(), size, NO_CONTENT, 0, extra)


def _attributes(name: bytes) -> Entry:
    """Return the attributes of a new directory; it gets its tree when the commit is made."""
    uid, gid = os.getuid(), os.getgid()
    totals = Totals(0, 1, 0, 0)
    return directory_entry(name, NO_CONTENT, totals, uid=uid, gid=gid, mtime_ns=now_ns())


def new_directory(name: bytes) -> Directory:
    """Return a directory that holds nothing."""
    return Directory(None, _attributes(name), in_place=False)


def twin(found: Node) -> Node:
    """Return what can stand at another place."""
    if isinstance(found, Directory):
        children = {name: child and _inner_twin(child) for name, child in found.children.items()}
        return Directory(found.base, found.entry, children, in_place=False)
    if not has_link(found.extra):
        return found
    return found._replace(extra=replace(Extra.decode(found.extra), link=None).encode())


def _inner_twin(found: Node) -> Node:
    if not isinstance(found, Directory):
        return found
    children = {name: child and _inner_twin(child) for name, child in found.children.items()}
    return replace(found, children=children)
