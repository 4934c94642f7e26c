"""What a job has to run, and what it takes over from those before it. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from vfs.errors import Conflict, InvalidInput
from vfs.ids import ObjectId
from vfs.model.canonical import encode_json
from vfs.model.names import Target, datums_branch
from vfs.pipeline import table
from vfs.pipeline.datums import Datum, changed_datums, make_datums
from vfs.run.inputs import Input, Wanted, resolve
from vfs.run.record import PIPELINE_KIND

if TYPE_CHECKING:
    from vfs.model.commit import JSON, Commit
    from vfs.model.entry import Entry
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class Before:
    """The last output of a pipeline."""

    tree: ObjectId
    table: Entry  # of the datums in it
    total: int  # of these
    spec_id: str
    input: Any  # as in its specification
    commits: Mapping[str, str]  # the inputs, by their names


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job comes to."""

    sources: tuple[Input, ...]
    code: Mapping[str, str]  # BLAKE3 of files, by name
    spec_id: str
    total: int  # datums
    to_run: Sequence[Datum]  # whose command has to run
    new: Collection[str]  # that the output before has not
    gone: Collection[str]  # that it has, and this one will not have
    before: Before | None

    @property
    def cause(self) -> Input:
        """Return the newest input: what it was caused by, the job was caused by."""
        return max(self.sources, key=lambda source: (source.time_ns, source.wanted.name))

    def is_now(self, datum: str, *, was: bool) -> bool:
        """Say whether a datum is one; *was*: whether the output before has it."""
        return datum not in self.gone if was else datum in self.new


@dataclass(frozen=True, slots=True)
class Change:
    """What a job does to the table of datums, and to the output. Trees by the ids of datums."""

    stale: set[str]  # in the table, and none any more
    gone: Mapping[str, ObjectId]
    new: Mapping[str, ObjectId]


def resolve_inputs(repo: Repository, spec: Spec) -> tuple[Input, ...]:
    """Return the versions that a pipeline's inputs are at. Raises NotFound."""
    return tuple(
        resolve(repo, Wanted(atom.name, Target(atom.data_set, atom.branch)))
        for atom in spec.atoms()
    )


def make_plan(repo: Repository, spec: Spec, *, again: bool = False, whole: bool = False) -> Plan:
    """Return what has to be done now; *again*: to run everything. Raises NotFound.

    Where that is enough, only what differs between the inputs and those of the output before is
    looked at; never with *whole*.
    """
    sources = resolve_inputs(repo, spec)
    code = code_hashes(spec)
    last = before(repo, spec)
    one = _Planning(repo, spec, sources, transform_id(spec, code), last)
    found = None if again or whole else one.difference()
    return Plan(sources, code, one.spec_id, *(found or one.whole(again=again)), last)


def all_datums(repo: Repository, spec: Spec) -> Iterator[tuple[Datum, bool]]:
    """Yield each datum that there is now, and whether it is done. Raises NotFound."""
    sources = resolve_inputs(repo, spec)
    one = _Planning(repo, spec, sources, transform_id(spec, code_hashes(spec)), None)
    done = table.outputs(repo, one.table)
    yield from ((datum, datum.id in done) for datum in one.datums().values())


_Found = tuple[int, Sequence[Datum], Collection[str], Collection[str]]


class _Planning:
    """Finds out what a plan says of datums: total, to_run, new, gone."""

    def __init__(
        self,
        repo: Repository,
        spec: Spec,
        sources: Sequence[Input],
        spec_id: str,
        last: Before | None,
    ) -> None:
        self._repo, self._spec, self._sources, self._last = repo, spec, sources, last
        self.spec_id = spec_id
        self.table = table_now(repo, spec)

    def datums(self) -> dict[str, Datum]:
        roots = self._roots(commits_of(self._sources))
        return make_datums(self._spec.input, roots, self._repo.nodes, self.spec_id)

    def whole(self, *, again: bool) -> _Found:
        """Look at all datums, and at all that was done."""
        datums = self.datums()
        done = {} if again else table.outputs(self._repo, self.table)
        was = table.outputs(self._repo, self._last.table) if self._last else {}
        to_run = [datum for one, datum in datums.items() if one not in done]
        return len(datums), to_run, datums.keys() - was.keys(), was.keys() - datums.keys()

    def difference(self) -> _Found | None:
        """Look at what differs from the output before; None where that is not enough."""
        repo, last = self._repo, self._last
        if last is None or (last.spec_id, last.input) != (
            self.spec_id,
            self._spec.document["input"],
        ):
            return None
        if not all(repo.is_whole(_oid(commit)) for commit in last.commits.values()):
            return None
        found = changed_datums(
            self._spec.input,
            self._roots(last.commits),
            self._roots(commits_of(self._sources)),
            repo.nodes,
            self.spec_id,
        )
        if found is None:
            return None
        gone, new = found
        lost = (one for one, (_, now) in table.changes(repo, last.table, self.table).items()
                if now is None)  # fmt: skip
        if any(one not in gone for one in lost):  # somebody changed the table
            return None
        done = table.outputs_of(repo, self.table, new.keys())
        to_run = [datum for one, datum in new.items() if one not in done]
        return last.total - len(gone) + len(new), to_run, new.keys(), gone

    def _roots(self, commits: Mapping[str, str]) -> dict[str, Entry]:
        return {name: self._repo.commit(_oid(commit)).root for name, commit in commits.items()}


