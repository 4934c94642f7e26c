"""Trouble of ours (a full disk, a lost index, an interrupt) is never taken for the source's."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.import_trees import tree_in_store, tree_on_disk
from tests.support.stores import damage
from vfs.errors import CorruptObject, StoreError, StoreFull
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.importer import index as index_module
from vfs.repo.importer import names as names_module
from vfs.repo.importer import pipeline as pipeline_module
from vfs.repo.importer import walk as walk_module
from vfs.repo.importer.names import NameBudget
from vfs.repo.repository import Repository
from vfs.store.ingest import Ingest

from .conftest import Import, root_of

FILES = 600


@pytest.fixture
def many(source: Path) -> Path:
    for number in range(FILES):
        (source / f"{number:03}").write_bytes(b"%d" % number * 9)
    (source / "sub").mkdir()
    (source / "sub/inner").write_bytes(b"inner")
    return source


def check(repo: Repository, source: Path) -> None:
    assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def lose_directory(cache: Path, _patch: pytest.MonkeyPatch) -> None:
    cache.write_bytes(b"in the way")


def full_disk(cache: Path, patch: pytest.MonkeyPatch) -> None:
    real = os.write

    def write(fd: int, data: Any) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(f"{cache}/"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    patch.setattr(os, "write", write)


def no_rename(cache: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(Path, "replace", refuse)


@pytest.mark.parametrize("trouble", [lose_directory, full_disk, no_rename])
@pytest.mark.parametrize("partial", [False, True])
def test_a_lost_index_costs_time_and_nothing_else(
    repo: Repository,
    many: Path,
    run: Import,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Path, pytest.MonkeyPatch], None],
    partial: bool,
) -> None:
    monkeypatch.setattr(index_module, "_SEGMENT_ENTRIES", 16)
    monkeypatch.setattr(index_module, "WRITE_BYTES", 1000, raising=False)
    monkeypatch.setattr(pipeline_module, "BATCH_EVENTS", 40)
    with monkeypatch.context() as patch:
        trouble(repo.store.path / "cache", patch)
        result = run(many, partial=partial)
    assert (result.changed, result.problem_count, result.files) == (True, 0, FILES + 1)
    check(repo, many)
    if trouble is not lose_directory:
        assert not list((repo.store.path / "cache/import").iterdir())
    assert not run(many).changed


@pytest.mark.usefixtures("settled")
def test_an_index_that_shrinks_meanwhile_is_given_up(
    repo: Repository, many: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(many)
    (many / "new").write_bytes(b"new")
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    result = run(many, partial=True)
    assert (result.changed, result.problem_count) == (True, 0)
    check(repo, many)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreError)],
)
def test_a_full_disk_while_names_are_spilled(
    repo: Repository,
    many: Path,
    run: Import,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[Exception],
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(walk_module, "NameBudget", lambda: NameBudget(10, 5))
    monkeypatch.setattr(names_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(kind, match=os.strerror(code) if kind is StoreError else "full"):
        run(many, partial=True)
    assert not repo.refs("data")


def test_an_error_behind_the_pipeline_is_no_problem_of_a_file(
    repo: Repository, many: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ingest.add_chunks
    calls = []

    def fail_once(self: Ingest, *args: Any) -> Any:
        calls.append(True)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *args)

    monkeypatch.setattr(pipeline_module, "BATCH_EVENTS", 20)
    monkeypatch.setattr(Ingest, "add_chunks", fail_once)
    with pytest.raises(OSError, match="Input/output error"):
        run(many, partial=True)
    assert not repo.refs("data")


def test_checksum_mends_what_is_damaged(repo: Repository, source: Path, run: Import) -> None:
    (source / "file").write_bytes(os.urandom(3000))
    run(source)
    (entry,) = repo.entries(root_of(repo).content)
    damage(repo.store, entry.content)
    with pytest.raises(CorruptObject):
        b"".join(repo.read_file(entry))
    again = run(source, checksum=True)
    assert not again.changed
    assert b"".join(repo.read_file(entry)) == (source / "file").read_bytes()


def test_an_interrupt_after_the_commit_comes_too_late(
    repo: Repository, many: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index_module.NewIndex, "commit", interrupt)
    assert run(many).commit == repo.resolve("data").commit


def test_what_a_killed_import_left_is_swept(repo: Repository, many: Path, run: Import) -> None:
    cache = repo.store.path / "cache/import"
    cache.mkdir(parents=True)
    (cache / "0123.4.new").write_bytes(b"of a killed import")
    with (cache / "0123.5.new").open("wb") as of_another:
        fcntl.flock(of_another, fcntl.LOCK_EX)
        run(many)
        assert sorted(path.suffix for path in cache.iterdir()) == ["", ".new"]
        assert (cache / "0123.5.new").exists()


@pytest.mark.usefixtures("settled")
def test_two_imports_of_one_source_at_once(
    repo: Repository, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is under way; one process stands for two."""
    repo.create_data_set("inner")
    done = []
    target, options = parse_target("data"), ImportOptions(message="")
    monkeypatch.setattr(index_module, "_SEGMENT_ENTRIES", 16)
    real = index_module.DirectoryWriter.finish

    def finish(self: index_module.DirectoryWriter, *args: Any) -> int:
        if not done:
            done.append(True)
            import_source(repo, many, target, options)
        return real(self, *args)

    monkeypatch.setattr(index_module.DirectoryWriter, "finish", finish)
    import_source(repo, many, target, options)
    again = import_source(repo, many, target, options)
    assert (again.changed, again.bytes_read) == (False, 0)
    assert len(list((repo.store.path / "cache/import").iterdir())) == 1
