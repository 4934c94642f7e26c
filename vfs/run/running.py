"""Running a command on exact versions, and running it again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from vfs.daemon import branches
from vfs.errors import Conflict, NotFound
from vfs.fs.reads import read_numbers
from vfs.model.commit import check_text
from vfs.model.names import DEFAULT_BRANCH, Target
from vfs.repo.branches import commit_overlay
from vfs.repo.treediff import Difference, differences, expand
from vfs.repo.trees import Nodes
from vfs.repo.uncommitted import PassingObjects
from vfs.run import inputs as run_inputs
from vfs.run import places
from vfs.run.environment import passed, recorded
from vfs.run.inputs import Input, Wanted
from vfs.run.job import Done, Job, performed
from vfs.run.output import OutputPlace, begin, keep_result, land_result, result_of
from vfs.run.places import OpenRepository, Place
from vfs.run.record import RunRecord, bounded, check_command

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import JSON
    from vfs.repo.repository import Repository
    from vfs.run.output import Result

SUBJECT_MAX: Final = 100
DIFFERENCES_MAX: Final = 1000


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """What is to be run on what."""

    store: Path
    open_repository: OpenRepository
    inputs: Sequence[Wanted]
    output: Target
    command: Sequence[str]
    directory: Path  # in which it runs
    message: str | None = None
    author: str | None = None
    place: Path | None = None  # the directory of the run; None: a new one
    environment: Sequence[str] = ()  # names of variables to pass and to record
    keep_env: bool = False  # pass all variables
    fresh: bool = False
    ledger: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    run_id: str
    exit_code: int
    log: Path
    commit: ObjectId | None = None  # None where nothing is changed, or the command failed
    branch: str = ""  # on which it is, if anything was made
    conflict: str = ""  # why it is on a branch of its own
    withheld: Sequence[str] = ()  # variables that are not recorded although they were to be


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a second run came to."""

    run_id: str
    exit_code: int
    log: Path
    is_same: bool = False
    different: Sequence[Difference] = field(default=())
    code_changed: bool = False  # what git says of the code is not what it was
    commit: ObjectId | None = None  # where it is kept


def run(order: RunOrder) -> Outcome:
    """Run a command; if it exits with 0, make a version of what it wrote.

    Otherwise nothing is left but its log. Where the version can't be made, because the same was
    changed meanwhile, it is made on a branch of its own. Raises NotFound, InvalidInput and
    MountProblem where the command can't be run.
    """
    check_command(order.command)
    check_text("message", order.message or "")
    check_text("author", order.author or "")
    run_inputs.check_names(order.inputs)
    with order.open_repository() as repo:
        sources = [run_inputs.resolve(repo, wanted) for wanted in order.inputs]
        output = _output_place(repo, order.output, fresh=order.fresh)
        time_ns = _time(repo, sources, output)
    kept, withheld = recorded(os.environ, order.environment)
    run_id = places.new_id()
    job = Job(
        open_repository=order.open_repository,
        place=Place(
            store=order.store,
            run_id=run_id,
            directory=order.place or places.default_directory(run_id),
            data_set=output.data_set,
        ),
        inputs=sources,
        output=output,
        command=order.command,
        directory=order.directory,
        environment=passed(os.environ, order.environment, everything=order.keep_env),
        recorded=kept,
        withheld=withheld,
        keep_env=order.keep_env,
        ledger=order.ledger,
        time_ns=time_ns,
    )
    with performed(job) as done:
        if done.exit_code:
            return Outcome(run_id, done.exit_code, done.log.path, withheld=withheld)
        message = order.message or f"Run: {shlex.join(order.command)}"[:SUBJECT_MAX]
        commit, branch, conflict = _committed(done, message, order.author)
        return Outcome(run_id, 0, done.log.path, commit, branch, conflict, withheld)


def rerun(
    open_repository: OpenRepository, store: Path, target: Target, *, keep: str | None = None
) -> Repeated:
    """Run again what made a version, on the same inputs; compare what comes out to the byte.

    Changes no branch; with *keep* the result is the newest version of that new branch. Raises
    InvalidInput for what no run has made.
    """
    with open_repository() as repo:
        found = repo.resolve(target.data_set, target.revision)
        record = RunRecord.of(repo.commit(found.commit), str(target))
        sources = [run_inputs.from_facts(repo, facts) for facts in record.inputs]
        output = record.output()
        repo.resolve(output.data_set, output.base.hex())  # raises where it is gone
        time_ns = _time(repo, sources, output)
    facts = record.facts
    run_id = places.new_id()
    directory = Path(facts["directory"])
    place = Path(facts["place"])  # programs write paths into what they make
    asked = [*facts["environment"], *facts["withheld"]]
    now = passed(os.environ, asked, everything=facts["keep_env"])
    unset = recorded(now, asked)[0].keys() - facts["environment"].keys()
    job = Job(
        open_repository=open_repository,
        place=Place(
            store=store,
            run_id=run_id,
            directory=place if _is_free(place) else places.default_directory(run_id),
            data_set=output.data_set,
        ),
        inputs=sources,
        output=output,
        command=record.command,
        directory=directory if directory.is_dir() else Path.cwd(),
        environment={key: value for key, value in now.items() if key not in unset}
        | facts["environment"],
        recorded=facts["environment"],
        withheld=facts["withheld"],
        keep_env=facts["keep_env"],
        ledger=False,
        time_ns=time_ns,
    )
    with performed(job) as done:
        if done.exit_code:
            return Repeated(run_id, done.exit_code, done.log.path)
        return _compared(done, record, found.commit, keep)


