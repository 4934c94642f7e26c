"""The remotes that a store knows by name, and connecting to one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.errors import AlreadyExists, InvalidName, NotFound, RemoteProblem
from vfs.remote.bundle import NewBundle
from vfs.remote.layout import is_sealed
from vfs.remote.remote import Remote
from vfs.remote.unlocking import PLAIN, Lock, header_of
from vfs.remote.urls import check_url, is_bundle, open_bucket
from vfs.store.store import Store

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.keys import Ask

DEFAULT: Final = "origin"
_PREFIX: Final = "remote/"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """Where a remote is. `name` is "" for one that is used once."""

    name: str
    url: str  # or a bundle's file
    endpoint: str | None = None
    encrypted: bool = False  # a plain one is refused
    key_file: str | None = None  # its path; never what is in it
    ask: Ask | None = None  # gives the secret of an encrypted one; None: there is nobody to ask

    @property
    def lock(self) -> Lock:
        """How it is opened."""
        return Lock(self.ask or PLAIN.ask, self.encrypted)


def add_remote(
    store: Store,
    name: str,
    url: str,
    endpoint: str | None = None,
    *,
    encrypted: bool = False,
    key_file: str | None = None,
) -> RemotePlace:
    """Give a remote a name. One that is to be *encrypted* is made so, and else refused.

    Raises InvalidName, InvalidInput, AlreadyExists.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"'{name}' can't name a remote", hint="letters, digits, '.', '_' and '-' are allowed"
        )
    place = RemotePlace(name, check_url(url), endpoint, encrypted or bool(key_file), key_file)
    value: dict[str, str | bool] = {"url": url}
    value |= {"endpoint": check_endpoint(endpoint)} if endpoint else {}
    value |= {"encrypted": True} if place.encrypted else {}
    value |= {"key_file": key_file} if key_file else {}
    if not store.settings.add(_PREFIX + name, value):
        raise AlreadyExists(f"there is a remote '{name}' already", hint=f"vfs remote remove {name}")
    return place


def check_endpoint(endpoint: str) -> str:
    """Return the address of a service that is to be asked. Raises InvalidName."""
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", endpoint):
        raise InvalidName(
            "this is no endpoint", hint="as in http://127.0.0.1:9000, without credentials"
        )
    return endpoint


def remove_remote(store: Store, name: str) -> None:
    """Forget a remote and what was seen of it; nothing changes there. Raises NotFound."""
    find_remote(store, name)
    store.tracking.forget(name)
    store.settings.delete(_PREFIX + name)


def remote_places(store: Store) -> list[RemotePlace]:
    """Return the remotes that have a name, by name. Raises CorruptObject."""
    return [
        RemotePlace(
            name.removeprefix(_PREFIX),
            str(value.get("url")),
            value.get("endpoint"),
            value.get("encrypted") is True,
            value.get("key_file"),
        )
        for name, value in store.settings.items(_PREFIX)
    ]


def find_remote(store: Store, where: str | None) -> RemotePlace:
    """Return what *where* stands for: a remote's name, a URL, or a bundle's file.

    Without it the remote `origin`, or the only one. Raises NotFound, InvalidInput.
    """
    if where is not None and ("://" in where or is_bundle(where)):
        return RemotePlace("", where if is_bundle(where) else check_url(where))
    known = {place.name: place for place in remote_places(store)}
    if where is None and len(known) == 1:
        return next(iter(known.values()))
    found = known.get(where or DEFAULT)
    if found is None:
        there = ", ".join(known)
        raise NotFound(
            f"there is no remote '{where or DEFAULT}'",
            hint=f"there are: {there}" if there else "vfs remote add origin URL",
        )
    return found


