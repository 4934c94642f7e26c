"""What a revision means: names, prefixes, ancestors, times; and what is said when there is none."""

from __future__ import annotations

import pytest

from tests.support.versions import Clock, commit, commit_with_parents
from vfs.clock import NS
from vfs.errors import InvalidName, NotFound
from vfs.ids import ObjectId
from vfs.model.names import LABEL_MAX
from vfs.repo.repository import Repository

DAY_NS = 86400 * NS
FIRST_NS = 1_793_491_200 * NS  # 2026-11-01T00:00Z


@pytest.fixture
def commits(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> list[ObjectId]:
    """Four versions on main, one a day at noon; v0 to v3; `side` at the second."""
    clock = Clock(monkeypatch)
    made = []
    for number in range(4):
        clock.now_ns = FIRST_NS + number * DAY_NS + DAY_NS // 2
        result = commit(repo, {b"number": b"%d" % number}, tag=f"v{number}")
        made.append(result.commit)
    repo.set_branch("data", "side", made[1], expected=None, why="test")
    return made


@pytest.mark.parametrize(
    ("revision", "number", "kind"),
    [
        ("", 3, "branch"),
        ("main", 3, "branch"),
        ("side", 1, "branch"),
        ("v0", 0, "tag"),
        ("latest", 3, "link"),
        ("latest~1", 2, "link"),
        ("main~0", 3, "link"),
        ("main~", 2, "link"),
        ("main~3", 0, "link"),
        ("~1", 2, "link"),
        ("main^^", 1, "link"),
        ("main^1~1", 1, "link"),
        ("v2^0", 2, "link"),
        ("side~1", 0, "link"),
        ("{2026-11-01}", 0, "link"),
        ("{2026-11-01T12:00Z}", 0, "link"),
        ("{2026-11-02T11:59}", 0, "link"),
        ("{2026-11-02T12:00}", 1, "link"),
        ("{2026-11-03}~1", 1, "link"),
        ("{2030-01-01}", 3, "link"),
        ("main@{2026-11-02}", 1, "link"),
        ("main@{2026-11-02T11:59}", 0, "link"),
        ("v2@{2026-11-20}", 2, "link"),
        ("side@{now}", 1, "link"),
        ("main@{0}", 3, "link"),
        ("main@{1}", 2, "link"),
        ("{3}", 0, "link"),
        ("main@{1}~1", 1, "link"),
        ("v2@{0}", 2, "link"),
    ],
)
def test_every_form(
    repo: Repository, commits: list[ObjectId], revision: str, number: int, kind: str
) -> None:
    found = repo.resolve("data", revision)
    assert (found.commit, found.kind) == (commits[number], kind)
    assert found.data_set == "data"
    expected_name = found.name if kind in ("branch", "tag") else commits[number].hex()
    assert found.name == expected_name
    slot = repo.store.refs.slot(found.slot)
    assert slot is not None
    assert (slot.commit, slot.name) == (commits[number], found.name)


def test_updates_that_were_not(repo: Repository, commits: list[ObjectId]) -> None:
    with pytest.raises(NotFound, match="'data@main' was nowhere 4 updates ago") as caught:
        repo.resolve("data", "main@{4}")
    assert "its log has 4" in caught.value.hint
    for revision in ("mian@{1}", "mian@{yesterday}"):
        with pytest.raises(NotFound, match="never had a branch or tag 'mian'") as caught:
            repo.resolve("data", revision)
        assert "did you mean 'main'?" in caught.value.hint


def test_ids_and_their_prefixes(repo: Repository, commits: list[ObjectId]) -> None:
    for oid in commits:
        whole = repo.resolve("data", oid.hex())
        assert (whole.commit, whole.kind, whole.name) == (oid, "commit", oid.hex())
        for digits in (8, 9, 63):
            found = repo.resolve("data", oid.hex()[:digits])
            assert (found.commit, found.kind, found.slot) == (oid, "link", whole.slot)
        assert repo.resolve("data", oid.hex()[:12] + "~0").commit == oid
        with pytest.raises(NotFound):
            repo.resolve("data", oid.hex()[:3])
        with pytest.raises(NotFound):
            repo.resolve("data", oid.hex()[:10].upper() + "A")


def test_an_ambiguous_prefix_is_said(repo: Repository) -> None:
    start: dict[str, ObjectId] = {}
    for number in range(2000):  # the birthday of 16 bits comes at about 300
        oid = commit_with_parents(repo, {}, time_ns=number)
        if other := start.get(oid.hex()[:4]):
            break
        start[oid.hex()[:4]] = oid
    else:
        pytest.fail("no two ids start alike")
    for number, one in enumerate((oid, other)):
        repo.set_tag("data", f"t{number}", one, why="test")
    with pytest.raises(InvalidName, match="the start of several commit ids") as caught:
        repo.resolve("data", oid.hex()[:4])
    assert oid.hex()[:8] in caught.value.hint
    assert other.hex()[:8] in caught.value.hint
    for one in (oid, other):
        assert repo.resolve("data", one.hex()[:20]).commit == one


def test_a_name_comes_before_a_prefix(repo: Repository, commits: list[ObjectId]) -> None:
    name = commits[0].hex()[:6]
    repo.set_tag("data", name, commits[2], why="test")
    assert repo.resolve("data", name).commit == commits[2]
    assert repo.resolve("data", name + "~1").commit == commits[1]


def test_merges_have_several_parents(repo: Repository, commits: list[ObjectId]) -> None:
    merge = commit_with_parents(repo, {}, commits[3], commits[1], time_ns=1)
    repo.set_branch("data", "merged", merge, expected=None, why="test")
    assert repo.resolve("data", "merged^").commit == commits[3]
    assert repo.resolve("data", "merged^2").commit == commits[1]
    assert repo.resolve("data", "merged^2~1").commit == commits[0]
    assert repo.resolve("data", "merged~2").commit == commits[2]
    with pytest.raises(NotFound, match="further than the history") as caught:
        repo.resolve("data", "merged^3")
    assert "has 2 parents" in caught.value.hint


def test_the_log_knows_where_a_branch_was(
    repo: Repository, commits: list[ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    clock.now_ns = FIRST_NS + 10 * DAY_NS
    repo.set_branch("data", "side", commits[0], expected=commits[1], why="back")
    clock.now_ns += DAY_NS
    repo.delete_ref("data", "side", kind="branch")
    assert repo.resolve("data", "side@{2026-11-11}").commit == commits[0]
    assert repo.resolve("data", "side@{2026-11-10}").commit == commits[1]
    for when in ("2026-11-12", "2026-10-01"):
        with pytest.raises(NotFound, match="was not there at"):
            repo.resolve("data", f"side@{{{when}}}")
    # By the time of commits, a day before the first has no version.
    with pytest.raises(NotFound, match="no version from"):
        repo.resolve("data", "{2026-10-31}")


@pytest.mark.parametrize(
    ("data_set", "revision", "says", "hint"),
    [
        ("dat", "main", "no data set 'dat'", "did you mean 'data'?"),
        ("other", "main", "no data set 'other'", "there are: data"),
        ("data", "mian", "no revision 'mian'", "did you mean 'main'?"),
        ("data", "v7", "no revision 'v7'", "there are: main, side, v0"),
        ("data", "qqqq", "no revision 'qqqq'", "there are: main, side, v0, v1, v2, v3"),
        ("data", "abcd1234", "no revision 'abcd1234'", ""),
        ("data", "0" * 64, "no revision", ""),
        ("data", "x" * 200, "no revision", ""),
        ("data", "nobody~1", "no revision 'nobody'", ""),
        ("data", "nobody@{now}", "never had a branch or tag 'nobody'", ""),
        ("data", "main~4", "further than the history", "has 0 parents"),
    ],
)
def test_what_is_not_there_is_said(
    repo: Repository, commits: list[ObjectId], data_set: str, revision: str, says: str, hint: str
) -> None:
    with pytest.raises(NotFound, match=says) as caught:
        repo.resolve(data_set, revision)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("data_set", "revision"), [("", "main"), ("a b", "main"), ("data", "x" * 2000), ("data", "@")]
)
def test_what_can_not_be_is_said(repo: Repository, data_set: str, revision: str) -> None:
    with pytest.raises(InvalidName):
        repo.resolve(data_set, revision)


def test_a_data_set_without_versions(repo: Repository) -> None:
    for revision in ("", "main", "latest", "{now}", "v1"):
        with pytest.raises(NotFound, match="has no version yet") as caught:
            repo.resolve("data", revision)
        assert "vfs import" in caught.value.hint


def test_a_commit_of_another_data_set_is_named_where_it_lives(
    repo: Repository, commits: list[ObjectId]
) -> None:
    repo.create_data_set("other")
    found = repo.resolve("other", commits[0].hex())
    assert (found.data_set, found.kind) == ("data", "link")
    assert len(f"{'d' * LABEL_MAX}@{commits[0].hex()}") < 255