def _is_free(place: Path) -> bool:
    return place.parent.is_dir() and not place.exists()


def _output_place(repo: Repository, target: Target, *, fresh: bool) -> OutputPlace:
    branch = target.revision or DEFAULT_BRANCH
    place = OutputPlace(
        data_set=target.data_set,
        branch=branch,
        path=target.path,
        base=begin(repo, target.data_set, branch),
        fresh=fresh,
    )
    place.start(repo)
    return place


def _time(repo: Repository, sources: Sequence[Input], output: OutputPlace) -> int:
    """Return the time of all that is written: of the newest input, else of the output before."""
    if sources:
        return max(source.time_ns for source in sources)
    return repo.commit(output.base).time_ns


def _source_facts(repo: Repository, job: Job) -> list[Mapping[str, JSON]]:
    """Return what is recorded of the inputs; with a ledger also what was read of them."""
    facts: list[Mapping[str, JSON]] = []
    for source in job.inputs:
        one = source.facts()
        if job.ledger:
            path = job.place.reads_file(source.wanted.name)
            numbers = set(read_numbers(path)) if path.exists() else set()
            one["read"] = run_inputs.what_was_read(repo, source, numbers)
        facts.append(one)
    return facts


def _result(repo: Repository, objects: PassingObjects, job: Job) -> Result:
    """Make a version of the run's branch, so that all is trees; return what it comes to."""
    done = commit_overlay(repo, job.place.data_set, job.branch, message=job.branch)
    made = repo.commit(done.commit).root
    return result_of(repo, objects, job.output, made, job.time_ns)


def _committed(done: Done, message: str, author: str | None) -> tuple[ObjectId | None, str, str]:
    """Make the version; return it, its branch, and why that is not the one it was to be."""
    job = done.job
    output = job.output
    branches.checkpoint(job.place.store, output.data_set, output.branch)
    with job.open_repository() as repo, PassingObjects(repo.reader) as objects:
        result = _result(repo, objects, job)
        record = done.record(_source_facts(repo, job), output.facts(result.directory.content))
        provenance = bounded(record)
        try:
            commit = land_result(
                repo, objects, result, message=message, author=author, provenance=provenance
            )
        except (Conflict, NotFound) as error:
            branch = f"run-{job.place.run_id}"
            commit = keep_result(
                repo, objects, result, branch, message=message, author=author, provenance=provenance
            )
            return commit, branch, str(error)
        return commit, output.branch, ""


def _compared(done: Done, record: RunRecord, commit: ObjectId, keep: str | None) -> Repeated:
    job = done.job
    code_changed = done.machine.get("code") != record.facts.get("code")
    with job.open_repository() as repo, PassingObjects(repo.reader) as objects:
        result = _result(repo, objects, job)
        kept = None
        if keep is not None:
            facts = job.output.facts(result.directory.content)
            sources = cast("Sequence[Mapping[str, JSON]]", record.inputs)
            kept = keep_result(
                repo,
                objects,
                result,
                keep,
                message=f"Run again: {commit.hex()}",
                author=None,
                provenance=bounded({**done.record(sources, facts), "rerun_of": commit.hex()}),
            )
        run_id, path = job.place.run_id, done.log.path
        if result.directory.content == record.tree:
            return Repeated(run_id, 0, path, True, (), code_changed, kept)
        before = repo.entry_at(repo.commit(commit).root, job.output.path)
        nodes = Nodes(objects)
        found: list[Difference] = []
        for difference in differences(nodes, before, result.directory):
            if difference.path:  # the directory itself is not in its tree
                found += list(_some(nodes, difference, DIFFERENCES_MAX - len(found)))
            if len(found) >= DIFFERENCES_MAX:
                break
        return Repeated(run_id, 0, path, False, found, code_changed, kept)


def _some(nodes: Nodes, difference: Difference, most: int) -> Iterator[Difference]:
    for _, one in zip(range(most), expand(nodes, difference), strict=False):
        yield one
