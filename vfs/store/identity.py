"""What makes a directory a store: its format, who it is, and its secret, in the table `meta`."""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from vfs.errors import AlreadyExists, StoreError
from vfs.store.environment import Environment

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.store.environment import Txn

FORMAT: Final = 1

PROMISED: Final = "promised"
"""Names, in `meta` and in `settings`, a store that lacks what a remote has, and that remote."""

_MAGIC: Final = b"vfs store"
_FORMAT: Final = struct.Struct("<I")
_UUID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_UUID_PARTS: Final = tuple(pairwise((0, 4, 6, 8, 10, _UUID_BYTES)))


class Identity(NamedTuple):
    """Who a store is."""

    number: bytes  # a UUID
    secret: bytes  # of which inode numbers are made

    @classmethod
    def new(cls) -> Self:
        """Return that of a store that nobody has seen yet."""
        import uuid  # noqa: PLC0415 - 3 ms, and most commands make no store

        return cls(uuid.uuid4().bytes, os.urandom(_SECRET_BYTES))

    @property
    def uuid(self) -> str:
        """The number as people write it."""
        return "-".join(self.number[a:b].hex() for a, b in _UUID_PARTS)


def put_identity(env: Environment, identity: Identity) -> None:
    """Make a store of an environment with its tables. Raises AlreadyExists."""

    def change(txn: Txn) -> None:
        meta = env.tables["meta"]
        form = _MAGIC + _FORMAT.pack(FORMAT)
        if not txn.put(b"format", form, overwrite=False, db=meta):
            raise AlreadyExists(f"there is a store at {env.path} already")
        txn.put(b"uuid", identity.number, db=meta)
        txn.put(b"secret", identity.secret, db=meta)

    env.write(change)


def read_identity(env: Environment) -> Identity:
    """Return who a store is. Raises StoreError where it is none, or of a format not known here."""
    path = env.path
    with env.read() as txn:
        meta = env.tables["meta"]
        form, number, secret = (
            bytes(txn.get(key, db=meta) or b"") for key in (b"format", b"uuid", b"secret")
        )
    if not form.startswith(_MAGIC) or len(form) != len(_MAGIC) + _FORMAT.size:
        raise StoreError(f"{path} holds LMDB data, but no vfs store", hint="give another --store")
    (version,) = _FORMAT.unpack(form[len(_MAGIC) :])
    if version != FORMAT:
        raise StoreError(
            f"the store {path} is of format {version}; this vfs reads format {FORMAT}",
            hint="install a vfs that reads it" if version > FORMAT else "",
        )
    if len(number) != _UUID_BYTES or len(secret) != _SECRET_BYTES:
        raise StoreError(f"the store {path} is damaged: its identity is gone")
    return Identity(number, secret)


def is_promised(env: Environment) -> bool:
    """Say whether a store may lack what a remote has."""
    # In a table that was checked: each command asks, whatever else may be damaged.
    with env.read() as txn:
        return txn.get(PROMISED.encode(), db=env.tables["meta"]) is not None


def is_free(directory: Path) -> bool:
    """Say whether a store can be made in a directory: nothing of anybody's is in it."""
    names = {item.name for item in directory.iterdir()} - {"lost+found"}
    if not names <= {"data.mdb", "lock.mdb"}:
        return False
    if "data.mdb" not in names or not (directory / "data.mdb").stat().st_size:
        return True
    try:
        env = Environment(directory, readonly=True)
    except StoreError:
        return False
    try:
        return env.is_blank()
    finally:
        env.close()
