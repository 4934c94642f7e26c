"""The bytes of docs/remote-format.md, written once and compared for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vfs.errors import RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.remote.bundle import Bundle, NewBundle
from vfs.remote.files import FileBucket
from vfs.remote.journal import Journal
from vfs.remote.layout import (
    HEADER_NAME,
    PackIndex,
    decode_header,
    encode_header,
    encode_json,
    index_name,
    pack_name,
    pack_of_name,
)
from vfs.remote.notes import Reason
from vfs.remote.pack import PackBuilder
from vfs.remote.parallel import Workers
from vfs.remote.records import decode_record, encode_record
from vfs.remote.refs import RemoteRefs
from vfs.remote.sealed import SealedBucket
from vfs.remote.secrets import MasterKey
from vfs.store.layout import Kind

HERE = Path(__file__).parent
UUID = "01234567-89ab-cdef-0123-456789abcdef"
# Too short for zstd to save anything: what it makes of more may change.
CHUNK, NODE = b"a chunk", b"T" + bytes(3)
RECORD = {
    "commit": object_id(NODE).hex(),
    "force": False,
    "kind": "branch",
    "nonce": "0011223344556677",
    "previous": "",
    "time": 1_700_000_000_000_000_000,
    "who": "Ada",
    "why": "push: caf\xe9",
}


def members() -> dict[str, bytes]:
    builder = PackBuilder()
    builder.add(Kind.CHUNK, object_id(CHUNK), CHUNK)
    builder.add(Kind.TREE, object_id(NODE), NODE)
    builder.add(Kind.CHUNK, object_id(NODE), NODE)
    pack = builder.seal()
    return {
        HEADER_NAME: encode_header(UUID),
        pack_name(pack.id): pack.body,
        index_name(pack.id): pack.index_data,
        "refs/data/main/00000000000000000000": encode_json(RECORD),
    }


@pytest.fixture
def golden() -> Iterator[Bundle]:
    with closing(Bundle.open(HERE / "remote.vfsbundle")) as bundle:
        yield bundle


def test_what_is_written_is_what_it_was(tmp_path: Path) -> None:
    with closing(NewBundle(tmp_path / "new.vfsbundle")) as bundle:
        for name, data in members().items():
            bundle.put(name, data)
        bundle.finish()
    assert (tmp_path / "new.vfsbundle").read_bytes() == (HERE / "remote.vfsbundle").read_bytes()


def test_what_was_written_is_read(golden: Bundle) -> None:
    bundle = golden
    assert decode_header(bundle.get(HEADER_NAME, most=1000)) == UUID
    (item,) = bundle.items("index")
    pack = pack_of_name(item.name)
    assert pack is not None
    index = PackIndex(pack, bundle.get(item.name, most=item.size))
    assert [(oid, kind) for oid, kind in index.ids()] == sorted(
        [
            (object_id(CHUNK), Kind.CHUNK),
            (object_id(NODE), Kind.CHUNK),
            (object_id(NODE), Kind.TREE),
        ]
    )
    node = index.find(object_id(NODE), is_node=True)
    assert node is not None
    assert node.kind is Kind.TREE
    assert index.find(object_id(CHUNK), is_node=True) is None
    assert index.find(ObjectId(bytes(32)), is_node=False) is None
    stored = bundle.get_range(pack_name(pack), node.segment.start, node.segment.stored)
    assert stored == NODE
    head = RemoteRefs(bundle).head("data", "main")
    assert head is not None
    assert (head.commit, head.who, head.why) == (object_id(NODE), "Ada", "push: caf\xe9")


STATE = {
    "erased": [
        {
            "chunks": [object_id(CHUNK).hex()],
            "contents": [object_id(b"content").hex()],
            "reason": "request 17",
            "time": 1_700_000_000_000_000_000,
        }
    ],
    "generation": 30,
    "kind": "state",
    "nonce": "0011223344556677",
    "previous": object_id(b"record 31").hex(),
    "pruned": {object_id(b"commit").hex(): [1_700_000_000_000_000_001, "retention"]},
    "since": 1_600_000_000_000_000_000,
    "time": 1_700_000_000_000_000_002,
}
RECORDS = {"reference.json": RECORD, "journal-state.json": STATE}


@pytest.mark.parametrize("name", RECORDS)
def test_records_with_a_sum(name: str) -> None:
    data = (HERE / name).read_bytes()
    assert encode_record(RECORDS[name]) == data
    assert decode_record(name, data, frozenset()) == RECORDS[name]


def test_a_state_of_the_journal(tmp_path: Path) -> None:
    bucket = FileBucket(tmp_path)
    bucket.put(f"journal/{32:020}", (HERE / "journal-state.json").read_bytes())
    journal = Journal(bucket, None)
    with Workers() as workers:
        journal.refresh(workers)
    state, reason = journal.state, Reason(1_700_000_000_000_000_000, "request 17")
    assert (state.records, state.base, state.generation) == (33, 32, 30)
    assert state.pruned == {object_id(b"commit"): Reason(1_700_000_000_000_000_001, "retention")}
    assert state.erased == {object_id(CHUNK): reason}
    assert state.erased_contents == {object_id(b"content"): reason}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b'{"format":1,"kind":"vfs remote"}',
        b'{"format":2,"kind":"vfs remote","uuid":"%s"}' % UUID.encode(),
        b'{"format":1,"kind":"vfs remote","uuid":"../../etc"}',
    ],
)
def test_other_headers_are_refused(header: bytes) -> None:
    with pytest.raises(RemoteProblem):
        decode_header(header)


SEALED = {
    "packs/" + "ab" * 32: (
        "packs/x7caatz4pvxpz2jz2uvwipgxvfkokzjnu4acl6bbine6yb5adtpbxgfvti253s4"
        "irji6cbk7tqzsgiuofjl5srm2brr2f2ntlsjuebmw6ukbplbbdj6uuuvk3gj4n3m4y"
    ),
    "refs/data/main/00000000000000000003": (
        "refs/x2lurn6xbm3velbnyukaiii2qkhi35wrsidsjakfozfw6mxbm6o43mofpvpy6srqpyrvo4qdhs6i72/"
        "xcdaoiqneijd2pyqaxa36gr3nzjjwherol5m44erleyunz2o52uchizpo7pvghkulisboc3tsm3toy/"
        "00000000000000000003"
    ),
}


def test_an_encrypted_object_is_opened(tmp_path: Path) -> None:
    files = FileBucket(tmp_path)
    bucket = SealedBucket(files, MasterKey(bytes(range(32))))
    for name, there in SEALED.items():
        files.put(there, (HERE / "sealed.bin").read_bytes())
        assert [item.name for item in bucket.items(name.rpartition("/")[0])] == [name]
    pack, reference = SEALED
    data = b"".join(b"%07d\n" % number for number in range(10_000))
    assert bucket.get(pack, most=len(data)) == data
    assert bucket.get_range(pack, 70_000, 100) == data[70_000:70_100]
    with pytest.raises(RemoteProblem):  # the bytes of one object are not another's
        bucket.get(reference, most=len(data))
