"""Coming to what lies behind the clear header of an encrypted remote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vfs.errors import NotFound, RemoteProblem
from vfs.remote.bucket import Bucket, get_decoded
from vfs.remote.layout import (
    HEADER_NAME,
    JSON_MAX_BYTES,
    SEALED_FORMAT,
    decode_header,
    encode_header,
    encode_json,
    is_sealed,
)

if TYPE_CHECKING:
    from vfs.remote.keys import Ask
    from vfs.remote.sealed import SealedBucket
    from vfs.remote.secrets import Kind, MasterKey, Secret


@dataclass(frozen=True, slots=True)
class Lock:
    """How a remote is opened if it is encrypted, and whether it has to be."""

    ask: Ask
    required: bool = False  # a new one is made encrypted, and one that is not is refused


def _nobody(kind: Kind | None) -> Secret:
    raise RemoteProblem(f"the remote is encrypted, and its {kind or 'secret'} was not given")


PLAIN: Final = Lock(_nobody)


def header_of(bucket: Bucket) -> bytes | None:
    """Return a bucket's header, or None. Raises RemoteProblem."""

    def checked(data: bytes) -> bytes:
        if not is_sealed(data):
            decode_header(data)
        return data

    try:
        return get_decoded(bucket, HEADER_NAME, checked, most=JSON_MAX_BYTES)
    except NotFound:
        return None


def unlocked(bucket: Bucket, master: MasterKey | None) -> Bucket:
    """Return what lies behind a bucket, for whoever has its key already; it may have none."""
    if master is None:
        return bucket
    from vfs.remote.sealed import SealedBucket  # noqa: PLC0415 - an extra, and 30 ms

    return SealedBucket(bucket, master)


def open_sealed(bucket: Bucket, lock: Lock) -> SealedBucket:
    """Return what lies behind an encrypted bucket. Raises RemoteProblem."""
    with _needing_cryptography():
        from vfs.remote.keys import open_keys  # noqa: PLC0415 - an extra, and 30 ms
        from vfs.remote.sealed import SealedBucket  # noqa: PLC0415
    return SealedBucket(bucket, open_keys(bucket, lock.ask))


def make_sealed(bucket: Bucket, lock: Lock) -> SealedBucket:
    """Make an encrypted remote where there is none: whole once the clear header shows.

    Who makes one at the same time, or goes on after a kill, takes the keys that are there.
    """
    import uuid  # noqa: PLC0415 - 3 ms, and remotes are seldom made

    with _needing_cryptography():
        from vfs.remote.keys import make_keys  # noqa: PLC0415 - as above
        from vfs.remote.sealed import SealedBucket  # noqa: PLC0415
    made = SealedBucket(bucket, make_keys(bucket, lock.ask))
    made.put(HEADER_NAME, encode_header(str(uuid.uuid4())))
    bucket.put(HEADER_NAME, encode_json({"format": SEALED_FORMAT, "kind": "vfs remote"}))
    if not is_sealed(bucket.get(HEADER_NAME, most=JSON_MAX_BYTES)):
        raise RemoteProblem("somebody else just made a remote there, and not an encrypted one")
    return made


@contextmanager
def _needing_cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise RemoteProblem(
            "an encrypted remote needs the package cryptography, which is not installed",
            hint="pip install 'vfs[crypt]'",
        ) from None
