"""An erase: what matches is gone from every byte of the store, all else is as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tests.support.erasing import (
    TEXT,
    all_blocks,
    compacted,
    contents,
    erase,
    has_marker,
    make_source,
    make_store,
    noise,
    quiet,
)
from vfs.errors import Conflict, Erased, ErasedMeanwhile, SourceProblem
from vfs.model.names import parse_target
from vfs.model.overlay import PATCH_BYTES
from vfs.repo.erasing import Query, carry_out, check, make_plan, resume
from vfs.repo.fsck import check_store
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository
from vfs.store.overlaybatch import OverlayBatch
from vfs.store.refs import RefChange


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("erasing")
    make_store(directory / "store", directory / "source")
    return directory


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """A directory with a store and the source of its last version."""
    shutil.copytree(prepared, tmp_path / "own", symlinks=True)
    return tmp_path / "own"


@pytest.fixture
def repo(place: Path) -> Iterator[Repository]:
    with Repository.open(place / "store") as repo:
        yield repo


def read(repo: Repository, target: str) -> bytes:
    where = parse_target(target)
    root = repo.commit(repo.resolve(where.data_set, where.revision).commit).root
    return b"".join(repo.read_file(repo.entry_at(root, where.path)))


def import_again(repo: Repository, place: Path, **options: object) -> None:
    import_source(
        repo,
        place / "source",
        parse_target("data"),
        ImportOptions(message="again", **options),  # type: ignore[arg-type]
    )


def test_no_byte_is_left_and_all_else_is_the_same(
    repo: Repository, place: Path, tmp_path: Path
) -> None:
    before = contents(repo)
    assert has_marker(all_blocks(repo))
    assert has_marker(compacted(repo, tmp_path / "before"))
    outcome = erase(repo, "people/**/jane*")
    assert len(outcome.plan.contents) == 9
    assert not outcome.damaged
    assert contents(repo) == before
    assert not has_marker(all_blocks(repo))
    assert not has_marker(compacted(repo, tmp_path / "after"))
    assert not has_marker((repo.store.path / "data.mdb").read_bytes())
    for version in ("v0", "v1", "v2", "main"):
        with pytest.raises(Erased, match="asked to"):
            read(repo, f"data@{version}:people/jane.txt")
    report = check_store(place / "store", data=True)
    assert report.damages == []
    assert report.counts["erased objects"] == len(outcome.plan.doomed)


def test_what_others_have_needs_a_decision(repo: Repository) -> None:
    with pytest.raises(Conflict, match="nothing was erased"):
        erase(repo, "people/adam.txt")
    assert read(repo, "data@v0:people/adam.txt")
    assert repo.store.erasures.unfinished() is None


def test_what_others_have_stays_and_is_told(repo: Repository) -> None:
    before = contents(repo, b"adam")
    outcome = erase(repo, "people/adam.txt", shared="keep")
    assert contents(repo, b"adam") == before
    assert len(outcome.plan.kept) == 3
    for content in outcome.plan.kept:
        assert 0 < content.kept_bytes < content.size
        assert "other/text" in content.kept_for[0]
    with pytest.raises(Erased):
        read(repo, "data@v1:people/adam.txt")


def test_what_others_have_goes_for_them_too(repo: Repository) -> None:
    outcome = erase(repo, "people/adam.txt", shared="erase")
    assert outcome.plan.others
    assert all("other/text" in place or "text" in place for place in outcome.plan.others)
    for target in ("data@v0:other/text", "more:text", "data:people/adam.txt"):
        with pytest.raises(Erased):
            read(repo, target)


def test_what_was_erased_before_is_shared_with_nobody(repo: Repository) -> None:
    erase(repo, "people/adam.txt", shared="erase")
    plan = make_plan(repo, Query(reason="r", data_set="data", paths=("people/adam.txt",)), quiet)
    assert plan.kept == []
    assert all(content.erased_before == content.size for content in plan.contents)


def test_what_matches_by_its_path_is_not_asked_for_elsewhere(repo: Repository) -> None:
    """An erase of both sorts goes on, after a crash, with no more than it began with."""
    hashes = {blake3(noise(100, 3000)).digest(): 3000}
    query = Query(reason="r", data_set="data", paths=("people/adam.txt",), hashes=hashes)
    plan = make_plan(repo, query, quiet)
    assert len(plan.contents) == 4
    assert len(plan.query.contents) == 1
    again = make_plan(repo, Query.of_facts(plan.query.facts()), quiet)
    assert [one.kept_bytes for one in again.contents] == [one.kept_bytes for one in plan.contents]


def test_another_data_set_counts_as_others(repo: Repository) -> None:
    with pytest.raises(Conflict):
        erase(repo, "other/large")
    outcome = erase(repo, "other/large", shared="keep")
    assert read(repo, "more:large")
    assert {place.partition(":")[0] for one in outcome.plan.kept for place in one.kept_for} == {
        "more@main"
    }


@pytest.mark.parametrize("by", ["hash", "content", "both"])
def test_by_content(repo: Repository, by: str) -> None:
    """A content of many chunks: its id is not the BLAKE3 of its bytes."""
    data = noise(1, 200_000)
    root = repo.commit(repo.resolve("data", "v1").commit).root
    entry = repo.entry_at(root, (b"people", b"deep", b"jane.bin"))
    hashes = {
        "hash": {blake3(data).digest(): len(data)},
        "content": {entry.content: None},
        "both": {blake3(data).digest(): None},
    }[by]
    plan = make_plan(repo, Query(reason="r", hashes=hashes), quiet)
    assert [content.oid for content in plan.contents] == [entry.content]
    assert plan.query.contents == {entry.content}
    carry_out(repo, plan, quiet)
    with pytest.raises(Erased):
        read(repo, "data@v1:people/deep/jane.bin")
    assert read(repo, "data@v2:people/deep/jane.bin") == noise(2, 200_000)
    again = make_plan(repo, Query(reason="r", hashes=hashes), quiet)
    assert all(content.erased_before == content.size for content in again.contents)


def test_the_same_content_is_refused_by_name(repo: Repository, place: Path) -> None:
    erase(repo, "people/**/jane*")
    head = repo.resolve("data").commit
    for _ in range(2):
        with pytest.raises(SourceProblem, match=r"people/deep/jane.bin: its content was erased"):
            import_again(repo, place)
    assert repo.resolve("data").commit == head
    import_again(repo, place, partial=True)
    with pytest.raises(SourceProblem):  # not taken as unchanged
        import_again(repo, place)
    with pytest.raises(Erased):
        read(repo, "data:people/jane.txt")


def test_the_same_content_can_be_allowed(repo: Repository, place: Path) -> None:
    erase(repo, "people/**/jane*")
    import_again(repo, place, allow_erased=True)
    assert read(repo, "data@v2:people/deep/jane.bin") == noise(2, 200_000)
    with pytest.raises(Erased):
        read(repo, "data@v1:people/deep/jane.bin")
    assert "erase.allow" in {line.action for _, line in repo.store.audit.lines()}
    assert check_store(place / "store", data=True).is_clean


def test_an_import_that_an_erase_came_into_is_not_committed(repo: Repository) -> None:
    head = repo.commit(repo.resolve("data").commit)
    ingest = repo.store.ingest()
    erase(repo, "people/jane.small")
    with pytest.raises(ErasedMeanwhile):
        repo.commit_root(
            "data",
            "main",
            lambda _: head.root._replace(mtime_ns=1),
            ingest=ingest,
            message="late",
        )
    with pytest.raises(ErasedMeanwhile):  # what it did not store is told at its end, too
        ingest.__exit__(None, None, None)


def test_a_reference_to_what_was_only_found_is_not_made(repo: Repository) -> None:
    """Where nothing was to be stored, no writer has noticed."""
    commit = repo.resolve("data").commit
    generation = repo.store.ingest().generation
    erase(repo, "people/jane.small")
    change = RefChange(data_set="data", name="new", kind="tag", new=commit, generation=generation)
    with pytest.raises(ErasedMeanwhile):
        repo.store.refs.move([change], time_ns=1, who="w", why="y")


def test_what_comes_between_plan_and_erase_is_looked_at(repo: Repository, place: Path) -> None:
    query = Query(reason="r", data_set="data", paths=("people/jane.small",))
    plan = make_plan(repo, query, quiet)
    (place / "copy").mkdir()
    (place / "copy/kept").write_bytes(noise(102, 3000))
    import_source(repo, place / "copy", parse_target("more"), ImportOptions(message="copy"))
    outcome = carry_out(repo, plan, quiet)
    assert read(repo, "more:kept") == noise(102, 3000)
    assert [one.kept_for for one in outcome.plan.kept] == [["more@main:kept"]]
    with pytest.raises(Erased):
        read(repo, "data@v0:people/jane.small")


def test_an_erase_that_was_only_begun_is_finished(repo: Repository) -> None:
    query = Query(reason="r", data_set="data", paths=("people/**/jane*",))
    plan = make_plan(repo, query, quiet)
    erasures = repo.store.erasures
    number = erasures.begin(query.facts(), time_ns=1, who="w")
    erasures.mark(number, plan.doomed[:2], plan.moment)
    outcome = resume(repo, quiet)
    assert outcome is not None
    assert sorted(outcome.plan.doomed) == sorted(plan.doomed)
    assert not has_marker(all_blocks(repo))
    assert resume(repo, quiet) is None
    actions = [line.action for _, line in repo.store.audit.lines()]
    assert (actions.count("erase.begin"), actions.count("erase.end")) == (1, 1)


def write_page(repo: Repository, *, dirty: bool) -> None:
    """Have the branch hold a page of a file that matches, as the last commit left it or not."""
    overlays = repo.store.overlays
    header = overlays.open("data", "main")
    with overlays.snapshot("data", "main") as taken:
        from vfs.repo.branchstate import BranchState

        state = BranchState(repo, taken)  # type: ignore[arg-type]
        directory = state.find(1, b"people", None)
        ino = state.find(directory, b"jane.txt", None)
        entry = state.origin.entry(ino)[0]
    from vfs.model.overlay import InodeRow

    row = InodeRow(
        entry.mode, entry.uid, entry.gid, 1, 0, entry.size, 1, 1, 1, entry.content, entry.flags,
        entry.size, entry.size, 0, 1, directory, b"jane.txt", b"", b"", (),
    )  # fmt: skip
    batch = OverlayBatch(
        inodes={ino: row},
        patches={(ino, 0): TEXT[:PATCH_BYTES]},
        changed_inodes={ino} if dirty else set(),
    )
    overlays.write("data", "main", header.id, batch)


def test_pages_of_a_branch_go_with_its_overlay(
    repo: Repository, place: Path, tmp_path: Path
) -> None:
    write_page(repo, dirty=False)
    outcome = erase(repo, "people/**/jane*")
    assert [branch.label for branch in outcome.plan.branches] == ["data@main"]
    assert not has_marker(compacted(repo, tmp_path / "after"))
    assert check_store(place / "store", data=True).is_clean


def test_pages_that_are_not_committed_are_somebodys_to_decide(repo: Repository) -> None:
    write_page(repo, dirty=True)
    with pytest.raises(Conflict, match="not committed"):
        erase(repo, "people/**/jane*")
    plan = make_plan(repo, Query(reason="r", data_set="data", paths=("people/jane.txt",)), quiet)
    with pytest.raises(Conflict, match="is mounted"):
        check(plan, lambda _: True)
    assert read(repo, "data:people/jane.txt")


def test_links_that_match_are_counted(repo: Repository, place: Path) -> None:
    make_source(place / "source", 2)
    (place / "source/people/jane.link").symlink_to("jane.txt")
    import_again(repo, place)
    plan = make_plan(repo, Query(reason="r", data_set="data", paths=("people/jane*",)), quiet)
    assert plan.symlinks == 1
