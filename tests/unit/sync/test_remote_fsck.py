"""The check of a remote: every damage is found, and told with what it touches."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.remotes import commit, connect
from vfs.remote.layout import decode_json
from vfs.remote.records import encode_record
from vfs.repo.fsck import Report
from vfs.repo.repository import Repository
from vfs.sync.fsck import check_remote
from vfs.sync.push import push


def check(place: Path, *, data: bool = False) -> Report:
    with tempfile.TemporaryDirectory() as temporary, connect(place, make=False) as remote:
        return check_remote(remote, Path(temporary), data=data)


def texts(report: Report) -> str:
    return "\n".join(f"{damage.places} {damage.message}" for damage in report.damages)


@pytest.fixture
def full(here: Repository, place: Path) -> Path:
    rng = random.Random(3)
    commit(here, {"a": rng.randbytes(5000), "d": {"x": b"x" * 100, "y": rng.randbytes(500)}})
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    commit(here, {"a": rng.randbytes(5000), "d": {"x": b"x" * 100, "z": rng.randbytes(500)}})
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    return place


def test_a_sound_one(full: Path) -> None:
    report = check(full, data=True)
    assert report.damages == []
    assert report.counts["versions"] == 2
    assert report.counts["packs"] == 2
    assert report.counts["records"] == 2


def newest(directory: Path) -> Path:
    return max(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def lose_pack(place: Path) -> None:
    newest(place / "packs").unlink()


def cut_pack(place: Path) -> None:
    path = newest(place / "packs")
    path.write_bytes(path.read_bytes()[:-10])


def lose_index(place: Path) -> None:
    newest(place / "index").unlink()


def damage_index(place: Path) -> None:
    path = newest(place / "index")
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("harm", [lose_pack, cut_pack, lose_index, damage_index])
def test_a_lost_pack_is_told_with_all_that_is_lost(
    harm: Callable[[Path], None], full: Path
) -> None:
    harm(full)
    told = texts(check(full))
    assert "data@main" in told
    assert "the commit" in told


def test_chunks_that_are_lost_are_told_by_path(full: Path, here: Repository) -> None:
    with connect(full) as remote:
        remote.refresh()
        packs = list(remote.catalog.indexes())
    assert len(packs) == 2
    old = min((full / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    old.unlink()
    told = texts(check(full))
    assert "data@main:d/x" in told  # of the first push, in both versions
    assert "data@main:a" not in told


@pytest.mark.parametrize("number", [0, 1])
def test_records_of_references(number: int, full: Path) -> None:
    path = full / f"refs/data/main/{number:020}"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"push", b"pull"))
    assert "is damaged" in texts(check(full))
    said = decode_json("", kept.replace(b"push", b"pull"))
    path.write_bytes(encode_record({key: said[key] for key in said if key != "sum"}))
    assert ("was replaced" in texts(check(full))) == (number == 0)
    path.write_bytes(kept[:-3])
    assert "damaged" in texts(check(full))
    path.unlink()
    assert ("have a gap" in texts(check(full))) == (number == 0)


def test_the_journal(full: Path) -> None:
    (full / "journal").mkdir()
    (full / "journal" / f"{1:020}").write_bytes(b'{"kind":"later"}')
    assert "gap" in texts(check(full))
    (full / "journal" / f"{0:020}").write_bytes(b'{"kind":"pruned","commits":5}')
    assert "damaged" in texts(check(full))


def test_every_damaged_byte_of_a_pack(full: Path, tmp_path: Path) -> None:
    rng = random.Random(9)
    for _ in range(12):
        place = tmp_path / "copy"
        shutil.copytree(full, place)
        path = rng.choice(sorted((place / "packs").iterdir()))
        data = bytearray(path.read_bytes())
        data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        report = check(place, data=True)
        assert report.damages
        assert any("data@" in place for damage in report.damages for place in damage.places)
        shutil.rmtree(place)
