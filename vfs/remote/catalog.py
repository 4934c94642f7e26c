"""Which object is in which pack: the indexes of a remote, kept on this machine.

An index never changes, so one that is kept is right for ever; each carries its own checksum.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vfs.errors import RemoteProblem
from vfs.ids import ObjectId
from vfs.remote.bucket import Bucket
from vfs.remote.layout import (
    INDEX_MAX_BYTES,
    INDEXES,
    PackId,
    PackIndex,
    Place,
    index_name,
    pack_of_index,
)
from vfs.remote.parallel import Workers


class Catalog:
    """The indexes of one remote. For one thread."""

    def __init__(self, bucket: Bucket, cache: Path | None) -> None:
        """*cache*: a directory for the indexes, made when there is one to keep; None: keep none."""
        self._bucket = bucket
        self._cache = cache
        self._indexes: dict[PackId, PackIndex] = {}
        self._last: PackIndex | None = None  # what is asked for next mostly is where the last was

    def refresh(self, workers: Workers) -> None:
        """Learn of the packs that are new. A request for each 1000 packs, and one for each new one.

        Raises RemoteProblem, naming the index that is damaged.
        """
        names = (pack_of_index(item.name) for item in self._bucket.items(INDEXES))
        new = [pack for pack in names if pack is not None and pack not in self._indexes]
        for index in workers.in_order(self._load, new):
            self._indexes[index.pack] = index

    def load_kept(self) -> None:
        """Learn of the packs whose indexes are kept here, without a request."""
        kept = () if self._cache is None or not self._cache.is_dir() else self._cache.iterdir()
        for path in kept:
            if not path.name.startswith("."):
                with suppress(OSError, ValueError, RemoteProblem):  # damaged here: not known here
                    pack = PackId(bytes.fromhex(path.name))
                    self._indexes[pack] = PackIndex(pack, path.read_bytes())

    def within(self, pack: PackId, start: int, end: int) -> list[tuple[ObjectId, Place]]:
        """Return the objects of a pack that is known, as `PackIndex.within` does."""
        return self._indexes[pack].within(start, end)

    def add(self, pack: PackId, data: bytes) -> None:
        """Take the index of a pack that was just written."""
        self._indexes[pack] = PackIndex(pack, data)
        self._keep(pack, data)

    def find(self, oid: ObjectId, *, is_node: bool) -> Place | None:
        """Return where an object is, or None. A node counts only where it was packed as one."""
        if self._last is not None and (place := self._last.find(oid, is_node=is_node)) is not None:
            return place
        for index in self._indexes.values():
            if index is not self._last and (place := index.find(oid, is_node=is_node)) is not None:
                self._last = index
                return place
        return None

    def indexes(self) -> Iterator[PackIndex]:
        """Yield all indexes."""
        yield from self._indexes.values()

    def _load(self, pack: PackId) -> PackIndex:
        """Return an index: the one that is kept, or the remote's. Runs in pool threads."""
        if self._cache is not None:
            with suppress(OSError, RemoteProblem):  # damaged here: it is fetched again
                return PackIndex(pack, (self._cache / pack.hex()).read_bytes())
        data = self._bucket.get(index_name(pack), most=INDEX_MAX_BYTES)
        index = PackIndex(pack, data)
        self._keep(pack, data)
        return index

    def _keep(self, pack: PackId, data: bytes) -> None:
        if self._cache is None:
            return
        with suppress(OSError):  # no room: then it is fetched again next time
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = self._cache / f".{pack.hex()}-{secrets.token_hex(4)}"
            try:
                partial.write_bytes(data)
                partial.replace(self._cache / pack.hex())
            except OSError:
                partial.unlink(missing_ok=True)
                raise


def cache_directory(store: Path, uuid: str) -> Path:
    """Return where a store keeps the indexes of the remote *uuid*."""
    return store / "remotes" / uuid
