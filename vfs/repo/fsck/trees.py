"""Trees and blobs: every node that is reached is read once, whoever leads to it.

A node's own items are checked when it is read. What its parent says of it (sums, last name,
level) is compared with a summary that is kept; as all nodes are compared with their children,
all sums are right when all of these are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, NO_CONTENT, ObjectId
from vfs.model.blob import decode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry, Totals, checked_extra
from vfs.model.node import NOTHING, Child, Inner, Leaf, Node, Sums, decode_node
from vfs.recent import Recent
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.repo.fsck.findings import Findings

_LEAVES_KEPT: Final = 256
_SUMMARY: Final = struct.Struct("<Bqq")
_BLOB: Final = struct.Struct("<BQQ")
_UNKNOWN: Final = b"\xff"  # the summary of a node that can't be compared with what is said of it


class _Claim(NamedTuple):
    """What a node, or a commit, says of a tree node below it."""

    holder: ObjectId
    item: int
    node: ObjectId
    totals: Totals | None  # of a directory's root
    child: Child | None  # of another node
    level: int
    after: bytes  # the last name of the child before


class _Summary(NamedTuple):
    level: int
    totals: int  # hashes, as the values themselves take three times the room
    content: int
    first: bytes


class TreeCheck:
    """Checks trees, one version after the other."""

    def __init__(self, run: Findings) -> None:
        self._run = run
        self._seen = run.seen()
        self._blobs = run.seen()
        self._claims: list[_Claim] = []
        self._leaves: Recent[ObjectId, Leaf] = Recent(_LEAVES_KEPT)
        self._entries = 0

    def check_root(self, holder: ObjectId, root: Entry) -> None:
        """Check all that a version holds; *holder* is its commit."""
        message = self._entry_problem(holder, 0, root)
        if message:
            self._run.add_flaw(holder, -1, "tree", message)
        while self._claims:
            self._compare(self._claims.pop())

    def check_tree(self, tree: ObjectId, totals: Totals) -> str:
        """Check a directory that is not in a version; return what is wrong with its totals."""
        holder = ObjectId(b"\0" * (ID_BYTES - 1) + b"\1")  # of nothing: it is no object's id
        self._claims.append(_Claim(holder, -1, tree, totals, None, 0, b""))
        while self._claims:
            self._compare(self._claims.pop())
        flaws = self._run.flaws.pop(holder, [])
        return flaws[0].damage.message if flaws else ""

    # nodes

    def _compare(self, claim: _Claim) -> None:
        packed = self._seen.get(claim.node)
        if packed is None:
            packed = self._visit(claim.node)
            self._seen.put(claim.node, packed)
        if packed == _UNKNOWN:
            return
        level, of_totals, of_content = _SUMMARY.unpack_from(packed)
        summary = _Summary(level, of_totals, of_content, packed[_SUMMARY.size :])
        child, message = claim.child, ""
        if claim.totals is not None:
            if hash(claim.totals) != summary.totals:
                message = f"it is said to hold {_show(claim.totals)}, which is not so"
        elif child is not None:
            if claim.level != summary.level:
                message = "a part of its tree stands at a wrong level"
            elif summary.first <= claim.after and claim.after:
                message = "its names do not ascend"
            elif hash((child.last, child.sums)) != summary.content:
                message = "the sums of a part of its tree are wrong"
        if message:
            self._run.add_flaw(claim.holder, claim.item, "tree", message)

    def has_seen(self, oid: ObjectId) -> bool:
        """Say whether a node was looked at."""
        return self._seen.get(oid) is not None or self._blobs.get(oid) is not None

    def _visit(self, oid: ObjectId) -> bytes:
        """Check one node; return its summary."""
        run = self._run
        node = self._node(oid)
        if node is None:
            return _UNKNOWN
        there = run.kind_and_size(oid, is_node=True)
        if there is None or there[0] != Kind.TREE:
            run.add_bad(oid, f"the tree node {oid.hex()} is not in the index as one")
        run.count("tree nodes")
        run.line.progress(self._entries)
        if isinstance(node, Inner):
            return self._visit_inner(oid, node)
        self._leaves.put(oid, node)
        return self._visit_leaf(oid, node)

    def _node(self, oid: ObjectId) -> Node | None:
        data = self._run.read(oid, "tree node")
        if data is None:
            return None
        try:
            return decode_node(data)
        except CorruptObject as error:
            self._run.add_bad(oid, f"the tree node {oid.hex()} is none: {error}")
            return None

    def _visit_inner(self, oid: ObjectId, node: Inner) -> bytes:
        after = b""
        sums = NOTHING
        for index, child in enumerate(node.children):
            claim = _Claim(oid, index, child.node, None, child, node.level - 1, after)
            self._claims.append(claim)
            after = child.last
            sums += child.sums
        # Of siblings, the first name of each is compared with the last of the one before.
        return self._summary(node.level, sums, after, self._first_name(node))

    def _first_name(self, node: Inner) -> bytes:
        """Return the first name below, as the nodes on the way say; an empty one if they can't."""
        down: Node | None = node
        for _ in range(node.level):
            assert isinstance(down, Inner)
            down = self._node(down.children[0].node)
            if not isinstance(down, Inner):
                break
        return down.names[0] if isinstance(down, Leaf) and down.names else b"\xff" * 256

    def _visit_leaf(self, oid: ObjectId, leaf: Leaf) -> bytes:
        subdirs = dirs = files = size = 0
        is_known = True
        for index in range(len(leaf)):
            try:
                entry = leaf.entry(index)
            except CorruptObject as error:
                self._run.add_flaw(oid, index, "tree", str(error))
                is_known = False
                continue
            message = self._entry_problem(oid, index, entry)
            if entry.is_dir:
                if message:
                    is_known = False
                else:
                    totals = leaf.totals(index)
                    subdirs += 1
                    dirs += totals.dirs
                    files += totals.files
                    size += totals.bytes
            else:
                files += 1
                size += entry.size if entry.is_file else 0
                self._check_number(oid, leaf, index)
            if message:
                self._run.add_flaw(oid, index, "tree", message)
        self._entries += len(leaf)
        self._run.count("entries", len(leaf))
        if not is_known:
            return _UNKNOWN
        sums = Sums(len(leaf), subdirs, dirs, files, size)
        names = leaf.names
        return self._summary(0, sums, names[-1] if names else b"", names[0] if names else b"")

    @staticmethod
    def _summary(level: int, sums: Sums, last: bytes, first: bytes) -> bytes:
        return _SUMMARY.pack(level, hash(sums.totals()), hash((last, sums))) + first

    # entries

    def _entry_problem(self, holder: ObjectId, index: int, entry: Entry) -> str:
        """Return what is wrong with an entry; note what it says of its directory's tree."""
        try:
            extra = checked_extra(entry)
        except CorruptObject as error:
            return str(error)
        if extra.totals is not None:
            claim = _Claim(holder, index, entry.content, extra.totals, None, 0, b"")
            self._claims.append(claim)
        elif entry.is_file:
            return self.file_problem(entry.content, entry.flags, entry.size, extra.holes)
        return ""

    def _check_number(self, oid: ObjectId, leaf: Leaf, index: int) -> None:
        """Check that an entry's inode number leads back to it, where there are any."""

    # contents

    def file_problem(self, content: ObjectId, flags: int, size: int, holes: int) -> str:
        """Return what is wrong with what is said of a file's content.

        Objects that are missing or damaged are noted as bad, and nothing is said of them here.
        """
        if not size:
            return "" if content == NO_CONTENT and not flags else "it is empty, but has content"
        if not flags & FLAG_BLOB:
            there = self._chunk_size(content)
            if there is None:
                return ""
            if there != size:
                return f"it has {size:,} bytes, and its content {there:,}"
            return "it has holes in a single chunk" if holes else ""
        packed = self._blob(content)
        if packed == _UNKNOWN:
            return ""
        _, blob_size, blob_holes = _BLOB.unpack(packed)
        if blob_size != size:
            return f"it has {size:,} bytes, and its content {blob_size:,}"
        if blob_holes != holes:
            return f"it has {holes:,} bytes of holes, and its content {blob_holes:,}"
        return ""

    def _chunk_size(self, oid: ObjectId) -> int | None:
        """Return the size of a chunk; None, and noted as bad, where there is none.

        None, too, of one that was erased or is away.
        """
        if oid in self._run.bad or oid in self._run.erased or self._run.is_away(oid):
            return None
        there = self._run.kind_and_size(oid, is_node=False)
        if there is None:
            self._run.add_bad(oid, f"the chunk {oid.hex()} is missing")
            return None
        return there[1]

    def _blob(self, oid: ObjectId) -> bytes:
        """Check a blob node and all below; return its level, size and holes."""
        packed = self._blobs.get(oid)
        if packed is None:
            packed = self._visit_blob(oid)
            self._blobs.put(oid, packed)
        return packed

    def _visit_blob(self, oid: ObjectId) -> bytes:
        run = self._run
        data = run.read(oid, "list of chunks")
        if data is None:
            return _UNKNOWN
        try:
            node = decode_blob_node(data)
        except CorruptObject as error:
            run.add_bad(oid, f"the list of chunks {oid.hex()} is none: {error}")
            return _UNKNOWN
        run.count("lists of chunks")
        holes = 0
        is_known = True
        for index, (content, length) in enumerate(node.spans):
            message = ""
            if content == NO_CONTENT:
                holes += length
            elif not node.level:
                size = self._chunk_size(content)
                if size not in (None, length):
                    message = f"a chunk has {size:,} bytes instead of {length:,}"
            else:
                below = self._blob(content)
                if below == _UNKNOWN:
                    is_known = False
                    continue
                level, size, inner = _BLOB.unpack(below)
                holes += inner
                if (level, size) != (node.level - 1, length):
                    message = "a part of its list of chunks is not what it should be"
            if message:
                run.add_flaw(oid, index, "tree", message)
        return _BLOB.pack(node.level, node.size, holes) if is_known else _UNKNOWN


def _show(totals: Totals) -> str:
    return f"{totals.files:,} files, {totals.dirs - 1:,} directories and {totals.bytes:,} bytes"
