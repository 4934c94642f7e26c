"""An open remote: its header, and what reads and writes all else."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from vfs.errors import NotFound, RemoteProblem
from vfs.remote.bucket import Bucket
from vfs.remote.catalog import Catalog, cache_directory
from vfs.remote.layout import (
    HEADER_NAME,
    JSON_MAX_BYTES,
    decode_header,
    encode_header,
    index_name,
    pack_name,
)
from vfs.remote.objects import RemoteObjects
from vfs.remote.pack import SealedPack
from vfs.remote.parallel import Workers
from vfs.remote.refs import RemoteRefs


class Remote:
    """A remote in a bucket. For one thread. A context manager, which closes the bucket."""

    def __init__(self, bucket: Bucket, uuid: str, store: Path | None) -> None:
        self.uuid = uuid
        self.workers = Workers()
        self.refs = RemoteRefs(bucket)
        cache = None if store is None else cache_directory(store, uuid)
        self.catalog = Catalog(bucket, cache)
        self.objects = RemoteObjects(bucket, self.catalog, self.workers)
        self._bucket = bucket

    @classmethod
    def connect(cls, bucket: Bucket, *, store: Path | None, make: bool = False) -> Remote:
        """Open the remote in *bucket*; with *make* one is made where there is none.

        *store*: the directory in which indexes are kept; None to keep none. Raises RemoteProblem.
        """
        try:
            header = bucket.get(HEADER_NAME, most=JSON_MAX_BYTES)
        except NotFound:
            if not make:
                raise RemoteProblem(
                    "there is no vfs remote", hint="the first push to it makes one"
                ) from None
            import uuid  # noqa: PLC0415 - 3 ms, and remotes are seldom made

            bucket.put(HEADER_NAME, encode_header(str(uuid.uuid4())))
            header = bucket.get(HEADER_NAME, most=JSON_MAX_BYTES)
        return cls(bucket, decode_header(header), store)

    def refresh(self) -> None:
        """Learn of the packs that others wrote. Raises RemoteProblem."""
        self.catalog.refresh(self.workers)

    def write_pack(self, pack: SealedPack) -> SealedPack:
        """Write a pack, which nobody sees yet. Meant for pool threads; returns what it got."""
        self._bucket.put(pack_name(pack.id), pack.body)
        return pack._replace(body=b"")

    def publish(self, pack: SealedPack) -> None:
        """Write the index of a pack that was written, which makes its objects count.

        Everything that its nodes name must count before: see docs/remote-format.md.
        """
        self._bucket.put(index_name(pack.id), pack.index_data)
        self.catalog.add(pack.id, pack.index_data)

    def __enter__(self) -> Self:
        self.workers.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.workers.__exit__(*exception)
        self._bucket.close()
