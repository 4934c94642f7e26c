"""The overlays of branches: rows that fit to each other, to their origin and to their contents.

What is checked is what a branch's process keeps true from one write to the next: names lead to
inodes, inodes have as many names as they say, contents and patches are there.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, VfsError
from vfs.ids import ObjectId
from vfs.model.entry import Entry, directory_totals
from vfs.model.overlay import (
    LINKED_INO,
    NEW_INO,
    ROOT_INO,
    WHITEOUT,
    InodeRow,
    OverlayHeader,
    check_row_name,
    decode_header,
    decode_inode,
    decode_tree,
)
from vfs.repo.fsck.overlayview import OriginDamaged, OverlayView
from vfs.repo.fsck.places import Places
from vfs.store.layout import key_number, number_key
from vfs.store.overlayrows import split_name_mark_key, unpack_name_mark, unpack_patch

if TYPE_CHECKING:
    from vfs.repo.fsck.refs import References, Versions
    from vfs.repo.fsck.run import Run
    from vfs.repo.fsck.trees import TreeCheck

_LAST_ID: Final = b"overlay"  # in the table `meta`


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay that a branch has."""

    label: str
    header: OverlayHeader


def read_headers(run: Run, references: References, versions: Versions) -> list[Overlay]:
    """Check the headers, and add the versions that they name; return what can be looked into."""
    overlays = []
    owners: dict[int, str] = {}
    last_row = run.store.row("meta", _LAST_ID)
    last = 0 if last_row is None or len(last_row) != 8 else key_number(last_row)
    branches = {f"{r.data_set}@{r.name}": r for r in references.refs if r.kind == "branch"}
    begun = {ref.data_set for ref in branches.values()}
    for key, value in run.store.rows("overlays"):
        label = key.replace(b"\0", b"@", 1).decode("ascii", "backslashreplace")
        try:
            header = decode_header(bytes(value))
        except CorruptObject as error:
            run.found("overlay", str(error), label)
            continue
        ref = branches.get(label)
        message = ""
        if header.id in owners:
            message = f"its overlay has the number of that of {owners[header.id]}"
        elif not 0 < header.id <= last:
            message = f"its overlay has the number {header.id}, which was never given out"
        elif ref is None and label.partition("@")[0] in begun:
            message = "there is an overlay, but no such branch"
        elif header.dirty and header.head != (ref.commit if ref else None):
            message = "its overlay has changes on top of another version"
        if message:
            run.found("overlay", message, label)
        owners[header.id] = label
        for commit in (header.head, header.origin):
            if commit is not None:
                versions.add_unnamed(commit, label.partition("@")[0])
        if header.origin is None or header.origin in versions.roots:
            overlays.append(Overlay(label, header))
        elif header.origin in run.bad:
            run.bad[header.origin].touches(label)
    return overlays


@dataclass(slots=True)
class _Facts:
    """What the rows of names say of inodes."""

    names: Counter[int] = field(default_factory=Counter)  # that lead to an inode
    subdirs: Counter[int] = field(default_factory=Counter)  # in a directory, more than its origin
    touched: set[int] = field(default_factory=set)  # directories with rows
    is_whole: bool = True  # nothing of it is hidden by damage in the origin


