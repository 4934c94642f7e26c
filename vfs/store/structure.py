"""Checking LMDB's own pages of a store, before anything is read through LMDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vfs.store.environment import Environment
from vfs.store.pages import Walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfs.store.pages import OnProgress


def check_pages(
    path: Path, *, on_damage: Callable[[str], None], on_progress: OnProgress | None = None
) -> int:
    """Check every page of the store in *path*, as it is now; return how many are in use.

    *on_damage* gets a line for each page that is damaged, with the table that it is of. The store
    may be written to meanwhile. Raises StoreError where even the meta pages are damaged; OSError.
    """
    env = Environment(path, readonly=True)
    try:
        with env.pinned() as (file, snapshot):
            walk = Walk(file, snapshot, on_damage=on_damage, on_progress=on_progress)
            walk.run()
            return walk.live.count(1)
    finally:
        env.close()
