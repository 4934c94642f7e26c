"""torch's DataLoader over the files of a version."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

import vfs
from vfs import Client

torch_data = pytest.importorskip("torch.utils.data", reason="needs torch")

pytestmark = pytest.mark.filterwarnings("default")
SAMPLES = 100


@pytest.fixture
def files(tmp_path: Path) -> Iterator[vfs.Files[int]]:
    client = Client.create(tmp_path / "store")
    client.create_data_set("data")
    with client.commit("data", "samples") as new:
        for number in range(SAMPLES):
            new.write_text(f"train/{number:03}.txt", str(number))
    yield vfs.Files(client.open("data"), "train", "*.txt", as_number)
    client.close()


@pytest.fixture(autouse=True)
def no_tracker_left() -> Iterator[None]:
    """End the process that multiprocessing keeps beside spawned ones until its parent ends."""
    yield
    gc.collect()  # loaders whose semaphores it would remove
    resource_tracker._resource_tracker._stop()


def as_number(path: str, data: bytes) -> int:
    return int(data)


def epoch(loader: torch_data.DataLoader[int]) -> list[int]:
    return [number for batch in loader for number in batch.tolist()]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_stay_read_epoch_after_epoch(files: vfs.Files[int], start: str) -> None:
    assert files[0] == 0  # the store is open when workers are made
    loader = torch_data.DataLoader(
        files,
        batch_size=8,
        num_workers=2,
        sampler=vfs.Sampler(files),
        persistent_workers=True,
        multiprocessing_context=start,
    )
    assert [epoch(loader), epoch(loader)] == [files.order(0), files.order(1)]
    assert files[1] == 1


def test_processes_share_an_epoch(files: vfs.Files[int]) -> None:
    shares = []
    for rank in range(3):
        sampler = vfs.Sampler(files, rank=rank, world=3, seed=7)
        sampler.set_epoch(5)
        loader = torch_data.DataLoader(files, batch_size=8, sampler=sampler)
        assert len(loader) == 5
        shares.append(epoch(loader))
    assert [len(share) for share in shares] == [SAMPLES // 3] * 3
    assert len({number for share in shares for number in share}) == SAMPLES // 3 * 3
