"""How commands open the store, or the cache of a remote, that they are to work in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.remote.bucket import Bucket
    from vfs.repo.repository import Repository
    from vfs.store.store import Store
    from vfs.sync.ondemand import Source


def open_repository(store: Path, *, readonly: bool = False) -> Repository:
    """Open a store, or the cache of a remote, which fetches what is read. Raises StoreError."""
    from vfs.repo.repository import Repository
    from vfs.store.store import Store

    opened = Store.open(store, readonly=readonly, partial=True)
    if not opened.is_promised:
        return Repository(opened)
    opened.close()
    from vfs.sync.cache import open_cache
    from vfs.sync.ondemand import Patience

    def open_source(source: Source) -> Bucket:
        return _unlocked(source, repo.store)

    repo = open_cache(store, Patience(), open_source)
    return repo


def _unlocked(source: Source, cache: Store) -> Bucket:
    """Return a cache's remote, opened with its secret if it is encrypted. Raises RemoteProblem."""
    from vfs.sync.remotes import DEFAULT, find_remote

    place = find_remote(cache, DEFAULT)
    if not place.encrypted:
        return source.bucket()
    from vfs.cli.secrets import unlockable
    from vfs.remote.remote import Remote
    from vfs.remote.urls import open_bucket

    lock = unlockable(place).lock
    return Remote.connect(open_bucket(place.url, place.endpoint), store=None, lock=lock).bucket