def change_of(repo: Repository, plan: Plan, now: Entry | None) -> Change:
    """Return what a plan comes to when all of its datums are in the table *now*.

    Raises Conflict where they are not.
    """
    then = plan.before.table if plan.before else None
    differ = table.changes(repo, then, now)
    stale = set(plan.gone)
    gone = table.outputs_of(repo, then, plan.gone)
    new: dict[str, ObjectId] = {}
    for one, (old, tree) in differ.items():
        if tree is None and one in stale:
            stale.discard(one)
        elif tree is None:
            raise _changed()
        elif not plan.is_now(one, was=old is not None):
            stale.add(one)
        else:
            new[one] = tree
            if old is not None:  # it was run again
                gone[one] = old
    if any(one not in new for one in plan.new):
        raise _changed()
    return Change(stale, gone, new)


def _changed() -> Conflict:
    return Conflict("the pipeline's table of datums was changed meanwhile", hint="run it again")


def code_hashes(spec: Spec) -> dict[str, str]:
    """Return the hashes of the files of a pipeline's code. Raises InvalidInput."""
    found = {}
    for name in spec.code:
        try:
            found[name] = blake3(Path(spec.directory, name).read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidInput(
                f"the code '{name}' of the pipeline '{spec.name}' can't be read: {error.strerror}",
                hint=f"names of 'code' are those of files below {spec.directory}",
            ) from None
    return found


def transform_id(spec: Spec, code: Mapping[str, str]) -> str:
    """Return the hash of what decides on the output of a datum beside its inputs."""
    text = encode_json({**spec.transform(), "code": code})
    return blake3(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_current(repo: Repository, spec: Spec, sources: Sequence[Input], spec_id: str) -> bool:
    """Say whether the output is that of these inputs, made in this way."""
    commit = last_output(repo, spec)
    if commit is None or commit.provenance["spec_id"] != spec_id:
        return False
    inputs: Any = commit.provenance["inputs"]
    then = {facts["name"]: facts["commit"] for facts in inputs}
    return then == commits_of(sources)


def commits_of(sources: Sequence[Input]) -> dict[str, str]:
    """Return the versions of inputs, by their names."""
    return {one.wanted.name: one.commit.hex() for one in sources}


def table_now(repo: Repository, spec: Spec) -> Entry | None:
    """Return the table of all datums that are done, those of a job that did not end, too."""
    ref = None
    if repo.store.refs.has_data_set(spec.data_set):
        ref = repo.store.refs.get(spec.data_set, datums_branch(spec.name))
    return None if ref is None else table.root_of(repo.commit(ref.commit))


def before(repo: Repository, spec: Spec) -> Before | None:
    """Return the last output; None where the branch holds something else by now."""
    commit = last_output(repo, spec)
    if commit is None:
        return None
    facts: Any = commit.provenance
    oid = _oid(facts["datums"]["table"])
    root = table.root_of(repo.commit(oid)) if repo.is_whole(oid) else None
    if root is None:
        return None
    return Before(
        tree=commit.root.content,
        table=root,
        total=facts["datums"]["total"],
        spec_id=facts["spec_id"],
        input=facts["spec"]["input"],
        commits={one["name"]: one["commit"] for one in facts["inputs"]},
    )


def _oid(text: str) -> ObjectId:
    return ObjectId(bytes.fromhex(text))


def last_output(repo: Repository, spec: Spec) -> Commit | None:
    """Return the output's newest version if the pipeline has made it."""
    ref = None
    if repo.store.refs.has_data_set(spec.data_set):
        ref = repo.store.refs.get(spec.data_set, spec.branch)
    commit = None if ref is None else repo.commit(ref.commit)
    if commit is None or commit.provenance.get("kind") != PIPELINE_KIND:
        return None
    return commit if commit.provenance.get("pipeline") == spec.name else None


def global_id(repo: Repository, cause: Input) -> str:
    """Return the id that all versions share which one commit has caused: that commit's, in hex."""
    provenance: Mapping[str, JSON] = repo.commit(cause.commit).provenance
    if provenance.get("kind") == PIPELINE_KIND:
        return str(provenance["global_id"])
    return cause.commit.hex()
