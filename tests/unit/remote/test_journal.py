"""The journal of a remote: records in their order, whoever writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remotes import WatchedBucket
from vfs.errors import NotFound, RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.remote import notes
from vfs.remote.bucket import Bucket
from vfs.remote.files import FileBucket
from vfs.remote.journal import COMPACT_RECORDS, Journal
from vfs.remote.notes import Reason
from vfs.remote.parallel import Workers
from vfs.remote.records import encode_record

A, B, C = (object_id(bytes([number])) for number in range(3))


@pytest.fixture
def bucket(tmp_path: Path) -> FileBucket:
    return FileBucket(tmp_path / "remote")


def read(bucket: Bucket, cache: Path | None = None) -> Journal:
    found = Journal(bucket, cache)
    with Workers() as workers:
        found.refresh(workers)
    return found


def condemned(*packs: ObjectId) -> notes.Value:
    return notes.condemned(
        time_ns=7, since_ns=5, packs=frozenset(packs), kept=frozenset([C]), orphans=frozenset()
    )


def test_what_records_say(bucket: FileBucket, tmp_path: Path) -> None:
    one = read(bucket)
    assert one.append(notes.pruned({A: Reason(3, "retention"), B: Reason(4, "retention")}))
    assert one.append(condemned(A, B))
    assert one.append(notes.whole(frozenset([B])))
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
    assert one.append(notes.removed(number=1, time_ns=9))
    assert one.append(notes.erased(Reason(8, "why"), chunks=frozenset([C]), contents=frozenset()))
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
    bucket.put(f"journal/{0:020}", encode_record({"kind": "later", "more": []}))
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


def test_a_record_that_was_changed_is_refused(bucket: FileBucket, tmp_path: Path) -> None:
    one = read(bucket)
    assert one.append(notes.pruned({A: Reason(3, "retention")}))
    assert one.append(notes.whole(frozenset([A])))
    path = min((tmp_path / "remote" / "journal").iterdir())
    pristine = path.read_bytes()
    for at in range(len(pristine)):
        path.write_bytes(pristine[:at] + bytes([pristine[at] ^ 1]) + pristine[at + 1 :])
        with pytest.raises(RemoteProblem, match="damaged"):
            read(bucket)
    path.write_bytes(encode_record({"kind": "later", "previous": ""}))
    with pytest.raises(RemoteProblem, match="was replaced"):
        read(bucket)


# compacted


def grown(bucket: FileBucket) -> Journal:
    """Return a journal that is long enough, of records of all kinds."""
    one = read(bucket)
    assert one.append(notes.erased(Reason(1, "why"), chunks=frozenset([A]), contents=frozenset()))
    assert one.append(
        notes.erased(Reason(2, "law"), chunks=frozenset([A, B]), contents=frozenset([C]))
    )
    assert one.append(notes.pruned({B: Reason(3, "retention")}))
    for number in range(3, COMPACT_RECORDS, 2):
        assert one.append(condemned(A, C))
        assert one.append(notes.removed(number=number, time_ns=9))
    assert one.state.records >= COMPACT_RECORDS
    return one


def facts(one: Journal) -> tuple[object, ...]:
    state = one.state
    gone = (state.pruned, state.erased, state.erased_contents)
    return (state.records, state.generation, state.collection, state.since_ns, *gone)


def numbers(bucket: FileBucket) -> list[int]:
    return [int(item.name[-20:]) for item in bucket.items("journal")]


def test_a_compacted_journal_says_the_same(bucket: FileBucket, tmp_path: Path) -> None:
    one, behind = grown(bucket), read(bucket)
    said, there = facts(read(bucket, tmp_path / "cache")), numbers(bucket)
    one.compact(100, 50)
    assert facts(one) == (said[0] + 1, *said[1:])  # type: ignore[operator]
    one.compact(149, 50)
    assert numbers(bucket) == [*there, len(there)]
    one.compact(150, 50)
    assert numbers(bucket) == [len(there)]
    with Workers() as workers:
        assert behind.refresh(workers)
    for other in (read(bucket), read(bucket, tmp_path / "cache"), behind):
        assert facts(other) == facts(one)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert behind.append(condemned(B))
    assert not one.append(condemned(A))
    assert facts(read(bucket)) == facts(behind)
    behind.compact(10**6, 50)
    assert numbers(bucket) == [len(there), len(there) + 1]


def test_nothing_is_compacted_during_a_collection_or_too_early(bucket: FileBucket) -> None:
    one = read(bucket)
    one.append(condemned(A))
    one.compact(100, 50)
    assert numbers(bucket) == [0]
    for _ in range(COMPACT_RECORDS):
        one.append(notes.whole(frozenset()))
    one.compact(100, 50)
    assert len(numbers(bucket)) == COMPACT_RECORDS + 1
    one.append(notes.removed(number=0, time_ns=1))
    one.compact(100, 50)
    assert one.state.base == COMPACT_RECORDS + 2


def test_killed_while_it_is_compacted(bucket: FileBucket) -> None:
    one = grown(bucket)
    one.compact(100, 50)
    while len(there := numbers(bucket)) > 1:

        def cut(call: str, name: str) -> None:
            if call == "delete":
                raise InterruptedError

        with pytest.raises(InterruptedError):
            read(WatchedBucket(bucket, after=cut)).compact(200, 50)
        assert numbers(bucket) == [*there[:-2], there[-1]]
        assert facts(read(bucket)) == facts(one)


def test_a_record_that_goes_while_it_is_read(bucket: FileBucket) -> None:
    one = grown(bucket)
    one.compact(100, 50)

    def compacted(call: str, name: str) -> None:
        if call == "get":
            one.compact(200, 50)

    assert facts(read(WatchedBucket(bucket, before=compacted))) == facts(one)
    bucket.delete(f"journal/{one.state.base:020}")
    with pytest.raises(NotFound):
        bucket.get(f"journal/{one.state.base:020}", most=10**6)
    assert one.append(condemned(A))
    with pytest.raises(RemoteProblem, match="gap"):
        read(bucket)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_who_comes_too_late_is_not_heard(left: int, bucket: FileBucket) -> None:
    """Who has not looked since before a compaction finds the place of the next record free."""
    stale = []
    growing = read(bucket)
    while growing.state.records < COMPACT_RECORDS:
        stale.append(read(bucket))
        assert growing.append(notes.pruned({A: Reason(growing.state.records, "x")}))
    growing.compact(100, 50)
    for number in reversed(range(left, COMPACT_RECORDS)):
        bucket.delete(f"journal/{number:020}")  # as a compaction that was killed, or was not
    for late in stale[left:]:
        assert not late.append(condemned(B))
        assert facts(read(bucket)) == facts(growing)
        with Workers() as workers:
            assert late.refresh(workers)
        assert facts(late) == facts(growing)
    assert growing.append(notes.whole(frozenset([A])))
    assert facts(read(bucket)) == facts(growing)
    growing.compact(200, 50)
    assert numbers(bucket) == [COMPACT_RECORDS, COMPACT_RECORDS + 1]
