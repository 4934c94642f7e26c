"""Erasing while versions and branches are mounted: nothing goes on showing what is gone."""

from __future__ import annotations

import errno
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.erasing import TEXT, has_marker, noise
from tests.support.hub import Hub, a_hub

pytestmark = pytest.mark.mounted

FILES = {"people/jane.txt": TEXT[:300_000], "people/jane.bin": noise(1, 3000)}
REASON = ("--reason", "request 17", "--yes")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """v1 and v2 with a person's files, and one of somebody else."""
    source = tmp_path / "data"
    (source / "people").mkdir(parents=True)
    for name, data in FILES.items():
        (source / name).write_bytes(data)
    (source / "other").write_bytes(b"of somebody else" * 1000)
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        (source / "people/jane.txt").write_bytes(b"more\n" + TEXT[:300_000])
        made.import_(source, "v2")
        yield made


def error_of(path: Path) -> int | None:
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


def test_what_the_kernel_has_kept_is_dropped(hub: Hub) -> None:
    hub.mount()
    for version in ("v1", "v2", "main"):
        for name in FILES:
            assert has_marker((hub[version] / name).read_bytes())
    done = hub.vfs("erase", "data", "--path", "people/jane*", *REASON)
    assert "may still be read" not in done.stderr
    for version in ("v1", "v2", "main"):
        for name in FILES:
            assert error_of(hub[version] / name) == errno.EIO, (version, name)
        assert (hub[version] / "other").read_bytes() == b"of somebody else" * 1000
    assert (hub["v1"] / "people/jane.txt").stat().st_size == 300_000
    assert "erased on" in hub.log
    assert "request 17" in hub.log


def test_what_a_program_has_mapped_is_told(hub: Hub) -> None:
    """The kernel leaves its pages alone, so somebody has to know."""
    hub.mount("--read-only")
    path = hub["v1"] / "people/jane.bin"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert has_marker(bytes(mapped))
        done = hub.vfs("erase", "data", "--path", "people/*.bin", *REASON, "--json", check=False)
        assert done.returncode == 1
        left = json.loads(done.stdout)["mounted"]
        assert left
        assert all(one["path"].endswith("people/jane.bin") for one in left)
        assert all("mapped" in one["reason"] for one in left)


def test_what_was_written_to_a_branch_and_not_committed_goes_too(hub: Hub) -> None:
    hub.mount()
    (hub["main"] / "people/jane.new").write_bytes(noise(5, 9000))
    (hub["main"] / "mine").write_bytes(b"of a branch")
    hub.vfs("erase", "data", "--path", "people/jane*", *REASON)
    assert error_of(hub["main"] / "people/jane.new") == errno.EIO
    assert (hub["main"] / "mine").read_bytes() == b"of a branch"
    hub.vfs("commit", "data@main", "-m", "with a tombstone")
    assert error_of(hub["main"] / "people/jane.new") == errno.EIO
    hub.unmount()
    assert "no damage" in hub.vfs("fsck", "--data").stderr


def test_the_same_bytes_written_again_stay_in_the_branch_and_are_not_committed(hub: Hub) -> None:
    hub.mount()
    hub.vfs("erase", "data", "--path", "people/jane*", *REASON)
    path = hub["main"] / "again"
    with path.open("wb") as file:
        file.write(FILES["people/jane.bin"])
        file.flush()
        os.fsync(file.fileno())
    assert path.read_bytes() == FILES["people/jane.bin"]
    done = hub.vfs("commit", "data@main", "-m", "again", check=False)
    assert done.returncode == 1
    assert "'again' can't be committed" in done.stderr
    assert "request 17" in done.stderr
    assert error_of(hub["v1"] / "people/jane.bin") == errno.EIO
    path.unlink()
    hub.vfs("commit", "data@main", "-m", "without")
    hub.unmount()
    assert "no damage" in hub.vfs("fsck", "--data").stderr
