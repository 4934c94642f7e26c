"""A plan made from what differs is the plan made from everything, and so is what comes of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from tests.support.trees import store_tree
from vfs.ids import ObjectId
from vfs.model.entry import Entry
from vfs.model.names import datums_branch
from vfs.pipeline import table
from vfs.pipeline.committing import commit_output, make_branches
from vfs.pipeline.datums import changed_datums, make_datums
from vfs.pipeline.output import put_together, tree_of
from vfs.pipeline.plan import Plan, make_plan, table_now
from vfs.pipeline.records import Job
from vfs.pipeline.spec import Spec, parse_spec
from vfs.repo.repository import Repository
from vfs.repo.trees import Nodes
from vfs.store.ingest import Ingest

RUNS = int(os.environ.get("VFS_PLAN_RUNS", "25"))

NAMES = st.sampled_from((b"a", b"b", b"c", b"d.txt"))
TREES = st.recursive(
    st.sampled_from((b"", b"one", b"two")),
    lambda trees: st.dictionaries(NAMES, trees, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, Mapping))
GLOBS = st.sampled_from(("/", "/*", "/*/*", "/**", "/**.txt", "/a/*", "/a/**", "/{a,b}/c", "/a"))


@st.composite
def inputs(draw: st.DrawFn) -> Any:
    """A pattern, or a union of some, of one data set or two."""
    many = draw(st.integers(0, 3))
    atoms = [{"data": "xy"[i % 2], "name": f"n{i}", "glob": draw(GLOBS)} for i in range(many or 1)]
    return {"union": atoms} if many else atoms[0]


@given(inputs(), st.tuples(TREES, TREES), st.tuples(TREES, TREES))
def test_what_differs_is_what_one_side_has_alone(
    input_: Any, old: tuple[Any, Any], new: tuple[Any, Any]
) -> None:
    objects = MemoryObjects()
    spec = spec_of(input_)
    then, now = (
        {
            atom.name: store_tree(objects, b"", side["xy".index(atom.data_set)])
            for atom in spec.atoms()
        }
        for side in (old, new)
    )
    nodes = Nodes(objects)
    before, after = (make_datums(spec.input, roots, nodes, "s") for roots in (then, now))
    found = changed_datums(spec.input, then, now, nodes, "s")
    assert found is not None
    gone, come = found
    assert gone == before.keys() - after.keys()
    assert come == {one: datum for one, datum in after.items() if one not in before}


# whole jobs, but for their commands


def spec_of(input_: Any, **more: Any) -> Spec:
    return parse_spec({"name": "p", "command": ["c"], "input": input_, "directory": "/", **more})


def put(repo: Repository, data_set: str, tree: Any) -> None:
    if data_set not in repo.data_sets():
        repo.create_data_set(data_set)
    with repo.store.ingest() as ingest:
        root = store_tree(ingest, b"", tree)
        ingest.flush()
        repo.commit_root(data_set, "main", lambda _head: root, ingest=ingest, message="m")


def wrote(ingest: Ingest, datum: str, salt: bytes) -> Entry:
    """What a datum writes: a file at a path of its own."""
    name = datum[:16].encode()
    return tree_of(ingest, {(name,): store_file(ingest, name, salt + name)})


def store_file(ingest: Ingest, name: bytes, data: bytes) -> Entry:
    (content,) = ingest.add_chunks([data])
    return Entry(name, 0o100644, 0, 0, 0, len(data), content, 0, b"")


def work(repo: Repository, spec: Spec, plan: Plan, most: int, salt: bytes) -> bool:
    """Do as a job does with at most *most* datums; say whether those were all."""
    some = plan.to_run[:most]
    make_branches(repo, spec)
    with repo.store.ingest() as ingest:
        kept = {datum.id: (datum, wrote(ingest, datum.id, salt)) for datum in some}
        ingest.flush()
        repo.commit_root(
            "p",
            datums_branch("p"),
            lambda head: table.with_changes(repo, ingest, table.root_of(head), kept, set()),
            ingest=ingest,
            message="m",
            provenance={"kind": table.KIND},
        )
    return len(some) == len(plan.to_run)


def end(repo: Repository, spec: Spec, plan: Plan) -> ObjectId:
    """Commit the output; return its tree."""
    job = Job(
        id="j", pipeline="p", global_id="g", state="running", inputs={}, spec=plan.spec_id,
        started=0, total=plan.total,
    )  # fmt: skip
    return repo.commit(commit_output(repo, spec, plan, job)).root.content


class Killed(Exception):
    pass


def facts(plan: Plan) -> tuple[Any, ...]:
    return plan.total, {one.id for one in plan.to_run}, set(plan.new), set(plan.gone)


LANDING = 100  # the job is killed when all is done but its commit
STEPS = st.lists(
    st.tuples(
        st.sampled_from("xy"),
        st.integers(0, 2),  # of the trees, so that some come again
        st.sampled_from((99, 99, 99, 1, 0, LANDING)),  # so many datums, then it is killed
        st.sampled_from((False, False, False, True)),  # all again
        st.sampled_from(("1", "1", "1", "2")),  # another version of the command
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=RUNS)
@given(inputs(), st.tuples(TREES, TREES, TREES), STEPS)
def test_jobs_after_each_other_make_what_one_job_makes(
    input_: Any, trees: tuple[Any, ...], steps: Any
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        Repository.create(Path(directory) / "store") as repo,
    ):
        for data_set in "xy":
            put(repo, data_set, {})
        for number, (data_set, tree, most, again, version) in enumerate(steps):
            put(repo, data_set, trees[tree])
            spec = spec_of(input_, version=version)
            plan = make_plan(repo, spec, again=again)
            if not again:
                assert facts(plan) == facts(make_plan(repo, spec, whole=True))
            if not work(repo, spec, plan, most, b"%d" % number if again else b""):
                continue
            if most == LANDING:
                with patch("vfs.pipeline.committing.land", side_effect=Killed), suppress(Killed):
                    end(repo, spec, plan)
                continue
            made = end(repo, spec, plan)
            done = table.outputs(repo, table_now(repo, spec))
            assert len(done) == plan.total
            with repo.store.ingest() as ingest:
                whole = put_together(repo.reader, ingest, None, {}, done, dict)
            assert whole.content == made
