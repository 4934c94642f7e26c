"""Garbage is collected under mounts: readers and writers notice nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.garbage import damages
from tests.support.hub import Hub, a_hub
from tests.support.mounting import wait_until
from vfs.repo.gc.schedule import is_due
from vfs.store.store import Store

pytestmark = pytest.mark.mounted

NOW = ("gc", "--keep", "0", "--repack", "100")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Two versions with 400 small files each, of which half differ; v1 has a large one, too."""
    with a_hub(tmp_path) as made:
        source = tmp_path / "source"
        source.mkdir()
        for number in range(400):
            (source / f"{number}").write_bytes(os.urandom(2000))
        (source / "large").write_bytes(os.urandom(3 << 20))
        made.import_(source, "v1")
        (source / "large").unlink()
        for number in range(0, 400, 2):
            (source / f"{number}").write_bytes(os.urandom(2000))
        made.import_(source, "v2")
        made.vfs("tag", "data", "v1", "--delete")
        made.vfs("retention", "data", "--keep-last", 1)
        yield made


def collect(hub: Hub) -> dict[str, object]:
    report: dict[str, object] = json.loads(hub.vfs(*NOW, "--json").stdout)
    assert damages(hub.store) == []
    return report


def test_what_is_mounted_reads_on(hub: Hub, tmp_path: Path) -> None:
    hub.mount("--read-only")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()}
    names = sorted(expected)[::3]
    assert all((hub["v2"] / name).read_bytes() == expected[name] for name in names)
    assert collect(hub)["objects"]
    assert {path.name: path.read_bytes() for path in hub["v2"].iterdir()} == expected
    hub.unmount()
    hub.mount("--read-only")
    assert {path.name: path.read_bytes() for path in hub["v2"].iterdir()} == expected
    assert not (hub.mountpoint / "data@main~1").exists()


def test_a_version_that_was_looked_at_stays_as_long_as_the_mount(hub: Hub) -> None:
    hub.mount("--read-only")
    old = hub.mountpoint / "data@main~1"
    with (old / "large").open("rb") as file:
        begin = file.read(1 << 20)
        assert collect(hub)["pinned"] == 1
        rest = file.read()
    assert len(begin + rest) == 3 << 20
    assert len(os.listdir(old)) == 401
    hub.unmount()
    report = collect(hub)
    assert (report["pinned"], len(report["expired"])) == (0, 1)  # type: ignore[arg-type]
    assert int(str(report["freed_bytes"])) > 3 << 20


def test_a_branch_is_written_on(hub: Hub) -> None:
    hub.mount()
    branch = hub["main"]
    (branch / "written").write_bytes(b"w" * 100_000)
    fd = os.open(branch / "1", os.O_RDONLY)
    os.unlink(branch / "1")
    collect(hub)
    assert len(os.read(fd, 4000)) == 2000
    os.close(fd)
    (branch / "more").write_bytes(b"m" * 100_000)
    hub.vfs("commit", "data@main", "-m", "written")
    collect(hub)
    assert (branch / "written").read_bytes() == b"w" * 100_000
    assert (branch / "more").read_bytes() == b"m" * 100_000
    hub.unmount()
    hub.mount()
    assert (branch / "written").read_bytes() == b"w" * 100_000
    assert not (branch / "1").exists()
    hub.unmount()
    collect(hub)


@pytest.mark.slow
def test_a_mount_collects_by_itself(hub: Hub) -> None:
    hub.vfs("gc", "--auto", "daily", "--keep", "0")
    hub.mount("--read-only")

    def is_done() -> bool:
        with Store.open(hub.store, readonly=True) as store:
            return not is_due(store) and not store.writers.state().has_condemned

    wait_until(is_done, seconds=90)
    wait_until(lambda: "collected" in hub.log)
    assert hub.vfs("gc", "--keep", "0", "--dry-run", "--json").stdout.count('"objects": 0') == 1
