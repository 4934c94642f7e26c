"""Where damage is seen: the versions and paths that lead to what is bad.

Only for a store with damage. What is known to be sound is not entered again, so a version costs as
much as there is damage in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, RemoteProblem
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import decode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry
from vfs.model.node import Inner, Leaf, Node, decode_node
from vfs.recent import Recent

if TYPE_CHECKING:
    from vfs.repo.fsck.findings import Findings
    from vfs.repo.fsck.refs import Versions
    from vfs.repo.fsck.report import Damage

LOOKED_AT_MAX: Final = 2_000_000
"""Places of damage that are looked at in all: a store that has lost half its objects, in a thousand
versions, would else take for ever."""

_NODES_KEPT: Final = 4096


def place_text(label: str, path: bytes) -> str:
    """Return a place as a user would write it."""
    return f"{label}:{os.fsdecode(path)}" if path else label


class Places:
    """Finds the places of all damage that is known."""

    def __init__(self, run: Findings) -> None:
        self._run = run
        self._sound = run.seen()
        self._nodes: Recent[ObjectId, Node] = Recent(_NODES_KEPT)
        self._left = LOOKED_AT_MAX
        self._label = ""

    def all(self, versions: Versions) -> None:
        """Note what is damaged in any version."""
        for oid, labels in versions.labels.items():
            commit = versions.roots.get(oid)
            for label in labels:
                self.version(label, oid, None if commit is None else commit.root)

    def version(self, label: str, commit: ObjectId, root: Entry | None) -> None:
        """Note what is damaged in one version, of which *root* is the top directory."""
        self._label = label
        damage = self._run.bad.get(commit)
        if damage is not None:
            damage.touches(label)
        for flaw in self._run.flaws.get(commit, ()):
            flaw.damage.touches(label)
        if root is not None:
            self._enter(root.content, b"")

    def tree(self, label: str, tree: ObjectId, path: bytes) -> None:
        """Note what is damaged in a directory that is no version's."""
        self._label = label
        self._enter(tree, path)

    def content(self, content: ObjectId, flags: int) -> list[Damage]:
        """Return the damages of a file's content."""
        if content == NO_CONTENT:
            return []
        found = []
        damage = self._run.bad.get(content)
        if damage is not None:
            found.append(damage)
        if flags & FLAG_BLOB and damage is None:
            self._blob(content, found)
        return found

    def _blob(self, oid: ObjectId, found: list[Damage]) -> None:
        run = self._run
        if self._sound.get(oid) is not None:
            return
        before = len(found)
        found.extend(flaw.damage for flaw in run.flaws.get(oid, ()))
        if oid in run.bad:
            found.append(run.bad[oid])
        else:
            node = decode_blob_node(run.get(oid))
            for content, _ in node.spans:
                if content == NO_CONTENT:
                    continue
                if node.level:
                    self._blob(content, found)
                elif content in run.bad and run.bad[content] not in found:
                    found.append(run.bad[content])
        if len(found) == before:
            self._sound.put(oid, b"\0")

    def _enter(self, oid: ObjectId, path: bytes) -> bool:
        """Note the damage at a tree node and below; say whether there is any."""
        run = self._run
        if self._sound.get(oid) is not None:
            return False
        bad = run.bad.get(oid)
        flaws = run.flaws.get(oid, ())
        if bad is not None:
            self._touch(bad, path)
        node = self._node(oid)
        is_sound = bad is None and not flaws
        if isinstance(node, Inner):
            for flaw in flaws:
                self._touch(flaw.damage, path)
            for child in node.children:
                is_sound = not self._enter(child.node, path) and is_sound
        elif node is not None:
            for flaw in flaws:
                name = node.names[flaw.index] if flaw.index >= 0 else b""
                self._touch(flaw.damage, _join(path, name))
            is_sound = self._enter_leaf(node, path) and is_sound
        if is_sound:
            self._sound.put(oid, b"\0")
        return not is_sound

    def _enter_leaf(self, leaf: Leaf, path: bytes) -> bool:
        """Note the damage below the entries of a leaf; say that there is none."""
        is_sound = True
        for index in range(len(leaf)):
            try:
                entry = leaf.entry(index)
            except CorruptObject:
                continue  # one of the node's flaws
            if entry.is_dir:
                if self._left > 0 and self._enter(entry.content, _join(path, entry.name)):
                    is_sound = False
                continue
            if not entry.is_file:
                continue
            for damage in self.content(entry.content, entry.flags):
                self._touch(damage, _join(path, entry.name))
                is_sound = False
        return is_sound

    def _touch(self, damage: Damage, path: bytes) -> None:
        self._left -= 1
        damage.touches(place_text(self._label, path))

    def _node(self, oid: ObjectId) -> Node | None:
        node = self._nodes.get(oid)
        if node is None:
            try:
                node = decode_node(self._run.get(oid))
            except (CorruptObject, RemoteProblem):
                return None
            self._nodes.put(oid, node)
        return node


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path and name else path or name
