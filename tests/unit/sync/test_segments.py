"""Segments that travel as they are stored: which do, and what becomes of those that lie."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

from tests.support.remotes import commit, connect, read_tree
from vfs.errors import RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.model.blob import Span, encode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry, Totals, directory_entry
from vfs.model.node import encode_leaf
from vfs.remote.layout import Segment, encode_index, index_name, pack_name
from vfs.remote.pack import PackBuilder, SealedPack
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store import ingest
from vfs.store.layout import Kind
from vfs.store.whole import Gathering, Part, is_whole
from vfs.sync import receiving, segments
from vfs.sync.fetch import Wanted
from vfs.sync.progress import SILENT
from vfs.sync.pull import pull
from vfs.sync.push import push
from vfs.sync.sending import Sender


def letters(seed: int, size: int) -> bytes:
    return bytes(random.Random(seed).choices(b"abcdefgh", k=size))


CHUNKS = [letters(seed, 50_000) for seed in range(4)]
IDS = [object_id(chunk) for chunk in CHUNKS]


def commit_chunks(repo: Repository, chunks: Sequence[bytes], *, together: bool = True) -> None:
    """Make a version with one file of these chunks, in one segment or each in its own."""
    repo.create_data_set("data")
    with repo.store.ingest() as ingest:
        ids = ingest.add_chunks(chunks, [len(chunks)] if together else None)
        spans = [Span(oid, len(chunk)) for oid, chunk in zip(ids, chunks, strict=True)]
        blob = ingest.add_object(Kind.BLOB, encode_blob_node(0, spans))
        size = sum(map(len, chunks))
        entry = Entry(b"file", 0o100644, 0, 0, 0, size, blob, FLAG_BLOB, b"")
        tree = ingest.add_object(Kind.TREE, encode_leaf([entry]))
        root = directory_entry(b"", tree, Totals(0, 1, 1, size))
        repo.commit_root("data", "main", lambda _: root, ingest=ingest, message="x")


def push_all(repo: Repository, place: Path) -> None:
    with connect(place) as remote:
        push(repo, remote, "", repo.all_refs())


def pull_data(repo: Repository, place: Path) -> None:
    with connect(place, make=False) as remote:
        assert pull(repo, remote, "", [Wanted("data")]).problems == []


def stored(repo: Repository, oid: ObjectId) -> bytes:
    return repo.reader.copied(repo.reader.place(oid))


def travelled(place: Path, oid: ObjectId) -> bytes:
    """Return the segment of an object as it is on the remote."""
    with connect(place, make=False) as remote:
        remote.refresh()
        found = remote.objects.place(oid, is_node=False)
    pack = (place / pack_name(found.pack)).read_bytes()
    return pack[found.segment.start : found.segment.start + found.segment.stored]


def assert_pulled(repo: Repository) -> None:
    root = repo.commit(repo.resolve("data").commit).root
    assert read_tree(repo, root) == {"file": b"".join(CHUNKS)}
    repo.close()
    assert check_store(repo.store.path, data=True).damages == []


def publish_lie(
    repo: Repository,
    place: Path,
    body: bytes,
    raw: int,
    objects: Sequence[tuple[ObjectId, int, int]],
) -> None:
    """Put a segment of chunks on a remote, with what an index is to say, then push all else.

    *objects*: id, offset, size.
    """
    pack_bytes = b"vfspack\x01" + body
    pack = object_id(pack_bytes)
    segment = Segment(8, len(body), raw, compressed=True)
    rows = [(oid, Kind.CHUNK, 0, offset, size) for oid, offset, size in objects]
    index = encode_index(pack, len(pack_bytes), [segment], rows)
    with connect(place) as remote:
        remote.bucket.put(pack_name(pack), pack_bytes)
        remote.publish(SealedPack(pack, b"", index, len(rows), raw))
        push(repo, remote, "", repo.all_refs())
    assert (place / index_name(pack)).exists()


def truth() -> list[tuple[ObjectId, int, int]]:
    return [(oid, number * 50_000, 50_000) for number, oid in enumerate(IDS)]


def test_a_whole_segment_is_the_same_bytes_on_both_sides(
    here: Repository, there: Repository, place: Path
) -> None:
    commit_chunks(here, CHUNKS)
    push_all(here, place)
    pull_data(there, place)
    frames = {stored(here, oid) for oid in IDS}
    assert len(frames) == 1
    assert frames == {travelled(place, oid) for oid in IDS} == {stored(there, oid) for oid in IDS}
    assert_pulled(there)


def test_small_segments_are_joined_and_stay_so(
    here: Repository, there: Repository, place: Path
) -> None:
    commit_chunks(here, CHUNKS, together=False)
    push_all(here, place)
    pull_data(there, place)
    frames = {travelled(place, oid) for oid in IDS}
    assert len(frames) == 1
    assert frames == {stored(there, oid) for oid in IDS}
    assert_pulled(there)


def test_what_is_here_already_is_not_stored_twice(
    here: Repository, there: Repository, place: Path
) -> None:
    commit_chunks(here, CHUNKS)
    push_all(here, place)
    with there.store.ingest() as ingest:
        ingest.add_chunks([CHUNKS[2]])
    old = stored(there, IDS[2])
    pull_data(there, place)
    assert stored(there, IDS[2]) == old
    assert travelled(place, IDS[0]) != stored(there, IDS[0]) == stored(there, IDS[3])
    assert_pulled(there)


def test_a_push_sends_of_a_segment_what_is_missing(
    here: Repository, there: Repository, place: Path
) -> None:
    commit_chunks(there, CHUNKS[:2])
    push_all(there, place)
    commit_chunks(here, CHUNKS)
    with connect(place) as remote:
        result = push(here, remote, "", here.all_refs(), force=True)
    assert result.objects == 2 + 3  # chunks; blob, tree, commit
    with Repository.create(place.with_name("third")) as third:
        pull_data(third, place)
        assert_pulled(third)


def test_a_segment_that_moved_is_read_where_it_is(here: Repository, place: Path) -> None:
    """Garbage collection may move it between the look into the index and the read."""
    commit_chunks(here, CHUNKS)
    builder = PackBuilder()
    with connect(place) as remote:
        at = here.reader.place(IDS[0])
        parts = [Part(offset, size, oid) for oid, offset, size in truth()]
        body, compressed = Sender(here, remote, SILENT)._load(at._replace(block=999), parts)
        builder.add_stored([(oid, size) for oid, _, size in truth()], lambda: (body, compressed))
        remote.publish(remote.seal(builder))
        push(here, remote, "", here.all_refs())
    with Repository.create(place.with_name("third")) as third:
        pull_data(third, place)
        assert_pulled(third)


def test_bytes_behind_a_frame_are_refused(here: Repository, there: Repository, place: Path) -> None:
    commit_chunks(here, CHUNKS)
    raw = b"".join(CHUNKS)
    publish_lie(here, place, zstandard.compress(raw) + b"hidden", len(raw), truth())
    with pytest.raises(RemoteProblem, match="damaged"):
        pull_data(there, place)


@pytest.mark.parametrize("lie", ["behind", "between", "twice", "no gain"])
def test_what_no_index_tells_of_is_not_stored(
    lie: str, here: Repository, there: Repository, place: Path
) -> None:
    """The objects are right, so they are taken; what is around them stays away."""
    commit_chunks(here, CHUNKS)
    raw, objects = b"".join(CHUNKS), truth()
    if lie == "behind":
        raw += b"hidden"
    elif lie == "between":
        raw = raw[:50_000] + b"hidden" + raw[50_000:]
        objects = [(oid, at + 6 if at else 0, size) for oid, at, size in objects]
    elif lie == "twice":
        objects.append(objects[1])
    body = _wasteful(raw) if lie == "no gain" else zstandard.compress(raw)
    publish_lie(here, place, body, len(raw), objects)
    pull_data(there, place)
    if lie != "twice":
        assert all(stored(there, oid) != body for oid in IDS)
    assert_pulled(there)


def _wasteful(raw: bytes) -> bytes:
    """Return a frame with more bytes than it holds: empty blocks before the real ones."""
    frame = zstandard.compress(raw)
    head = zstandard.frame_header_size(frame)
    empty = b"\x00\x00\x00"  # a raw block of no bytes, not the last
    return frame[:head] + empty * (len(raw) // 3) + frame[head:]


def test_a_chunk_on_its_way_has_one_size_only(
    here: Repository, there: Repository, place: Path
) -> None:
    """A second file says that a chunk which was just asked for has another size."""
    here.create_data_set("data")
    with here.store.ingest() as ingest:
        (oid,) = ingest.add_chunks([b"x" * 100])
        entries = [
            Entry(name, 0o100644, 0, 0, 0, size, oid, 0, b"")
            for name, size in ((b"a", 100), (b"b", 99))
        ]
        tree = ingest.add_object(Kind.TREE, encode_leaf(entries))
        root = directory_entry(b"", tree, Totals(0, 1, 2, 199))
        here.commit_root("data", "main", lambda _: root, ingest=ingest, message="bad")
    push_all(here, place)
    with pytest.raises(RemoteProblem, match="size"):
        pull_data(there, place)


def test_gathering_tells_of_a_segment_when_all_of_it_is_there() -> None:
    gathering: Gathering[str] = Gathering()
    one, two = Part(0, 5, IDS[0]), Part(5, 7, IDS[1])
    assert gathering.add("a", 12, two) is None
    assert gathering.add("b", 12, two) is None
    assert gathering.add("a", 12, one) == [one, two]
    assert list(gathering.rest()) == [("b", [two])]
    assert list(gathering.rest()) == []


def test_parts_that_overlap_are_no_whole() -> None:
    assert is_whole([Part(0, 5, IDS[0]), Part(5, 7, IDS[1])], 12)
    assert not is_whole([Part(0, 5, IDS[0]), Part(4, 7, IDS[1])], 12)
    assert not is_whole([Part(0, 5, IDS[0]), Part(4, 8, IDS[1])], 12)
    assert not is_whole([Part(1, 5, IDS[0]), Part(6, 6, IDS[1])], 12)


def test_a_small_unrelated_version_still_travels(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, {"a": b"a" * 5000, "b": b"b"})
    push_all(here, place)
    pull_data(there, place)
    root = there.commit(there.resolve("data").commit).root
    assert read_tree(there, root) == {"a": b"a" * 5000, "b": b"b"}


def test_a_segment_of_too_many_chunks_is_stored_in_several(
    monkeypatch: pytest.MonkeyPatch, here: Repository, there: Repository, place: Path
) -> None:
    """As an earlier vfs made them: one transaction could not hold their rows within bounds."""
    commit_chunks(here, CHUNKS)
    push_all(here, place)
    for module in (ingest, segments):
        monkeypatch.setattr(module, "SEGMENT_OBJECTS", 3)
    pull_data(there, place)
    frames = [stored(there, oid) for oid in IDS]
    assert frames[0] == frames[1] == frames[2] != frames[3]
    assert travelled(place, IDS[0]) not in frames
    assert_pulled(there)


def test_what_waits_for_its_segment_is_asked_for_before_it_is_too_much(
    monkeypatch: pytest.MonkeyPatch, here: Repository, there: Repository, place: Path
) -> None:
    monkeypatch.setattr(receiving, "FLUSH_CHUNKS", 2)
    commit_chunks(here, CHUNKS)
    push_all(here, place)
    pull_data(there, place)
    assert len({stored(there, oid) for oid in IDS}) == 2  # three of the segment, then the last
    assert_pulled(there)
