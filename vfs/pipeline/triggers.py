"""How pipelines stand: which are due, which wait for what. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vfs.errors import InvalidInput, NotADirectory, NotFound
from vfs.ids import NO_CONTENT, ObjectId
from vfs.pipeline import records
from vfs.pipeline.chain import upstream
from vfs.pipeline.plan import (
    code_hashes,
    commits_of,
    is_current,
    last_output,
    resolve_inputs,
    transform_id,
)
from vfs.repo.history import history
from vfs.repo.treediff import all_pairs

if TYPE_CHECKING:
    from vfs.pipeline.records import Known
    from vfs.pipeline.spec import Trigger
    from vfs.repo.repository import Repository
    from vfs.run.inputs import Input

Standing = Literal["current", "due", "behind", "waiting", "failed", "stopped", "no input"]
"""Of these: behind, as one before it has to go first; waiting, as its trigger wants more."""


def standings(repo: Repository, store: Path, now_s: float) -> dict[str, Standing]:
    """Return how all pipelines stand, by name."""
    pipelines = records.all_known(repo)
    found = {one.spec.name: _standing(repo, store, one, now_s) for one in pipelines}
    before = upstream([one.spec for one in pipelines])
    for name, others in before.items():
        held_up = any(found[one] in ("due", "failed") for one in others)
        if found[name] in ("due", "waiting") and held_up:
            found[name] = "behind"
    return found


def _standing(repo: Repository, store: Path, one: Known, now_s: float) -> Standing:
    if one.stopped:
        return "stopped"
    spec = one.spec
    try:
        sources = resolve_inputs(repo, spec)
        spec_id = transform_id(spec, code_hashes(spec))
    except (NotFound, NotADirectory):
        return "no input"
    except InvalidInput:  # its code is gone
        return "failed"
    if is_current(repo, spec, sources, spec_id):
        return "current"
    last = next(iter(records.jobs(store, spec.name)), None)
    inputs = commits_of(sources)
    if last and last.state == "failure" and (last.inputs, last.spec) == (inputs, spec_id):
        return "failed"
    facts = last_output(repo, spec)
    if facts is None or facts.provenance["spec_id"] != spec_id:
        return "due"
    then: Any = facts.provenance["inputs"]
    since = facts.time_ns / 1e9
    return "due" if _pulled(repo, spec.trigger, then, sources, since, now_s) else "waiting"


def _pulled(
    repo: Repository,
    trigger: Trigger,
    then: Sequence[Mapping[str, Any]],
    sources: Sequence[Input],
    since_s: float,
    now_s: float,
) -> bool:
    """Say whether enough has come since a job at *since_s*."""
    old = {facts["name"]: ObjectId(bytes.fromhex(facts["commit"])) for facts in then}
    moved = [one for one in sources if old.get(one.wanted.name) != one.commit]
    found = []
    if trigger.commits:
        count = max((_commits(repo, old.get(x.wanted.name), x.commit, trigger.commits)
                     for x in moved), default=0)  # fmt: skip
        found.append(count >= trigger.commits)
    if trigger.size:
        size = sum(_new_bytes(repo, old.get(one.wanted.name), one.commit) for one in moved)
        found.append(size >= trigger.size)
    if trigger.cron is not None:
        due = trigger.cron.next(since_s)
        found.append(due is not None and due <= now_s)
    if not found:
        return True
    return all(found) if trigger.every else any(found)


def _commits(repo: Repository, old: ObjectId | None, new: ObjectId, most: int) -> int:
    """Return how many versions came since, up to *most*."""
    count = 0
    for version in history(repo, new):
        if version.id == old or count >= most:
            break
        count += 1
    return count


def _new_bytes(repo: Repository, old: ObjectId | None, new: ObjectId) -> int:
    """Return the bytes of files whose content is new or changed since; times don't count."""
    before = NO_CONTENT
    if old is not None and repo.is_whole(old):
        before = repo.commit(old).root.content
    pairs = all_pairs(repo.nodes, before, repo.commit(new).root.content)
    return sum(
        now.size
        for _, then, now in pairs
        if now is not None and (then is None or then.content != now.content)
    )
