"""A repair: check, mend what can be mended, and check again, as often as that finds more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.clock import now_ns
from vfs.repo import identity
from vfs.repo.fsck import Damage, Report, check_store
from vfs.repo.gc.lock import collecting
from vfs.repo.repair.numbers import repair_numbers
from vfs.repo.repair.objects import drop_malformed, repair_objects
from vfs.repo.repair.refs import repair_references
from vfs.repo.repair.sources import Source, open_source
from vfs.repo.stages import OnStage
from vfs.store.store import Store

if TYPE_CHECKING:
    from vfs.model.canonical import JSON

DONE_NOTED: Final = 100  # lines that one line of the audit record names
ROUNDS_MAX: Final = 100
"""A directory that is there again may show that others below it are missing: a round a level."""


@dataclass(slots=True)
class Repair:
    """What a repair did, and what is left."""

    done: list[str] = field(default_factory=list)
    """What was mended, or with a dry run what would be; a line each."""

    report: Report = field(default_factory=Report)  # of the last check


def repair_store(
    path: Path,
    copies: Sequence[Path],
    others: Sequence[Source] = (),
    *,
    dry_run: bool = False,
    on_stage: OnStage | None = None,
) -> Repair:
    """Mend what is damaged in the store at *path*, from itself, from *copies* and from *others*.

    A copy is a store, or a backup of one. What can't be proved to be right is left as it is. Where
    LMDB's own pages are damaged, nothing is changed.

    Raises StoreError when there is no store, InvalidInput for a copy that is none, Conflict while
    another process removes objects.
    """
    with ExitStack() as alone:
        if not dry_run and (path / "data.mdb").is_file():
            alone.enter_context(collecting(path))
        sources = [*(alone.enter_context(open_source(copy, path)) for copy in copies), *others]
        return _repair(path, sources, dry_run=dry_run, on_stage=on_stage)


def _repair(
    path: Path, sources: Sequence[Source], *, dry_run: bool, on_stage: OnStage | None
) -> Repair:
    repair = Repair()
    before: list[Damage] = []
    for _ in range(1 if dry_run else ROUNDS_MAX):
        repair.report = report = check_store(path, data=True, on_stage=on_stage)
        kinds = {damage.kind for damage in report.damages}
        if report.is_clean or "lmdb" in kinds or report.damages == before:
            break
        before = report.damages
        with Store.open(path) as store:
            done = drop_malformed(store, dry_run=dry_run)
            done += repair_references(store, dry_run=dry_run)
            done += repair_objects(store, report.damages, sources, dry_run=dry_run)
            if kinds & {"number", "table"}:
                done += repair_numbers(store, dry_run=dry_run)
            if done and not dry_run:
                _note(store, done)
        repair.done += done
        if not done:
            break
    return repair


def _note(store: Store, done: list[str]) -> None:
    """Add what was mended to the audit record."""
    facts: dict[str, JSON] = {"count": len(done), "done": tuple(done[:DONE_NOTED])}
    time_ns, who = now_ns(), identity.who()
    store.change(lambda txn: store.audit.append_in(txn, "repair", facts, time_ns=time_ns, who=who))
