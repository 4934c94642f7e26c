"""What travels between a job and a worker of another machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from vfs.errors import InvalidInput, RemoteProblem
from vfs.pipeline import parcels
from vfs.pipeline.datums import Datum
from vfs.pipeline.elsewhere import CODE_MAX_BYTES, Elsewhere, ReadPart, settle
from vfs.pipeline.orders import Answer, Order, read_part
from vfs.pipeline.output import files_of
from vfs.pipeline.sandbox import View
from vfs.pipeline.spec import Spec, parse_spec
from vfs.repo.repository import Repository

DATUM = Datum("d" * 64, ())


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "store") as repo:
        yield repo


@pytest.fixture
def parcel(tmp_path: Path) -> Path:
    """What a datum wrote: two files, one of which takes several chunks."""
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "small").write_bytes(b"small")
    (tmp_path / "out" / "sub" / "large").write_bytes(bytes(range(256)) * 8192)
    (tmp_path / "worker").mkdir()
    return parcels.pack(tmp_path / "out", DATUM.id, tmp_path / "worker")


def unpacked(repo: Repository, parcel: Path, datum: str = DATUM.id) -> dict[bytes, bytes]:
    with repo.store.ingest() as ingest:
        root = parcels.unpack(repo, ingest, parcel, datum)
    found = files_of(repo.nodes, root.content)
    return {b"/".join(path): b"".join(repo.read_file(entry)) for path, entry in found}


def test_a_parcel_holds_what_was_written_and_leaves_no_version(
    repo: Repository, parcel: Path
) -> None:
    large = bytes(range(256)) * 8192
    assert unpacked(repo, parcel) == {b"small": b"small", b"sub/large": large}
    assert repo.data_sets() == []
    assert [path.name for path in parcel.parent.iterdir()] == [parcels.NAME]


def test_an_output_may_be_empty(repo: Repository, tmp_path: Path) -> None:
    for name in ("nothing", "worker"):
        (tmp_path / name).mkdir()
    parcel = parcels.pack(tmp_path / "nothing", DATUM.id, tmp_path / "worker")
    assert unpacked(repo, parcel) == {}


def test_a_parcel_of_another_datum_is_refused(repo: Repository, parcel: Path) -> None:
    with pytest.raises(RemoteProblem, match="another datum"):
        unpacked(repo, parcel, "e" * 64)


def test_a_damaged_parcel_is_refused_or_holds_the_same(
    repo: Repository, parcel: Path, tmp_path: Path
) -> None:
    whole = parcel.read_bytes()
    wanted = unpacked(repo, parcel)
    refused = 0
    for place in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        parcel.write_bytes(damaged)
        with Repository.create(tmp_path / f"store{place}") as fresh:
            try:
                assert unpacked(fresh, parcel) == wanted
            except RemoteProblem:
                refused += 1
    assert refused > 20


# on the job's side


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    text = {"name": "p", "command": ["true"], "input": {"data": "d", "glob": "/"}}
    return parse_spec({**text, "directory": str(tmp_path)})


@pytest.fixture
def order(spec: Spec, tmp_path: Path) -> Order:
    return Elsewhere(spec, {}).order(DATUM, View(tmp_path / "try", {}))


def answer(parcel: Path) -> Answer:
    data = parcel.read_bytes()
    return Answer("", 1.0, b"said", "w", parcel, len(data), blake3(data).digest())


def test_a_parcel_comes_as_it_was(order: Order, parcel: Path) -> None:
    def part(_worker: str, path: Path, offset: int) -> bytes:
        return read_part(path, offset)[:1000]

    ended = settle(order, answer(parcel), part)
    assert (ended.problem, ended.lost) == ("", False)
    assert (order.directory / parcels.NAME).read_bytes() == parcel.read_bytes()
    assert (order.directory / "log").read_bytes() == b"said"


def gone(_worker: str, _parcel: Path, _offset: int) -> bytes:
    raise OSError("it is gone")


def other(_worker: str, path: Path, offset: int) -> bytes:
    return bytes(len(read_part(path, offset)))


def short(_worker: str, path: Path, offset: int) -> bytes:
    return b"" if offset else read_part(path, offset)[:-1]


@pytest.mark.parametrize("part", [gone, other, short])
def test_a_parcel_that_does_not_come_is_lost_and_no_fault_of_the_command(
    order: Order, parcel: Path, part: ReadPart
) -> None:
    ended = settle(order, answer(parcel), part)
    assert ended.lost
    assert "was lost" in ended.problem


@pytest.mark.parametrize(("name", "size"), [("../x", 1), ("large", CODE_MAX_BYTES + 1)])
def test_code_that_can_not_travel(spec: Spec, tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / name).write_bytes(bytes(size))
    with pytest.raises(InvalidInput):
        Elsewhere(replace(spec, code=(name,)), {})


def test_a_spec_is_the_same_pipeline_wherever_it_runs(spec: Spec) -> None:
    far = replace(spec, remote="origin", scheduler="tcp://x:1")
    assert far.transform() == spec.transform()
