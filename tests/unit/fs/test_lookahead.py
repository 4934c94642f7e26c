"""What is expected of a file, by what of it is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.remotes import commit
from vfs.fs import lookahead
from vfs.fs.lookahead import LookAhead
from vfs.ids import ObjectId
from vfs.model.blob import Span
from vfs.model.entry import Entry
from vfs.repo.blobs import FileReader
from vfs.repo.repository import Repository

SIZE = 200_000  # of chunks of 1000 bytes


class _Supply:
    def __init__(self) -> None:
        self.expected: list[ObjectId] = []

    def __call__(self, oid: ObjectId) -> None:
        raise AssertionError(oid)

    def expect(self, ids: Iterable[ObjectId]) -> None:
        self.expected += ids

    def touched(self, block: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[Entry, FileReader]]:
    data = b"".join(bytes([n % 251 + 1]) * 996 + n.to_bytes(4, "big") for n in range(SIZE // 1000))
    with Repository.create(tmp_path / "store") as repo:
        commit(repo, {"f": data})
        tree = repo.commit(repo.resolve("data", "main").commit).root.content
        (entry,) = repo.entries(tree)
        yield entry, FileReader(repo.reader)


def _looking(
    file: tuple[Entry, FileReader], monkeypatch: pytest.MonkeyPatch, here: range
) -> tuple[LookAhead, _Supply, list[Span]]:
    monkeypatch.setattr(lookahead, "AHEAD_MIN_BYTES", 10_000)
    monkeypatch.setattr(lookahead, "AHEAD_MAX_BYTES", 40_000)
    monkeypatch.setattr(lookahead, "_STEP_BYTES", 5_000)
    entry, reader = file
    spans = list(reader.spans(entry))
    there = {spans[n].content for n in here}
    supply = _Supply()
    return LookAhead(reader, supply, there.__contains__), supply, spans


@pytest.mark.parametrize(("read", "expected"), [(0, 10), (4, 20), (100, 40), (195, 4)])
def test_the_more_was_read_the_more_is_expected(
    file: tuple[Entry, FileReader], monkeypatch: pytest.MonkeyPatch, read: int, expected: int
) -> None:
    looking, supply, spans = _looking(file, monkeypatch, range(read))
    looking.note(file[0], read * 1000, 1000)
    ids = [span.content for span in spans[read + 1 : read + 1 + expected]]
    assert supply.expected == ids
    if read:  # who begins anew may need all of it anew
        looking.note(file[0], read * 1000, 1000)
        assert supply.expected == ids  # once


def test_who_reads_here_and_there_expects_nothing(
    file: tuple[Entry, FileReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, supply, _ = _looking(file, monkeypatch, range(20))
    looking.note(file[0], 100_000, 1000)
    assert supply.expected == []
