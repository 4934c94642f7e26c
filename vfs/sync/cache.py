"""The cache of a remote: a store that shows the remote's branches and tags, and fills on demand.

Its own branches may be ahead of the remote's (`vfs.sync.following`); what only they have is marked
(`vfs.store.unpushed`). The remote goes by the name `origin`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vfs.errors import AlreadyExists, StoreError
from vfs.ids import object_id
from vfs.remote.remote import Remote
from vfs.remote.urls import open_bucket
from vfs.repo.repository import Repository
from vfs.store.identity import PROMISED
from vfs.store.pruned import Pruned
from vfs.store.store import Store
from vfs.sync.fetch import Wanted, known_data_sets, ref_heads
from vfs.sync.following import follow
from vfs.sync.ondemand import LIMIT_BYTES, OnDemand, Patience, Source
from vfs.sync.push import tracked
from vfs.sync.readahead import ReadAhead
from vfs.sync.remotes import DEFAULT, RemotePlace, adopt
from vfs.sync.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfs.remote.bucket import Bucket
    from vfs.remote.secrets import MasterKey
    from vfs.sync.hints import Hints


def default_cache(url: str) -> Path:
    """Return where the cache of the remote at *url* is when nobody says otherwise."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "vfs" / object_id(url.encode()).hex()[:16]


def open_cache(
    path: Path, patience: Patience, open_source: Callable[[Source], Bucket] = Source.bucket
) -> Repository:
    """Open a cache; what is read through it is fetched. Not to be held over a fork.

    *open_source* is called when it is needed. Raises StoreError where there is no cache.
    """
    store = Store.open(path, partial=True)
    try:
        store.bring = OnDemand(store, _source(store, patience), patience, open_source)
        return Repository(store)
    except BaseException:
        store.close()
        raise


def fetch_ahead(path: Path, patience: Patience, hints: Hints, ready: Callable[[], None]) -> None:
    """Fetch into a cache what *hints* tell of, until this process is ended, whenever that is.

    Calls *ready* when it listens. Raises StoreError where there is no cache.
    """
    with Store.open(path, partial=True) as store:
        source = _source(store, patience)
        ahead = ReadAhead(Windows(store, source.uuid, source.limit, source.bucket))
        ready()
        for ids, waiting in hints.heard():
            ahead.expect(ids, waiting)


def make_cache(path: Path, place: RemotePlace, limit: int | None = None) -> MasterKey | None:
    """See to it that *path* is a cache of the remote at *place*, of at most *limit* bytes.

    Returns the key of an encrypted remote. Without a limit it keeps the one it has; a new one gets
    LIMIT_BYTES, or half of what is free. Raises RemoteProblem, RemoteUnavailable, and StoreError
    where something else is.
    """
    bucket = open_bucket(place.url, place.endpoint)
    with Remote.connect(bucket, store=None, lock=place.lock) as remote:
        uuid, key = remote.uuid, remote.key
    with suppress(AlreadyExists):
        Store.create(path).close()
    with Store.open(path, partial=True) as store:
        value: dict[str, str | int] = {"url": place.url, "uuid": uuid}
        value |= {"endpoint": place.endpoint} if place.endpoint else {}
        there = store.settings.get(PROMISED)
        value["limit"] = limit or (there or {}).get("limit") or _default_limit(store)
        if there is not None and there.get("uuid") == uuid:
            store.promise(value)  # the same remote, perhaps by another way
        elif there is not None:
            raise StoreError(f"{path} is the cache of another remote", hint="give another --cache")
        elif store.refs.data_sets():
            raise StoreError(f"{path} is a store of its own", hint="give another --cache")
        else:
            store.promise(value)
        adopt(store, replace(place, name=DEFAULT), remote)
    return key


def refresh_cache(path: Path, patience: Patience, data_set: str | None = None) -> None:
    """Have a cache show the branches and tags that its remote has now; of one data set, or of all.

    Branches with versions or changes of their own stay (`vfs.sync.following`). Raises NotFound for
    a data set that is not there, RemoteProblem, RemoteUnavailable.
    """
    with open_cache(path, patience) as repo:
        source = _source(repo.store, patience)
        with Remote(source.bucket(), source.uuid, path) as remote:
            remote.refresh()  # before the workers of a mount ask for indexes one by one
            names = known_data_sets(repo, remote, DEFAULT) if data_set is None else [data_set]
            heads = ref_heads(repo, remote, DEFAULT, [Wanted(name) for name in names])
            _note_pruned(repo.store, remote)
        for name in names:
            follow(repo, name, [head for head in heads if head.data_set == name])
        repo.store.tracking.record([tracked(DEFAULT, head) for head in heads])


def _note_pruned(store: Store, remote: Remote) -> None:
    """Have the cache know which versions lost their content on the remote, and why."""
    there = {oid: Pruned(why.time_ns, why.text) for oid, why in remote.journal.state.pruned.items()}
    changed = {oid: why for oid, why in there.items() if store.pruned.get(oid) != why}
    gone = [(oid, None) for oid in store.pruned.all() if oid not in there]
    store.pruned.put_all([*changed.items(), *gone])


def _source(store: Store, patience: Patience) -> Source:
    value = store.settings.get(PROMISED)
    if value is None:
        raise StoreError(f"{store.path} is no cache of a remote", hint="give another --cache")
    limit = value.get("limit")
    return Source(
        str(value.get("url")),
        value.get("endpoint"),
        str(value.get("uuid")),
        limit if isinstance(limit, int) else LIMIT_BYTES,
        patience.key,
    )


def _default_limit(store: Store) -> int:
    _, _, available = store.free_bytes()
    return min(LIMIT_BYTES, available // 2)
