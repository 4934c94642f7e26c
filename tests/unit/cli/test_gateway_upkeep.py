"""What keeps a remote sound, as users type it, on a real gateway."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.remotes import new_place
from vfs.cli.main import vfs
from vfs.remote.urls import open_bucket

pytestmark = pytest.mark.s3


def run(store: Path, *args: object) -> str:
    done = CliRunner().invoke(vfs, ["--store", str(store), *map(str, args)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_collected_and_erased_is_gone_and_the_rest_is_whole(tmp_path: Path) -> None:
    place, endpoint = new_place(), os.environ["VFS_TEST_S3_ENDPOINT"]
    store, rng = tmp_path / "store", random.Random(3)
    files = {name: rng.randbytes(100_000) for name in ("jane", "other", "unwanted")}
    run(store, "init")
    for data_set, names in (("data", ("jane", "other")), ("more", ("unwanted",))):
        (tmp_path / data_set).mkdir()
        for name in names:
            (tmp_path / data_set / name).write_bytes(files[name])
        run(store, "import", "--create", tmp_path / data_set, data_set, "-m", "x")

    def there() -> set[str]:
        """Return which files lie in packs, by what is in the middle of them."""
        bucket = open_bucket(place, endpoint)
        packs = [bucket.get(item.name, most=item.size) for item in bucket.items("packs")]
        return {name for name, data in files.items() if any(data[500:900] in one for one in packs)}

    run(store, "remote", "add", "origin", place, "--endpoint", endpoint)
    run(store, "push", "--all")
    assert there() == set(files)
    run(store, "push", "--delete", "more@main")
    run(store, "gc", "--remote", "origin", "--keep", "0", "--grace", "0")
    assert there() == {"jane", "other"}
    run(store, "erase", "data", "--path", "jane", "--reason", "x", "--remote", "origin", "--yes")
    assert there() == {"other"}
    run(store, "fsck", "--remote", "origin", "--data")
    clone = tmp_path / "clone"
    arguments = ["clone", place, str(clone), "--endpoint", endpoint]
    assert CliRunner().invoke(vfs, arguments).exit_code == 0
    run(clone, "fsck", "--data")