class OverlayCheck:
    """Checks the rows of one overlay."""

    def __init__(
        self, run: Run, overlay: Overlay, root: Entry | None, trees: TreeCheck, places: Places
    ) -> None:
        self._run = run
        self._label = overlay.label
        self._header = overlay.header
        self._trees = trees
        self._places = places
        self._view = OverlayView(run, overlay.label, overlay.header.id, root)
        self._facts = _Facts()
        self._problems: dict[tuple[int, bytes], list[str]] = {}
        """By inode and b"", or by directory and name."""

    def check(self) -> None:
        """Check everything."""
        for table, check in (
            ("overlay_inodes", self._decode_inode),
            ("overlay_names", self._check_name),
            ("overlay_inodes", self._check_inode),
            ("overlay_links", self._check_link),
            ("overlay_patches", self._check_patch),
            ("overlay_changes", self._check_mark),
            ("overlay_orphans", self._check_orphan),
            ("overlay_trees", self._check_tree),
        ):
            for done, (key, value) in enumerate(self._view.keys(table)):
                self._run.line.progress(done)
                try:
                    check(key, value)
                except OriginDamaged:
                    self._facts.is_whole = False
                except VfsError as error:
                    ino = key_number(key[:8]) if len(key) >= 8 else 0
                    self._problem(ino, f"a row of '{table}' is damaged: {error}")
        for ino in self._facts.touched:
            with suppress(OriginDamaged):
                if self._view.inode(ino) is None and self._view.is_alive(ino):
                    self._problem(ino, "names in it were changed, but it has no row")
        for (ino, name), messages in self._problems.items():
            place = self._label
            with suppress(OriginDamaged):
                place = self._view.place(ino, name)
            self._run.found("overlay", "; ".join(messages), place)

    def _problem(self, ino: int, message: str, name: bytes = b"") -> None:
        messages = self._problems.setdefault((ino, name), [])
        if message not in messages:
            messages.append(message)

    def _decode_inode(self, key: bytes, value: memoryview) -> None:
        if len(key) != 8:
            raise CorruptObject("a key of a wrong length")
        decode_inode(bytes(value))

    def _check_name(self, key: bytes, value: memoryview) -> None:
        if len(key) <= 8:
            raise CorruptObject("a key of a wrong length")
        directory, name = key_number(key[:8]), check_row_name(key[8:])
        if len(value) != 8:
            self._problem(directory, "the row of this name is damaged", name)
            return
        mode = self._view.mode(directory)
        if mode is None or not stat.S_ISDIR(mode):
            self._problem(directory, "a name is in a directory that is none", name)
            return
        self._facts.touched.add(directory)
        ino, before = key_number(value), self._view.in_origin(directory, name)
        if ino == WHITEOUT:
            if not before:
                self._problem(directory, "a name is removed that was never there", name)
        elif self._view.mode(ino) is None:
            self._problem(directory, "the name leads to no inode", name)
        elif self._view.is_alive(directory):
            self._facts.names[ino] += 1
        self._facts.subdirs[directory] += self._view.is_dir(ino) - self._view.is_dir(before)

    def _check_inode(self, key: bytes, value: memoryview) -> None:
        ino = key_number(key)
        row = self._view.inode(ino)
        if row is None:
            return
        entry = self._view.entry(ino)
        if ino & LINKED_INO or not ino & NEW_INO:
            if entry is None:
                self._problem(ino, "a row is of an inode that its origin does not have")
                return
            if stat.S_IFMT(entry[0].mode) != stat.S_IFMT(row.mode):
                self._problem(ino, "it is of another kind than in its origin")
        elif ino - NEW_INO >= self._header.next_ino:
            self._problem(ino, "its inode number was not given out yet")
        if stat.S_ISDIR(row.mode):
            self._check_directory(ino, row)
        elif row.nlink:
            self._check_names(ino, row)
        if not row.nlink and self._run.store.row("overlay_orphans", self._key(ino)) is None:
            self._problem(ino, "it has no name, and is not noted as such")
        if stat.S_ISREG(row.mode):
            self._check_content(ino, row)

    def _key(self, ino: int) -> bytes:
        return number_key(self._header.id) + number_key(ino)

    def _check_directory(self, ino: int, row: InodeRow) -> None:
        if not row.nlink:
            return
        if not self._view.is_alive(ino):
            self._problem(ino, "no name leads to it")
        entry = self._view.entry(ino)
        subdirs = self._facts.subdirs[ino] + (directory_totals(entry[0]).subdirs if entry else 0)
        if row.nlink != 2 + subdirs and self._facts.is_whole:
            self._problem(ino, f"its link count is {row.nlink}, with {subdirs} directories in it")

    def _check_names(self, ino: int, row: InodeRow) -> None:
        if not self._facts.is_whole:
            return
        names = self._facts.names[ino] + sum(
            self._view.in_force(parent, name) for parent, name in self._view.names_in_origin(ino)
        )
        if names != row.nlink:
            self._problem(ino, f"its link count is {row.nlink}, and it has {names} names")
            return
        if row.nlink == 1:
            if self._view.find(row.parent, row.name) != ino:
                self._problem(ino, "its row names a place where it is not")
            return
        links = self._view.rows.links(ino)
        # Where the time of access alone was changed there may be none: the origin has its names.
        if not links and ino & LINKED_INO and not self._facts.names[ino]:
            return
        if len(links) != row.nlink or any(self._view.find(*link) != ino for link in links):
            self._problem(ino, "the rows of its names are not its names")

    def _check_content(self, ino: int, row: InodeRow) -> None:
        message = self._trees.file_problem(row.content, row.flags, row.content_bytes, row.holes)
        if message:
            self._problem(ino, message)
        for damage in self._places.content(row.content, row.flags):
            damage.touches(self._view.place(ino))
        self._check_patches(ino, row)

    def _check_patches(self, ino: int, row: InodeRow) -> None:
        if row.patches:
            found = sum(1 for _ in self._patches(ino))
            if found != row.patches:
                self._problem(ino, f"it has {found} patches, and its row says {row.patches}")

    def _patches(self, ino: int) -> Iterator[bytes]:
        head = self._key(ino)
        for key, _ in self._run.store.rows("overlay_patches", head):
            if not key.startswith(head):
                return
            yield key

    def _check_link(self, key: bytes, value: memoryview) -> None:
        if len(key) <= 16 or value:
            raise CorruptObject("a row of a wrong length")
        check_row_name(key[16:])
        ino = key_number(key[:8])
        row = self._view.inode(ino)
        if row is None or row.nlink < 2 or stat.S_ISDIR(row.mode):
            self._problem(ino, "there are rows of its names, as if it had several")

    def _check_patch(self, key: bytes, value: memoryview) -> None:
        if len(key) != 16:
            raise CorruptObject("a key of a wrong length")
        ino = key_number(key[:8])
        row = self._view.inode(ino)
        if row is None:
            self._problem(ino, "it has patches, but no row")
        elif row.patches:
            try:
                unpack_patch(value)
            except CorruptObject as error:
                self._problem(ino, f"{error}: 4 KiB from {key_number(key[8:]) * 4096:,} on")

    def _check_mark(self, key: bytes, value: memoryview) -> None:
        whole = number_key(self._header.id) + key
        place = split_name_mark_key(whole) if len(key) > 9 else None
        if place is not None:
            ino, name = place[0], check_row_name(place[1])
            seq = unpack_name_mark(value)[0]
            is_lost = self._view.rows.name(ino, name) is None and self._view.in_origin(ino, name)
            if is_lost and self._view.is_alive(ino):
                self._problem(ino, "the name was changed, but has no row", name)
        elif len(key) == 9 and key[:1] == b"i" and len(value) == 8:
            ino, name, seq = key_number(key[1:]), b"", key_number(value)
            if self._view.rows.inode(ino) is None:
                self._problem(ino, "it was changed, but has no row")
        else:
            raise CorruptObject("it is no mark of a change")
        if seq > self._header.seq:
            self._problem(ino, "it is noted as changed by a write that was never made", name)
        if not self._header.dirty:
            self._problem(ROOT_INO, "its overlay has changes, and says that it has none")

    def _check_orphan(self, key: bytes, value: memoryview) -> None:
        if len(key) != 8 or value:
            raise CorruptObject("a row of a wrong length")
        row = self._view.inode(key_number(key))
        if row is None or row.nlink:
            self._problem(key_number(key), "it is noted as without a name, and is not")

    def _check_tree(self, key: bytes, value: memoryview) -> None:
        if len(key) != 8:
            raise CorruptObject("a key of a wrong length")
        ino = key_number(key)
        tree, totals = decode_tree(bytes(value))
        if not self._view.is_dir(ino):
            self._problem(ino, "it was committed as a directory, and is none")
        message = self._trees.check_tree(ObjectId(tree), totals)
        if self._run.bad or self._run.flaws:
            _, _, path = self._view.place(ino).partition(":")
            self._places.tree(self._label, ObjectId(tree), os.fsencode(path))
        if message:
            self._problem(ino, f"what it was committed as is damaged: {message}")
