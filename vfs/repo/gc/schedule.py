"""Collecting garbage now and then, without being asked: as often as the store's settings say."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from vfs.clock import NS, now_ns
from vfs.errors import Conflict, StoreError
from vfs.repo.gc.collect import KEEP_S, LAST, Collection, collect
from vfs.store.store import Store

log = logging.getLogger(__name__)

PERIODS: Final = {"daily": 86_400, "weekly": 7 * 86_400}  # seconds
_SETTING: Final = "gc.auto"


def set_schedule(store: Store, period: str | None, keep_s: int = KEEP_S) -> None:
    """Have mounts collect garbage each *period*, a key of PERIODS; None: never."""
    if period is None:
        store.settings.delete(_SETTING)
    else:
        store.settings.put(_SETTING, {"period": period, "keep_s": keep_s})


def schedule(store: Store) -> tuple[str, int] | None:
    """Return the period, and for how many seconds logs are kept. Raises VfsError."""
    row = store.settings.get(_SETTING)
    if row is None:
        return None
    period, keep_s = row.get("period"), row.get("keep_s")
    if period not in PERIODS or type(keep_s) is not int or keep_s < 0:
        raise StoreError(
            "the setting 'gc.auto' is damaged, or of a later vfs", hint="vfs gc --auto daily"
        )
    return period, keep_s


def is_due(store: Store) -> bool:
    """Say whether it is time. Where a collection failed, it is tried again after the same while."""
    wanted = schedule(store)
    if wanted is None:
        return False
    begun = (store.settings.get(LAST) or {}).get("begun_ns")
    return type(begun) is not int or not 0 <= now_ns() - begun < PERIODS[wanted[0]] * NS


def collect_if_due(path: Path) -> None:
    """Collect garbage if it is still time; tell the log. Raises VfsError."""
    with Store.open(path) as store:
        wanted = schedule(store)
        if wanted is None or not is_due(store):
            return
        log.info("collecting garbage")
        try:
            report = collect(store, Collection(keep_s=wanted[1]))
        except Conflict as error:
            log.info("garbage is not collected now: %s", error)
            return
        log.info("collected %d objects, %d bytes", report.objects, report.stored_bytes)
