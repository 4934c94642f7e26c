"""Which object is in which pack: the indexes of a remote, kept on this machine.

An index never changes, so one that is kept is right as long as the remote has it; each carries its
own checksum.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from vfs.errors import NotFound, RemoteProblem
from vfs.ids import ObjectId
from vfs.remote.bucket import Bucket, get_decoded
from vfs.remote.layout import (
    INDEX_MAX_BYTES,
    INDEXES,
    PackId,
    PackIndex,
    Place,
    index_name,
    pack_of_name,
)
from vfs.remote.lookup import Lookup
from vfs.remote.parallel import Workers


class Catalog:
    """The indexes of one remote. For one thread; `find` and `within` for any, beside that one."""

    def __init__(self, bucket: Bucket, cache: Path | None) -> None:
        """*cache*: a directory for the indexes, made when there is one to keep; None: keep none."""
        self._bucket = bucket
        self._cache = cache
        self._indexes: dict[PackId, PackIndex] = {}
        self._lookup = Lookup()
        self._modified_ns: dict[PackId, int] = {}
        self._last: PackIndex | None = None  # what is asked for next mostly is where the last was
        self.condemned: frozenset[PackId] = frozenset()
        """Packs that are about to be removed: who writes does not rely on what only they have."""

    def refresh(self, workers: Workers) -> None:
        """Learn of the packs that are new, and of those that are gone.

        A request for each 1000 packs, and one for each new one. Raises RemoteProblem, naming the
        index that is damaged.
        """
        problems = self.refresh_tolerant(workers)
        if problems:
            raise next(iter(problems.values()))

    def refresh_tolerant(self, workers: Workers) -> dict[PackId, RemoteProblem]:
        """Do what `refresh` does; return the problems of damaged indexes, which are left out."""
        problems: dict[PackId, RemoteProblem] = {}

        def load(pack: PackId) -> PackIndex | None:
            try:
                return self._load(pack)
            except RemoteProblem as problem:
                problems[pack] = problem
                return None

        found = self._list()
        new = sorted(found - self._indexes.keys())
        self._take([index for index in workers.in_order(load, new) if index is not None])
        for pack in self._indexes.keys() - found:
            self._forget(pack)
        return problems

    def load_kept(self) -> None:
        """Learn of the packs whose indexes are kept here, without a request."""
        kept = () if self._cache is None or not self._cache.is_dir() else self._cache.iterdir()
        indexes = []
        for path in kept:
            if not path.name.startswith("."):
                with suppress(OSError, ValueError, RemoteProblem):  # damaged here: not known here
                    pack = PackId(bytes.fromhex(path.name))
                    indexes.append(PackIndex(pack, path.read_bytes()))
        self._take(indexes)

    def modified_ns(self, pack: PackId) -> int:
        """Return when the index of a pack was written, as far as the bucket told; else 0."""
        return self._modified_ns.get(pack, 0)

    def within(self, pack: PackId, start: int, end: int) -> list[tuple[ObjectId, Place]]:
        """Return the objects of a pack that is known, as `PackIndex.within` does."""
        return self._indexes[pack].within(start, end)

    def add(self, pack: PackId, data: bytes) -> None:
        """Take the index of a pack that was just written."""
        self._take([PackIndex(pack, data)])
        self._keep(pack, data)

    def find(self, oid: ObjectId, *, is_node: bool) -> Place | None:
        """Return where an object is, or None. A node counts only where it was packed as one."""
        last = self._last
        if last is not None and (place := last.find(oid, is_node=is_node)) is not None:
            return place
        for index in self._lookup.candidates(oid):
            if index is not last and (place := index.find(oid, is_node=is_node)) is not None:
                self._last = index
                return place
        return None

    def counts(
        self, oid: ObjectId, *, is_node: bool, without: Container[PackId] | None = None
    ) -> bool:
        """Say whether an object is in a pack that is not condemned, or in one not of *without*."""
        last, condemned = self._last, self.condemned if without is None else without
        if last is not None and last.pack not in condemned and last.find(oid, is_node=is_node):
            return True
        for index in self._lookup.candidates(oid):
            if index.pack not in condemned and index.find(oid, is_node=is_node) is not None:
                self._last = index
                return True
        return False

    def leave_out(self, pack: PackId) -> None:
        """Do as if a pack had no index."""
        self._forget(pack)

    def indexes(self) -> Iterator[PackIndex]:
        """Yield all indexes."""
        yield from self._indexes.values()

    def _list(self) -> set[PackId]:
        """Return the packs that have an index on the remote."""
        found = {
            pack: item.modified_ns
            for item in self._bucket.items(INDEXES)
            if (pack := pack_of_name(item.name)) is not None
        }
        self._modified_ns = found
        return set(found)

    def _take(self, indexes: Sequence[PackIndex]) -> None:
        self._indexes.update((index.pack, index) for index in indexes)
        self._lookup.add(indexes)

    def _forget(self, pack: PackId) -> None:
        self._lookup.remove(pack)
        if self._last is self._indexes.pop(pack):
            self._last = None
        if self._cache is not None:
            with suppress(OSError):
                (self._cache / pack.hex()).unlink(missing_ok=True)

    def _load(self, pack: PackId) -> PackIndex | None:
        """Return an index: the one that is kept, or the remote's; None: it is gone meanwhile.

        Runs in pool threads.
        """
        if self._cache is not None:
            with suppress(OSError, RemoteProblem):  # damaged here: it is fetched again
                return PackIndex(pack, (self._cache / pack.hex()).read_bytes())

        def decode(data: bytes) -> tuple[PackIndex, bytes]:
            return PackIndex(pack, data), data

        name = index_name(pack)
        try:
            index, data = get_decoded(self._bucket, name, decode, most=INDEX_MAX_BYTES)
        except NotFound:
            return None
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