@contextmanager
def connected(store: Store, place: RemotePlace, *, write: bool = False) -> Iterator[Remote]:
    """Open a remote for a with statement; one that is written to is made where there is none.

    A bundle is written as a whole: it appears at the end of the block.
    """
    if write and is_bundle(place.url):
        with (
            closing(NewBundle(Path(place.url))) as bundle,
            Remote.connect(bundle, store=None, make=True, lock=place.lock) as remote,
        ):
            yield remote
            bundle.finish()
        return
    keeps = not is_bundle(place.url) and os.access(store.path, os.W_OK)
    with _opened(place, keep=store.path if keeps else None, make=write) as remote:
        if place.name:
            _recognise(store, place, remote)
        yield remote


def change_secret(place: RemotePlace, ask_new: Ask) -> None:
    """Have another secret open an encrypted remote. Raises RemoteProblem, NotFastForward."""
    from vfs.remote import keys  # noqa: PLC0415 - an extra, and 30 ms

    bucket = open_bucket(place.url, place.endpoint)
    with closing(bucket):
        if not is_sealed(header_of(bucket) or b"{}"):
            raise RemoteProblem(f"the remote '{place.name or place.url}' is not encrypted")
        keys.change_secret(bucket, place.lock.ask, ask_new)


def _recognise(store: Store, place: RemotePlace, remote: Remote) -> None:
    """Refuse another remote than was there before; note which it is, and what opens it.

    Raises RemoteProblem.
    """
    value = store.settings.get(_PREFIX + place.name) or {}
    if value.get("uuid", remote.uuid) != remote.uuid:
        raise RemoteProblem(
            f"another remote is at {place.url} than before",
            hint=f"if it is the right one: vfs remote remove {place.name}, then add it again",
        )
    known = value | {"uuid": remote.uuid}
    if remote.key is not None:
        known |= {"encrypted": True} | ({"key_file": place.key_file} if place.key_file else {})
    if known != value and not store.readonly:
        store.settings.put(_PREFIX + place.name, known)


def adopt(store: Store, place: RemotePlace, remote: Remote) -> None:
    """Have a store know a remote by the name of *place*, wherever it was before.

    Raises RemoteProblem where the name is another remote's.
    """
    value = store.settings.get(_PREFIX + place.name) or {}
    value.pop("endpoint", None)
    value |= {"url": place.url} | ({"endpoint": place.endpoint} if place.endpoint else {})
    store.settings.put(_PREFIX + place.name, value)
    _recognise(store, place, remote)


def note_key_file(store: Store, name: str, key_file: str | None) -> None:
    """Note what a remote that has a name is opened with from now on; None: a passphrase."""
    value = store.settings.get(_PREFIX + name)
    if value is not None:
        value = {key: item for key, item in value.items() if key != "key_file"}
        value |= {"encrypted": True} | ({"key_file": key_file} if key_file else {})
        store.settings.put(_PREFIX + name, value)


def _opened(place: RemotePlace, *, keep: Path | None, make: bool) -> Remote:
    bucket = open_bucket(place.url, place.endpoint)
    try:
        return Remote.connect(bucket, store=keep, make=make, lock=place.lock)
    except BaseException:
        bucket.close()
        raise


class RemoteSource:
    """A remote, to repair a store from (see `vfs.repo.repair`)."""

    def __init__(self, name: str, remote: Remote) -> None:
        self.name = name
        self._remote = remote

    def get(self, oid: ObjectId) -> bytes | None:
        """Return an object, verified; None where it can't be had. Raises RemoteUnavailable."""
        try:
            return self._remote.objects.get(oid)
        except RemoteProblem:
            return None


@contextmanager
def repair_source(
    store: Path, where: str, unlock: Callable[[RemotePlace], RemotePlace] = lambda place: place
) -> Iterator[RemoteSource]:
    """Open a remote, by its name in the store at *store* or its URL, to repair that store from.

    *unlock* gives it what opens it, if it is encrypted. The store is closed meanwhile. Raises
    NotFound, InvalidInput, RemoteProblem.
    """
    if "://" in where or is_bundle(where):
        place = RemotePlace("", where if is_bundle(where) else check_url(where))
    else:
        with Store.open(store, readonly=True) as own:
            place = find_remote(own, where)
    with _opened(unlock(place), keep=None, make=False) as remote:
        remote.refresh()
        yield RemoteSource(where, remote)
