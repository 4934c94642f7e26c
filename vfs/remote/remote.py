"""An open remote: its header, and what reads and writes all else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from vfs.errors import RemoteChanged, RemoteProblem
from vfs.remote.bucket import Bucket
from vfs.remote.catalog import Catalog, cache_directory
from vfs.remote.journal import Journal
from vfs.remote.layout import (
    HEADER_NAME,
    decode_header,
    encode_header,
    encode_salt,
    index_name,
    is_sealed,
    pack_name,
)
from vfs.remote.notes import Value
from vfs.remote.objects import RemoteObjects
from vfs.remote.pack import PackBuilder, SealedPack
from vfs.remote.parallel import Workers
from vfs.remote.refs import RemoteRefs
from vfs.remote.unlocking import PLAIN, Lock, header_of, make_sealed, open_sealed

if TYPE_CHECKING:
    from vfs.remote.sealed import SealedBucket
    from vfs.remote.secrets import MasterKey

VIEW_SECONDS: Final = 3600.0
"""So long at most before an index or a reference is written, its writer has looked at the journal:
a small part of the time for which what is condemned stays."""


class Remote:
    """A remote in a bucket. For one thread. A context manager, which closes the bucket."""

    def __init__(
        self, bucket: Bucket, uuid: str, store: Path | None, *, key: MasterKey | None = None
    ) -> None:
        self.uuid = uuid
        self.workers = Workers()
        self.refs = RemoteRefs(bucket)
        cache = None if store is None else cache_directory(store, uuid)
        self.journal = Journal(bucket, cache)
        self.catalog = Catalog(bucket, cache)
        self.objects = RemoteObjects(bucket, self.catalog, self.workers)
        self.bucket = bucket
        self.key = key
        """What *bucket* is opened with already, if it is encrypted."""
        self._looked = _now()
        self._salt = b""

    @classmethod
    def connect(
        cls, bucket: Bucket, *, store: Path | None, make: bool = False, lock: Lock = PLAIN
    ) -> Remote:
        """Open the remote in *bucket*; with *make* one is made where there is none.

        *store*: the directory in which indexes are kept; None to keep none. Raises RemoteProblem.
        """
        sealed: SealedBucket | None = None
        header = header_of(bucket)
        if header is not None and is_sealed(header):
            bucket = sealed = open_sealed(bucket, lock)
            header = header_of(bucket)
        elif header is not None and lock.required:
            raise RemoteProblem(
                "the remote is not encrypted", hint="it was to be: do not trust what it holds"
            )
        elif header is None and make and lock.required:
            bucket = sealed = make_sealed(bucket, lock)
            header = header_of(bucket)
        elif header is None and make:
            from uuid import uuid4  # noqa: PLC0415 - 3 ms, and remotes are seldom made

            bucket.put(HEADER_NAME, encode_header(str(uuid4())))
            header = header_of(bucket)
        if header is None:
            raise RemoteProblem("there is no vfs remote", hint="the first push to it makes one")
        key = None if sealed is None else sealed.master
        return cls(bucket, decode_header(header), store, key=key)

    def refresh(self) -> None:
        """Learn of the packs that others wrote or removed. Raises RemoteProblem."""
        self.look()
        self.catalog.refresh(self.workers)

    def look(self) -> None:
        """Learn what the journal says: from now on that is what this side knows."""
        self._looked = _now()
        self.journal.refresh(self.workers)
        state = self.journal.state
        self._salt = encode_salt(state.generation)
        self.catalog.condemned = frozenset() if not state.collection else state.collection.packs

    def require_current(self, *, within: float | None = None) -> None:
        """Raise RemoteChanged if what this side knows has become wrong.

        It is looked at where that was not done *within* so many seconds (VIEW_SECONDS).
        """
        if _now() - self._looked < (VIEW_SECONDS if within is None else within):
            return
        looked = _now()
        if self.journal.refresh(self.workers):
            raise _changed()
        self._looked = looked

    def note(self, value: Value) -> None:
        """Write a record of the journal. Raises RemoteChanged where another one came."""
        if not self.journal.append(value):
            raise _changed()

    def size_there(self, size: int) -> int:
        """Return what an object of *size* bytes takes in the bucket."""
        if self.key is None:
            return size
        from vfs.remote.sealing import sealed_size  # noqa: PLC0415 - an extra

        return sealed_size(size)

    def seal(self, builder: PackBuilder) -> SealedPack:
        """Compress a pack and write it, which nobody sees yet. Meant for pool threads.

        Returns it without its bytes.
        """
        pack = builder.seal(self._salt)
        is_new = self.bucket.put(pack_name(pack.id), pack.body)
        return pack._replace(body=b"", stored=len(pack.body), is_new=is_new)

    def publish(self, pack: SealedPack) -> None:
        """Write the index of a pack that was written, which makes its objects count.

        Everything that its nodes name must count before: see docs/remote-format.md. Raises
        RemoteChanged.
        """
        # One that was there before may be on its way out.
        self.require_current(within=None if pack.is_new else 0)
        self.bucket.put(index_name(pack.id), pack.index_data)
        self.catalog.add(pack.id, pack.index_data)

    def __enter__(self) -> Self:
        self.workers.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.workers.__exit__(*exception)
        self.bucket.close()


def _now() -> float:
    """Return seconds that go on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _changed() -> RemoteChanged:
    return RemoteChanged("the remote was cleaned up meanwhile", hint="do the same again")
