"""The journal of a remote: records in their order, whoever writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfs.errors import RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.remote import journal
from vfs.remote.files import FileBucket
from vfs.remote.journal import Journal, Reason
from vfs.remote.parallel import Workers

A, B, C = (object_id(bytes([number])) for number in range(3))


@pytest.fixture
def bucket(tmp_path: Path) -> FileBucket:
    return FileBucket(tmp_path / "remote")


def read(bucket: FileBucket, cache: Path | None = None) -> Journal:
    found = Journal(bucket, cache)
    with Workers() as workers:
        found.refresh(workers)
    return found


def condemned(*packs: ObjectId) -> journal.Value:
    return journal.condemned(
        time_ns=7, since_ns=5, packs=frozenset(packs), kept=frozenset([C]), orphans=frozenset()
    )


def test_what_records_say(bucket: FileBucket, tmp_path: Path) -> None:
    one = read(bucket)
    assert one.append(journal.pruned({A: Reason(3, "retention"), B: Reason(4, "retention")}))
    assert one.append(condemned(A, B))
    assert one.append(journal.whole(frozenset([B])))
    for other in (
        one,
        read(bucket),
        read(bucket, tmp_path / "cache"),
        read(bucket, tmp_path / "cache"),
    ):
        state = other.state
        assert state.records == 3
        assert state.pruned == {A: Reason(3, "retention")}
        assert state.collection is not None
        assert state.collection.packs == {A, B}
        assert (state.collection.number, state.since_ns, state.generation) == (1, 5, 2)
    assert one.append(journal.removed(number=1, time_ns=9))
    assert one.append(journal.erased(Reason(8, "why"), chunks=frozenset([C]), contents=frozenset()))
    state = read(bucket).state
    assert state.collection is None
    assert state.erased == {C: Reason(8, "why")}
    assert state.generation == 5


def test_of_two_who_write_a_record_one_does(bucket: FileBucket) -> None:
    one, other = read(bucket), read(bucket)
    assert one.append(condemned(A))
    assert not other.append(condemned(A))
    with Workers() as workers:
        assert other.refresh(workers)
        assert not other.refresh(workers)
    assert other.append(condemned(B))


def test_what_a_later_vfs_writes_is_passed_over(bucket: FileBucket) -> None:
    bucket.put(f"journal/{0:020}", b'{"kind":"later","more":[]}')
    assert read(bucket).state.records == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"kind":"condemned"}',
        b'{"kind":"whole","commits":["zz"]}',
        b'{"kind":"pruned","commits":5}',
        b'{"kind":"erased","chunks":[1],"contents":[],"reason":"","time":1}',
    ],
)
def test_damage_is_told(data: bytes, bucket: FileBucket) -> None:
    bucket.put(f"journal/{0:020}", data)
    with pytest.raises(RemoteProblem, match="damaged"):
        read(bucket)


def test_a_gap_is_told(bucket: FileBucket) -> None:
    bucket.put(f"journal/{1:020}", b'{"kind":"later"}')
    with pytest.raises(RemoteProblem, match="gap"):
        read(bucket)
