"""The walk ahead that counts what is there, for whoever watches."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.importer import survey as survey_module
from vfs.repo.importer.survey import Survey
from vfs.repo.repository import Repository


class Watcher:
    def __init__(self, *, watched: bool) -> None:
        self.watched = watched
        self.totals: list[tuple[int, int]] = []
        self.done = [0, 0]

    def total(self, files: int, bytes_: int) -> None:
        self.totals.append((files, bytes_))

    def advance(self, files: int, bytes_: int) -> None:
        self.done[0] += files
        self.done[1] += bytes_


@pytest.fixture
def tree(source: Path) -> Path:
    for number in range(10):
        (source / f"d{number}/e").mkdir(parents=True)
        for name in "abc":
            (source / f"d{number}/e/{name}").write_bytes(b"x" * 1000)
    os.link(source / "d0/e/a", source / "linked")
    (source / "link").symlink_to("d0")
    os.mkfifo(source / "fifo")
    return source


def run(repo: Repository, tree: Path, watcher: Watcher) -> None:
    import_source(repo, tree, parse_target("data"), ImportOptions(message=""), watcher)


def test_a_survey_counts_what_an_import_does(repo: Repository, tree: Path) -> None:
    with Survey(tree, lambda _: None) as survey:
        survey.wait()
        counted = survey.counts.files, survey.counts.bytes
    watcher = Watcher(watched=False)
    run(repo, tree, watcher)
    assert tuple(watcher.done) == counted == (33, 31_000)


def test_nothing_of_it_without_a_watcher(
    repo: Repository, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(survey_module, "Survey")
    monkeypatch.delattr("vfs.repo.importer.directory.Survey")
    run(repo, tree, Watcher(watched=False))
    with pytest.raises(NameError):
        run(repo, tree, Watcher(watched=True))


def test_the_total_runs_ahead(
    repo: Repository, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Survey.__enter__

    def enter(self: Survey) -> Survey:
        survey = real(self)
        survey.wait()
        return survey

    monkeypatch.setattr(Survey, "__enter__", enter)
    watcher = Watcher(watched=True)
    run(repo, tree, watcher)
    assert set(watcher.totals) == {(33, 31_000)}
    assert watcher.done == [33, 31_000]
    again = Watcher(watched=True)
    run(repo, tree, again)
    assert len(again.totals) > 1  # although nothing goes through the pool
    assert again.done == [33, 31_000]


def test_it_ends_with_the_import(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait(_: os.stat_result) -> None:
        reached.set()
        go_on.wait()

    with Survey(tree, wait) as survey:
        reached.wait()
        ending = threading.Timer(0, survey.stop)
        ending.start()
        ending.join()
        go_on.set()
    assert survey.counts.files <= 3
    assert not [one for one in threading.enumerate() if one.name == "vfs-survey"]


def test_what_is_left_out_is_not_counted(repo: Repository, tree: Path) -> None:
    left_out = (tree / "d3/e").stat().st_ino
    with Survey(tree, lambda st: "why" if st.st_ino == left_out else None) as survey:
        survey.wait()
        assert survey.counts.files == 30


def test_one_file_is_known_at_once(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20_000)
    watcher = Watcher(watched=True)
    run(repo, tmp_path / "large", watcher)
    assert set(watcher.totals) == {(1, 5_120_000)}
    assert watcher.done == [1, 5_120_000]
