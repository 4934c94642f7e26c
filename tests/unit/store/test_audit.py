"""The audit record: with each change its line, and no line that can be changed unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.trees import store_tree
from vfs.errors import AlreadyExists, CorruptObject
from vfs.model.auditline import FIRST, AuditLine
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store.layout import number_key


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """A store with a data set, a version, a tag that moved, and a branch that is gone."""
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        commits = []
        for number in range(2):
            with repo.store.ingest() as ingest:
                done = repo.commit_root(
                    "data",
                    "main",
                    lambda head: store_tree(ingest, b"", {b"a": b"%d" % number}),  # noqa: B023
                    ingest=ingest,
                    message=f"version {number}",
                )
            commits.append(done.commit)
        repo.set_tag("data", "good", commits[0], why="vfs tag")
        repo.set_tag("data", "good", commits[1], force=True, why="vfs tag")
        repo.set_branch("data", "trial", commits[0], expected=None, why="vfs branch")
        repo.delete_ref("data", "trial", kind="branch")
        yield repo


def actions(repo: Repository) -> list[tuple[str, object, bool]]:
    found = [
        (line.action, line.facts.get("name"), bool(line.facts.get("forced")))
        for _, line in repo.store.audit.lines()
    ]
    return found[::-1]


def test_each_change_has_its_line(repo: Repository) -> None:
    assert actions(repo) == [
        ("data_set.make", None, False),
        ("ref.make", "main", False),
        ("ref.move", "main", False),
        ("ref.make", "good", False),
        ("ref.move", "good", True),
        ("ref.make", "trial", False),
        ("ref.delete", "trial", False),
    ]


def test_a_line_says_from_where_to_where(repo: Repository) -> None:
    _, line = next(iter(repo.store.audit.lines()))
    (update, *_) = repo.reflog("data", "trial")
    assert update.old is not None
    assert line.facts["old"] == update.old.hex()
    assert line.facts["new"] is None
    assert (line.who, line.time_ns) == (update.who, update.time_ns)
    assert isinstance(line.facts["pid"], int)
    assert line.facts["command"]


def test_a_change_that_fails_has_none(repo: Repository) -> None:
    before = repo.store.audit.head()
    with pytest.raises(AlreadyExists):
        repo.create_data_set("data")
    assert repo.store.audit.head() == before


def test_a_sound_chain_and_its_heads(repo: Repository) -> None:
    noted = repo.store.audit.head()
    repo.create_data_set("more")
    verdict = repo.store.audit.verify(noted[1])
    assert verdict.problems == ()
    assert (verdict.lines, verdict.expected_at) == (8, 7)
    assert (verdict.lines, verdict.head) == repo.store.audit.head()
    assert repo.store.audit.verify(FIRST).expected_at == 0
    assert repo.store.audit.verify(bytes(31) + b"\1").expected_at is None


def rewrite(
    repo: Repository, number: int, value: bytes | None, *, meta: bytes | None = None
) -> None:
    """Do what nobody should: put a line, or remove it, and say what the last one is."""
    env = repo.store._env

    def change(txn: object) -> None:
        table, key = env.tables["audit"], number_key(number)
        if value is None:
            txn.delete(key, db=table)  # type: ignore[attr-defined]
        else:
            txn.put(key, value, db=table)  # type: ignore[attr-defined]
        if meta is not None:
            txn.put(b"audit", meta, db=env.tables["meta"])  # type: ignore[attr-defined]

    env.write(change)


@pytest.mark.parametrize(
    ("number", "problem"),
    [(1, "line 1 is not as it was when line 2"), (4, "line 4 is not as"), (7, "the last line, 7")],
)
def test_a_line_that_was_changed_shows(repo: Repository, number: int, problem: str) -> None:
    line = repo.store.audit.line(number)
    assert line is not None
    false = AuditLine(
        before=line.before, time_ns=line.time_ns, action=line.action, who="nobody", facts=line.facts
    )
    rewrite(repo, number, false.encode())
    (found,) = repo.store.audit.verify().problems
    assert found.startswith(problem)
    (damage,) = check_store(repo.store.path, data=False).damages
    assert found in damage.message


@pytest.mark.parametrize(
    ("number", "problem"), [(3, "line 3 is missing"), (7, "the lines from 7 to 7 are missing")]
)
def test_a_line_that_was_taken_out_shows(repo: Repository, number: int, problem: str) -> None:
    rewrite(repo, number, None)
    assert problem in repo.store.audit.verify().problems
    assert not check_store(repo.store.path, data=False).is_clean


def test_a_line_that_is_no_line_shows(repo: Repository) -> None:
    rewrite(repo, 2, b"A\x01 and more")
    first, *_ = repo.store.audit.verify().problems
    assert first.startswith("line 2 is damaged")
    with pytest.raises(CorruptObject):
        repo.store.audit.line(2)


def test_a_chain_that_ends_earlier_with_its_head_shows_by_one_that_was_noted(
    repo: Repository,
) -> None:
    """Whoever writes the tables can cut it off: only a head that is kept elsewhere tells."""
    _, noted = repo.store.audit.head()
    before = AuditLine.decode(_line(repo, 7)).before
    rewrite(repo, 7, None, meta=number_key(6) + before)
    verdict = repo.store.audit.verify(noted)
    assert verdict.problems == ()
    assert verdict.expected_at is None


def _line(repo: Repository, number: int) -> bytes:
    line = repo.store.audit.line(number)
    assert line is not None
    return line.encode()
