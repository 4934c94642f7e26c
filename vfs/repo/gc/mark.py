"""Going through all that versions and branches lead to. Reads each node once, and no chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import decode_blob_node
from vfs.model.entry import FLAG_BLOB
from vfs.model.node import Inner, decode_node
from vfs.store.marks import BLOB, LIVE, TREE, Marks

if TYPE_CHECKING:
    from vfs.store.objects import ObjectSource

_DIRECTORY = 0o040000


class Marker:
    """Marks what is reachable. For one thread."""

    def __init__(
        self,
        marks: Marks,
        is_erased: Callable[[ObjectId], bool],
        on_node: Callable[[], None],
    ) -> None:
        """*is_erased* says whether an object is missing because somebody wanted it to be."""
        self._marks = marks
        self._is_erased = is_erased
        self._on_node = on_node

    def object(self, oid: ObjectId) -> None:
        """Mark one object, and nothing below."""
        self._marks.add(oid, LIVE)

    def trees(self, reader: ObjectSource, roots: Iterable[ObjectId]) -> None:
        """Mark directories, and all below. Raises CorruptObject where a node can't be read."""
        waiting = list(roots)
        while waiting:
            oid = waiting.pop()
            if not self._marks.add(oid, TREE):
                continue
            data = self._get(reader, oid)
            if data is None:
                continue
            node = decode_node(data)
            if isinstance(node, Inner):
                waiting.extend(child.node for child in node.children)
                continue
            for mode, flags, content in node.contents():
                if mode & 0o170000 == _DIRECTORY:
                    waiting.append(content)
                else:
                    self.content(reader, content, flags)

    def content(self, reader: ObjectSource, oid: ObjectId, flags: int) -> None:
        """Mark the content of a file. Raises CorruptObject where a node can't be read."""
        if oid == NO_CONTENT:
            return
        if not flags & FLAG_BLOB:
            self._marks.add(oid, LIVE)
            return
        waiting = [oid]
        while waiting:
            this = waiting.pop()
            if not self._marks.add(this, BLOB):
                continue
            data = self._get(reader, this)
            if data is None:
                continue
            node = decode_blob_node(data)
            if node.level:
                waiting.extend(span.content for span in node.spans)
                continue
            for chunk, _ in node.spans:
                if chunk != NO_CONTENT:
                    self._marks.add(chunk, LIVE)

    def _get(self, reader: ObjectSource, oid: ObjectId) -> bytes | None:
        self._on_node()
        try:
            return reader.get(oid)
        except CorruptObject:
            if self._is_erased(oid):
                return None
            raise  # what is below can't be told from garbage, and a repair would find it gone
