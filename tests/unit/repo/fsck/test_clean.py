"""A store in which nothing is damaged is clean: with all that it can hold, and while it is used."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.support.full_store import changing, import_tree, make_file, make_source
from tests.support.stores import start_child
from vfs.errors import StoreError
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.fsck import Report, check_store
from vfs.repo.repository import Repository
from vfs.repo.stages import Stage

IMPORT = """
import sys
from pathlib import Path
from tests.support.full_store import import_tree
from vfs.repo.repository import Repository
with Repository.open(Path(sys.argv[1])) as repo:
    print("ready", flush=True)
    import_tree(repo, Path(sys.argv[2]), "void")
"""


def assert_clean(report: Report) -> None:
    assert report.damages == []
    assert report.is_clean


@pytest.mark.parametrize("data", [False, True])
def test_a_full_store_is_clean(full: Path, data: bool) -> None:
    stages: list[Stage] = []
    report = check_store(full, data=data, on_stage=stages.append)
    assert_clean(report)
    assert report.counts["versions"] == 5
    assert report.counts["overlays"] == 4
    assert any(progress.is_bytes for progress in stages) == data


def test_an_empty_store_is_clean(tmp_path: Path) -> None:
    Repository.create(tmp_path / "store").close()
    assert_clean(check_store(tmp_path / "store", data=True))


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        check_store(tmp_path / "store", data=False)


def test_nothing_is_left_in_the_store(full: Path) -> None:
    before = (full / "data.mdb").read_bytes()
    check_store(full, data=True)
    assert (full / "data.mdb").read_bytes() == before
    assert list((full / "tmp").iterdir()) == []


@pytest.mark.parametrize("kill_after_s", [0.0, 0.05, 0.1, 0.2])
def test_after_an_import_was_killed(store: Path, tmp_path: Path, kill_after_s: float) -> None:
    make_source(tmp_path / "more")
    (tmp_path / "more/file").write_bytes(bytes(range(256)) * 10_000)
    child = start_child(IMPORT, store, tmp_path / "more")
    assert child.stdout is not None
    child.stdout.readline()
    threading.Event().wait(kill_after_s)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert_clean(check_store(store, data=True))


def test_beside_imports_and_commits(store: Path, tmp_path: Path) -> None:
    """Whatever is written meanwhile, the check sees one moment."""
    source = tmp_path / "more"
    make_source(source)
    reports: list[Report] = []
    done = threading.Event()

    def check() -> None:
        reports.extend(check_store(store, data=data) for data in (False, True) * 2)
        done.set()

    thread = threading.Thread(target=check)
    thread.start()
    number = 0
    with Repository.open(store) as repo:
        while not done.is_set():
            number += 1
            (source / f"many/more{number}").write_bytes(b"more %d" % number)
            import_tree(repo, source, "void")
            with changing(repo, "exp") as opened:
                make_file(opened, ROOT_INO, b"beside %d" % number, b"beside")
            commit_overlay(repo, "data", "exp", message="beside", author="me")
    thread.join()
    assert number > 1
    for report in reports:
        assert_clean(report)
    assert_clean(check_store(store, data=True))
