"""An encrypted remote: what is pushed is pulled, and nothing weaker is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remotes import WatchedBucket, commit, read_tree
from vfs.errors import RemoteProblem
from vfs.remote.files import FileBucket
from vfs.remote.remote import Remote
from vfs.remote.secrets import Secret
from vfs.remote.unlocking import Lock
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

TREE = {"patient": b"MARKER" * 5000, "d": {"x": b"x" * 100}}
LOCK = Lock(lambda _: Secret("key file", bytes(32)), required=True)
OTHER = Lock(lambda _: Secret("key file", bytes(31) + b"x"))


def test_what_is_pushed_is_pulled(here: Repository, there: Repository, place: Path) -> None:
    commit(here, TREE)
    with Remote.connect(FileBucket(place), store=None, make=True, lock=LOCK) as remote:
        push(here, remote, "origin", here.all_refs())
    with Remote.connect(FileBucket(place), store=None, lock=LOCK) as remote:
        assert pull(there, remote, "origin", [Wanted("data")]).problems == []
    assert read_tree(there, there.commit(there.resolve("data").commit).root) == TREE
    for path in place.rglob("*"):
        assert not path.is_file() or b"MARKER" not in path.read_bytes()
    for refused in (OTHER, None):
        with pytest.raises(RemoteProblem):
            Remote.connect(FileBucket(place), store=None, **({"lock": refused} if refused else {}))


def test_a_plain_remote_is_not_taken_for_an_encrypted_one(place: Path) -> None:
    Remote.connect(FileBucket(place), store=None, make=True)
    for make in (False, True):
        with pytest.raises(RemoteProblem, match="not encrypted"):
            Remote.connect(FileBucket(place), store=None, make=make, lock=LOCK)


@pytest.mark.parametrize("puts", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_making_one_goes_on_where_it_was_cut(puts: int, when: str, place: Path) -> None:
    left = puts

    def cut(call: str, name: str) -> None:
        nonlocal left
        left -= call == "put"
        if left == 0 and call == "put":
            raise InterruptedError

    cutting = WatchedBucket(FileBucket(place), **{when: cut})  # type: ignore[arg-type]
    with pytest.raises(InterruptedError):
        Remote.connect(cutting, store=None, make=True, lock=LOCK)
    whole = (place / "vfs.json").exists()
    assert whole == (puts == 3 and when == "after")
    if not whole:
        with pytest.raises(RemoteProblem, match="no vfs remote"):
            Remote.connect(FileBucket(place), store=None, lock=LOCK)
    made = Remote.connect(FileBucket(place), store=None, make=True, lock=LOCK)
    assert Remote.connect(FileBucket(place), store=None, lock=LOCK).uuid == made.uuid
