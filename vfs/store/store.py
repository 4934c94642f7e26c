"""A store: making it, opening it, and what it is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from vfs.errors import AlreadyExists, Conflict, StoreError
from vfs.ids import ObjectId
from vfs.store.audit import AuditLog
from vfs.store.births import Births
from vfs.store.environment import Environment
from vfs.store.erasures import Erasures
from vfs.store.identity import (
    PROMISED,
    Identity,
    is_free,
    is_promised,
    put_identity,
    read_identity,
)
from vfs.store.ingest import Ingest, WhenErased
from vfs.store.layout import Kind, is_condemned, unpack_location
from vfs.store.numbers import Numbering
from vfs.store.overlays import Overlays
from vfs.store.pruned import PrunedTable
from vfs.store.reader import CACHE_BYTES, Reader
from vfs.store.refs import RefTable
from vfs.store.scratch import Scratch
from vfs.store.settings import Settings
from vfs.store.tables import LATER_TABLES, OVERLAY_TABLES, TABLES
from vfs.store.tracking import Tracking
from vfs.store.unpushed import Unpushed
from vfs.store.writers import Writers

if TYPE_CHECKING:
    from vfs.store.clock import Clock
    from vfs.store.compact import CompactReport, ScrubReport
    from vfs.store.environment import Table, Txn
    from vfs.store.garbage import Garbage
    from vfs.store.held import HeldStore
    from vfs.store.marks import Marks
    from vfs.store.objects import Supply
    from vfs.store.pages import OnProgress
    from vfs.store.repack import Repacker

T = TypeVar("T")

OVERWRITTEN_AT_ONCE: Final = 200_000  # objects: 100 MB of memory


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """What the objects of one kind, or all, take."""

    objects: int
    bytes: int  # before compression
    stored: int  # after it; of what is compressed together, its share


MENDED_AT_ONCE: Final = 2000  # rows: each may dirty a page of its own


class RowChange(NamedTuple):
    """A row of a table as it is, and as it is to be; None for no row."""

    table: str
    key: bytes
    before: bytes | None
    after: bytes | None


class Store:
    """An open store. Thread-safe but for its readers; must not be held over a fork.

    A process opens a store at most once at a time: LMDB's locks ask for that.
    """

    def __init__(self, path: Path, env: Environment, identity: Identity) -> None:
        self.path = path
        self.uuid = identity.uuid
        self.audit = AuditLog(env)
        self.erasures = Erasures(env, self.audit)
        self.refs = RefTable(env, self.audit)
        self.births = Births(env)
        self.numbering = Numbering(env, identity.secret)
        self.overlays = Overlays(env, self.refs)
        self.writers = Writers(env)
        self.pruned = PrunedTable(env)
        self.settings = Settings(env)
        self.tracking = Tracking(env, self.refs, self.settings)
        self.unpushed = Unpushed(env)
        self.bring: Supply | None = None  # of what is missing, for readers
        self._env = env
        self._identity = identity

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make an empty store in *path*, which must be missing or an empty directory.

        What a killed attempt left there is no obstacle; of two at once, one succeeds.
        """
        try:
            if path.exists() and not (path.is_dir() and is_free(path)):
                raise AlreadyExists(
                    f"{path} exists and is not an empty directory", hint="choose another place"
                )
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path} can't be made: {error.strerror}") from error
        env = Environment(path, create=True)
        identity = Identity.new()
        try:
            env.open_tables(missing="make")
            put_identity(env, identity)
            return cls(path, env, identity)
        except BaseException:
            env.close()
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        readonly: bool = False,
        map_bytes: int | None = None,
        partial: bool = False,
    ) -> Store:
        """Open the store in *path*; *map_bytes* is the size that its map has at first.

        *readonly* for whoever only reads: it never waits for a writer. *partial* for whoever can
        do with one that lacks what a remote has.

        Raises StoreError when there is none, or one that this version can't read.
        """
        try:
            data = path / "data.mdb"
            if not data.is_file() or not data.stat().st_size:
                raise StoreError(
                    f"there is no store at {path}",
                    hint=f"make one with: vfs --store {path} init",
                )
            env = Environment(path, readonly=readonly, map_bytes=map_bytes)
        except OSError as error:
            raise StoreError(f"the store {path} can't be read: {error.strerror}") from error
        try:
            env.open_tables(["meta"])  # another format may have other tables
            identity = read_identity(env)
            env.require_sound(("meta", "data_sets", "refs"))
            env.open_tables(name for name in TABLES if name not in LATER_TABLES)
            # Missing ones, as in a store of the first release, are as good as empty ones.
            env.open_tables(LATER_TABLES, missing="leave")
            if len(env.tables.keys() & set(OVERLAY_TABLES)) not in (0, len(OVERLAY_TABLES)):
                raise StoreError(
                    f"the store {path} is damaged: some of its tables are missing",
                    hint="restore it from a backup; nothing was changed",
                )
            if not readonly:
                env.open_tables(LATER_TABLES, missing="make")
            if not partial and is_promised(env):
                raise StoreError(
                    f"{path} is the cache of a remote, no store of its own",
                    hint="vfs mount --remote uses it; vfs clone makes a store",
                )
            return cls(path, env, identity)
        except BaseException:
            env.close()
            raise

    @property
    def readonly(self) -> bool:
        """Say whether nothing can be written through it."""
        return self._env.readonly

    @property
    def is_promised(self) -> bool:
        """Say whether it may lack what a remote has: it is that one's cache."""
        return is_promised(self._env)

    def promise(self, source: Mapping[str, Any]) -> None:
        """Note that what versions lead to may be missing here, as *source* has it."""

        def change(txn: Txn) -> None:
            txn.put(PROMISED.encode(), b"\x01", db=self._env.tables["meta"])
            self.settings.put_in(txn, PROMISED, source)

        self._env.write(change)

    def close(self) -> None:
        """Close the store."""
        if self.bring is not None:
            self.bring.close()
        self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @contextmanager
    def held(self) -> Iterator[HeldStore]:
        """Hold the store as it is now, whatever is written to it meanwhile.

        While this lasts, pages that are freed are not used again, so the data file may grow.
        """
        from vfs.store.held import HeldEnvironment, HeldStore  # noqa: PLC0415 - a circle

        with self._env.hold() as txn:
            env = HeldEnvironment(self._env, txn)
            try:
                yield HeldStore(self.path, env, self._identity)
            finally:
                env.close()

    def mend(self, changes: Sequence[RowChange]) -> None:
        """Make *changes*, in their order, for whoever repairs rows; in bounded transactions.

        Raises Conflict when a row is not what it is to be changed from: all of that transaction,
        and what comes after it, is left as it is.
        """
        tables = self._env.tables

        def change(txn: Txn, some: Sequence[RowChange]) -> None:
            for table, key, before, after in some:
                there = txn.get(key, db=tables[table])
                if (None if there is None else bytes(there)) != before:
                    raise Conflict(f"a row of '{table}' changed meanwhile", hint="try again")
                if after is None:
                    txn.delete(key, db=tables[table])
                else:
                    txn.put(key, after, db=tables[table])

        for at in range(0, len(changes), MENDED_AT_ONCE):
            self._env.write(partial(change, some=changes[at : at + MENDED_AT_ONCE]))

    def reader(self, *, cache_bytes: int = CACHE_BYTES) -> Reader:
        """Return a reader, for one thread."""
        return Reader(self._env, cache_bytes=cache_bytes, bring=self.bring)

    def ingest(
        self,
        *,
        verify: bool = False,
        when_erased: WhenErased = "refuse",
        who: str = "",
        fetched: bool = False,
    ) -> Ingest:
        """Return a context in which objects are added.

        With *verify* an object that is there counts only if its bytes are right; one that is
        damaged is stored again. *who* stores again what was erased. *fetched*: all of it comes
        from the remote that this store is the cache of, and may be evicted.
        """
        return Ingest(
            self._env,
            self.numbering,
            self.writers,
            verify=verify,
            when_erased=when_erased,
            who=who,
            unpushed=self.unpushed if self.is_promised and not fetched else None,
        )

    def overwrite_erased(self, on_progress: Callable[[int], None]) -> list[ObjectId]:
        """Overwrite the bytes of all erased objects; return those that are not where they should.

        *on_progress* is told how many were done.
        """
        from vfs.store.rewriting import remove_objects  # noqa: PLC0415 - seldom needed

        damaged: list[ObjectId] = []
        while True:
            dead = self.erasures.pending(OVERWRITTEN_AT_ONCE + len(damaged))
            for oid in damaged:
                dead.pop(oid, None)
            if not dead:
                left = self.erasures.pending(len(damaged))
                return [oid for oid in damaged if oid in left]  # the others somebody else has done
            damaged += remove_objects(self._env, dead, self.erasures.settle_in, on_progress)

    def evict(self, clock: Clock, size: int) -> bool:
        """Remove chunks that take about *size* bytes, those first that nobody read.

        For a store that may lack them. False where another process does. Raises StoreFull.
        """
        from vfs.store.evicting import evict  # noqa: PLC0415 - of caches alone

        return evict(self._env, clock, size)

    def scratch(self) -> Scratch:
        """Return a context with a sorted map on the store's disk."""
        return Scratch(self.scratch_dir())

    def scratch_dir(self) -> Path:
        """Return a directory on the store's disk for files without a name."""
        path = self.path / "tmp"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def check_readers(self) -> int:
        """Free what killed readers hold; return how many there were."""
        return self._env.check_readers()

    def compact(self, *, on_progress: OnProgress | None = None) -> CompactReport:
        """Give the space of what was removed back to the disk, beside whoever uses the store.

        Raises StoreError, with nothing changed, where a page is damaged, or the file system can't
        do that.
        """
        from vfs.store.compact import compact  # noqa: PLC0415 - seldom used

        return compact(self._env, on_progress=on_progress)

    def scrub(self, *, on_progress: OnProgress | None = None) -> ScrubReport:
        """Overwrite what is left of removed rows in the data file; on the disk on return.

        Raises Conflict where somebody reads an older state for long, StoreError where a page is
        damaged.
        """
        from vfs.store.compact import scrub  # noqa: PLC0415 - seldom used

        return scrub(self._env, on_progress=on_progress)

    def data_bytes(self) -> int:
        """Return what the store takes on disk, in bytes."""
        return (self.path / "data.mdb").stat().st_blocks * 512

    def copy_to(self, fd: int) -> None:
        """Write a data file with all of the store as it is now (see `Environment.copy_to`)."""
        self._env.copy_to(fd)

    def used_bytes(self) -> int:
        """Return what `copy_to` would write now, in bytes."""
        return self._env.used_bytes()

    def page_bytes(self) -> int:
        """Return how much of the data file is in use, freed pages included."""
        return self._env.page_bytes()

    def count_objects(self) -> dict[Kind, ObjectCounts]:
        """Return what the objects of each kind take. Reads the whole index."""
        counts = {kind: [0, 0, 0] for kind in Kind}
        with self._env.read() as txn, txn.cursor(self._env.tables["objects"]) as cursor:
            for value in cursor.iternext(keys=False, values=True):
                place = unpack_location(value)
                count = counts[Kind(place.kind)]
                count[0] += 1
                count[1] += place.size
                count[2] += place.stored * place.size // max(place.raw, 1)
        return {kind: ObjectCounts(*count) for kind, count in counts.items()}

    def is_kept(self, oid: ObjectId) -> bool:
        """Say whether an object is there, and is not about to be removed."""
        with self._env.read() as txn:
            row = txn.get(oid, db=self._env.tables["objects"])
            return row is not None and not is_condemned(row)

    def garbage(self, marks: Marks) -> Garbage:
        """Return what removes the objects that are not marked."""
        from vfs.store.garbage import Garbage  # noqa: PLC0415 - few commands remove anything

        return Garbage(self._env, self.numbering, self.writers, marks)

    def repacker(self, on_block: Callable[[int, int], None]) -> Repacker:
        """Return what gives back the room of objects that were removed."""
        from vfs.store.repack import Repacker  # noqa: PLC0415 - as above

        return Repacker(self._env, self.scratch_dir(), on_block)

    def table(self, name: str) -> Table:
        """Return a table, for `change`."""
        return self._env.tables[name]

    def change(self, change: Callable[[Txn], T]) -> T:
        """Run *change* in a write transaction (see `Environment.write`)."""
        return self._env.write(change)

    def object_size(self, oid: ObjectId) -> int | None:
        """Return the size of an object before compression, or None when it is not there."""
        with self._env.read() as txn:
            value = txn.get(oid, db=self._env.tables["objects"])
            return None if value is None else unpack_location(value).size

    def free_bytes(self) -> tuple[int, int, int]:
        """Return the size of the disk that holds the store, what is free, and what users get."""
        disk = os.statvfs(self.path)
        return (
            disk.f_blocks * disk.f_frsize,
            disk.f_bfree * disk.f_frsize,
            disk.f_bavail * disk.f_frsize,
        )
