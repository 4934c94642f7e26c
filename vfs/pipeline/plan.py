"""What a job has to run, and what it takes over from those before it. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from vfs.errors import InvalidInput
from vfs.ids import ObjectId
from vfs.model.canonical import encode_json
from vfs.model.names import Target, datums_branch
from vfs.pipeline import table
from vfs.pipeline.datums import Datum, make_datums
from vfs.run.inputs import Input, Wanted, resolve
from vfs.run.record import PIPELINE_KIND

if TYPE_CHECKING:
    from vfs.model.commit import JSON, Commit
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class Before:
    """The last output of a pipeline, and the datums in it."""

    tree: ObjectId
    outputs: Mapping[str, ObjectId]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job comes to."""

    sources: tuple[Input, ...]
    code: Mapping[str, str]  # BLAKE3 of files, by name
    spec_id: str
    datums: Mapping[str, Datum]
    done: Mapping[str, ObjectId]  # the trees of those that need not run
    before: Before | None

    @property
    def to_run(self) -> list[Datum]:
        """Return the datums whose command has to run."""
        return [datum for one, datum in self.datums.items() if one not in self.done]

    @property
    def cause(self) -> Input:
        """Return the newest input: what it was caused by, the job was caused by."""
        return max(self.sources, key=lambda source: (source.time_ns, source.wanted.name))


def resolve_inputs(repo: Repository, spec: Spec) -> tuple[Input, ...]:
    """Return the versions that a pipeline's inputs are at. Raises NotFound."""
    return tuple(
        resolve(repo, Wanted(atom.name, Target(atom.data_set, atom.branch)))
        for atom in spec.atoms()
    )


def make_plan(repo: Repository, spec: Spec, *, again: bool = False) -> Plan:
    """Return what has to be done now; *again*: to run everything. Raises NotFound."""
    sources = resolve_inputs(repo, spec)
    code = code_hashes(spec)
    spec_id = transform_id(spec, code)
    roots = {one.wanted.name: repo.commit(one.commit).root for one in sources}
    datums = make_datums(spec.input, roots, repo.nodes, spec_id)
    known = {} if again else finished(repo, spec)
    done = {one: known[one] for one in datums if one in known}
    return Plan(sources, code, spec_id, datums, done, before(repo, spec))


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


def finished(repo: Repository, spec: Spec) -> dict[str, ObjectId]:
    """Return the trees of all datums that are done, those of a job that did not end, too."""
    ref = repo.store.refs.get(spec.data_set, datums_branch(spec.name))
    return {} if ref is None else table.outputs(repo, table.root_of(repo.commit(ref.commit)))


def before(repo: Repository, spec: Spec) -> Before | None:
    """Return the last output; None where the branch holds something else by now."""
    commit = last_output(repo, spec)
    if commit is None:
        return None
    facts = commit.provenance
    datums: Any = facts["datums"]
    oid = ObjectId(bytes.fromhex(datums["table"]))
    if not repo.is_whole(oid):
        return None
    outputs = table.outputs(repo, table.root_of(repo.commit(oid)))
    return Before(commit.root.content, outputs)


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
