"""Doing an erase, from its line in the audit record to the last byte; and finishing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vfs.clock import now_ns
from vfs.errors import Conflict
from vfs.repo import identity
from vfs.repo.blobs import Content as FileContent
from vfs.repo.blobs import FileReader
from vfs.repo.erasing.plan import OnProgress, Plan, make_plan
from vfs.repo.erasing.query import Query, Shared
from vfs.repo.gc.lock import collecting
from vfs.repo.importer.index import forget_all

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.canonical import JSON
    from vfs.repo.erasing.versions import Branch
    from vfs.repo.repository import Repository

TRIES: Final = 50
_RESUME: Final = "finish it with: vfs erase --resume"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an erase did."""

    number: int  # of its line in the audit record
    plan: Plan
    damaged: list[ObjectId]  # objects that are not where they should be: nothing was overwritten


def check(plan: Plan, is_served: Callable[[Branch], bool]) -> None:
    """Raise Conflict when a plan can't be carried out as things are. Nothing is changed."""
    if plan.query.shared == "refuse" and plan.kept:
        count = len(plan.kept)
        raise Conflict(
            f"other files have bytes of {'one' if count == 1 else f'{count:,}'} of the contents, "
            "too: nothing was erased",
            hint="--shared keep leaves these bytes, --shared erase takes them from all files",
        )
    for branch in plan.branches:
        if is_served(branch):
            raise Conflict(
                f"'{branch.label}' is mounted, and holds pages of what is to be erased",
                hint="unmount it, and try again",
            )
        if branch.dirty:
            raise _not_committed(branch)


def _not_committed(branch: Branch) -> Conflict:
    return Conflict(
        f"'{branch.label}' holds pages of what is to be erased that are not committed",
        hint=f"vfs commit {branch.label}, or vfs discard {branch.label}, and try again",
    )


def carry_out(
    repo: Repository, plan: Plan, on_progress: OnProgress, *, scrub: bool = True
) -> Outcome:
    """Erase.

    What comes to the store meanwhile is looked at before anything is erased that it may need.
    Killed at any moment, it can be gone on with (`resume`). Without *scrub* the bytes stay on the
    disk, in pages that are free, until something else is written there. Raises Conflict, StoreFull.
    """
    with collecting(repo.store.path):
        facts, who = plan.query.facts(), identity.who()
        number = repo.store.erasures.begin(facts, time_ns=now_ns(), who=who)
        return _carry_out(repo, plan, on_progress, number, scrub=scrub)


def _carry_out(
    repo: Repository, plan: Plan, on_progress: OnProgress, number: int, *, scrub: bool
) -> Outcome:
    erasures = repo.store.erasures
    plan = _mark(repo, plan, number, on_progress)
    for branch in plan.branches:
        if not repo.store.overlays.renew(branch.data_set, branch.name):
            raise _not_committed(branch)
    repo.store.overlays.sweep()
    forget_all(repo.store.path)
    done = 0

    def overwritten(count: int) -> None:
        nonlocal done
        done += count
        on_progress("objects overwritten", done)

    damaged = repo.store.overwrite_erased(overwritten)
    if scrub:
        repo.store.scrub(on_progress=lambda pages, _: on_progress("pages scrubbed", pages))
    facts: dict[str, JSON] = {
        "begun": number,
        "bytes": plan.bytes,
        "contents": len(plan.contents),
        "data_set": plan.query.data_set,
        "damaged": [oid.hex() for oid in damaged],
        "kept_bytes": sum(content.kept_bytes for content in plan.contents),
        "reason": plan.query.reason,
        "scrubbed": scrub,
    }
    erasures.end(number, facts, time_ns=now_ns(), who=identity.who())
    return Outcome(number, plan, damaged)


def _mark(repo: Repository, plan: Plan, number: int, on_progress: OnProgress) -> Plan:
    """Put all tombstones; return the plan that they are of."""
    shared: Shared = "erase" if plan.query.shared == "erase" else "keep"
    for _ in range(TRIES):
        try:
            repo.store.erasures.mark(number, plan.doomed, plan.moment)
            return plan
        except Conflict:  # somebody may need some of it now
            plan = make_plan(repo, replace(plan.query, shared=shared), on_progress)
    raise Conflict("versions come too fast to erase anything", hint=_RESUME)


def gone_at(repo: Repository, plan: Plan) -> dict[ObjectId, list[int]]:
    """Return for each content at which offsets (bytes) it has lost some: where chunks begin."""
    files, doomed = FileReader(repo.reader), set(plan.doomed)
    found = {}
    for one in plan.contents:
        file = FileContent(one.oid, one.flags, one.size, 0)
        spans = files.spans_within(file, 0, one.size)
        found[one.oid] = [at for at, span in spans if span.content in doomed]
    return found


def resume(repo: Repository, on_progress: OnProgress, *, scrub: bool = True) -> Outcome | None:
    """Finish the erase that was begun and not ended; None where there is none.

    Raises Conflict, as while another process is at it, and StoreFull.
    """
    with collecting(repo.store.path):
        unfinished = repo.store.erasures.unfinished()
        if unfinished is None:
            return None
        number, line = unfinished
        plan = make_plan(repo, Query.of_facts(line.facts), on_progress)
        return _carry_out(repo, plan, on_progress, number, scrub=scrub)
