"""An encrypted bucket in an owner's hands: whatever he changes is an error, never wrong data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.remotes import FaultyBucket, WatchedBucket, patient
from vfs.errors import CorruptObject, NotFound, RemoteProblem
from vfs.remote import keys
from vfs.remote.files import FileBucket
from vfs.remote.sealed import SealedBucket
from vfs.remote.sealing import BLOCK_BYTES, HEAD_BYTES, Names, Sealer, padded_size, sealed_size
from vfs.remote.secrets import (
    MasterKey,
    Secret,
    make_key_file,
    passphrase,
    read_key_file,
    read_passphrase_file,
)

EXAMPLES = int(os.environ.get("VFS_SEALED_EXAMPLES", "60"))
MASTER = MasterKey(bytes(range(32)))
SEALER = Sealer(MASTER)
DATA = random.Random(1).randbytes(3 * BLOCK_BYTES + 777)
SEALED = SEALER.seal("packs/a", DATA)
STEP = BLOCK_BYTES + 16
SIZES = st.one_of(st.integers(0, 3000), st.integers(BLOCK_BYTES - 20, 2 * BLOCK_BYTES + 20))


@settings(max_examples=EXAMPLES, deadline=None)
@given(size=SIZES)
def test_what_is_sealed_is_opened_and_as_long_as_is_said(size: int) -> None:
    data = random.Random(size).randbytes(size)
    sealed = SEALER.seal("a/b", data)
    assert len(sealed) == sealed_size(size)
    assert size <= padded_size(size) <= max(1024, size * 1.125)
    assert SEALER.open("a/b", sealed) == data
    for name, sealer in (("a/c", SEALER), ("a/b", Sealer(MasterKey(bytes(32))))):
        with pytest.raises(CorruptObject):
            sealer.open(name, sealed)


@settings(max_examples=EXAMPLES, deadline=None)
@given(at=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7), cut=st.booleans())
def test_a_changed_bit_or_a_cut_is_found(at: int, bit: int, cut: bool) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= 1 << bit
    with pytest.raises(CorruptObject):
        SEALER.open("packs/a", SEALED[:at] if cut else bytes(changed))


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    order=st.lists(st.integers(0, 3), min_size=1, max_size=6).filter(lambda o: o != [0, 1, 2, 3])
)
def test_blocks_in_another_order_or_number_are_found(order: list[int]) -> None:
    blocks = [SEALED[at : at + STEP] for at in range(HEAD_BYTES, len(SEALED), STEP)]
    moved = SEALED[:HEAD_BYTES] + b"".join(blocks[number] for number in order)
    with pytest.raises(CorruptObject):
        SEALER.open("packs/a", moved)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ends=st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))))
def test_a_range_is_a_slice(
    ends: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    start, end = sorted(ends)
    bucket = SealedBucket(FileBucket(_written(tmp_path_factory)), MASTER)
    assert bucket.get_range("packs/a", start, end - start) == DATA[start:end]


def _written(factory: pytest.TempPathFactory) -> Path:
    path = factory.getbasetemp() / "sealed"
    SealedBucket(FileBucket(path), MASTER).put("packs/a", DATA)
    return path


def test_a_range_takes_one_request_once_the_head_is_known(tmp_path: Path) -> None:
    watched = WatchedBucket(FileBucket(tmp_path))
    bucket = SealedBucket(watched, MASTER)
    bucket.put("packs/a", DATA)
    for start in (0, 100_000, len(DATA) - 1):
        assert bucket.get_range("packs/a", start, 1) == DATA[start : start + 1]
    assert watched.calls["get_range"] == 4


def test_objects_that_the_owner_swaps_are_errors_or_gone(tmp_path: Path) -> None:
    bucket = SealedBucket(FileBucket(tmp_path), MASTER)
    names = ["index/a", "index/b", "refs/data/main/" + "0" * 20, "refs/data/main/" + "0" * 19 + "1"]
    for name in names:
        bucket.put(name, name.encode())
    paths = [tmp_path / Names(MASTER).object(name) for name in names]
    for one, other in zip(paths[::2], paths[1::2], strict=True):
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    for name in names:
        with pytest.raises(RemoteProblem):
            bucket.get(name, most=100)
    (tmp_path / "refs").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / paths[2].parent.parent.name).rename(tmp_path / "index" / "moved")
    assert bucket.directories("refs") == []
    assert [item.name for item in bucket.items("index")] == ["index/a", "index/b"]
    with pytest.raises(NotFound):
        bucket.get(names[2], most=100)


def test_the_owner_reads_neither_names_nor_contents(tmp_path: Path) -> None:
    bucket = SealedBucket(FileBucket(tmp_path), MASTER)
    bucket.put("refs/patients/main/" + "0" * 20, b"MARKER" * 100)
    bucket.put("packs/" + "ab" * 32, b"MARKER" * 100_000)
    for path in tmp_path.rglob("*"):
        assert not any(word in str(path) for word in ("patients", "main", "abab"))
        assert path.is_dir() or b"MARKER" not in path.read_bytes()
    assert bucket.directories("refs") == ["patients"]


def test_what_a_line_damages_is_read_again(tmp_path: Path) -> None:
    SealedBucket(FileBucket(tmp_path), MASTER).put("packs/a", DATA)
    faulty = FaultyBucket(FileBucket(tmp_path), 3, rate=0.1, wrong_rate=0.1)
    bucket = SealedBucket(patient(faulty), MASTER)
    for start in range(0, 100_000, 5_000):
        assert bucket.get_range("packs/a", start, 9) == DATA[start : start + 9]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SCRYPT_N", 2)


def test_a_passphrase_is_changed_and_the_old_one_opens_no_more(tmp_path: Path, quick: None) -> None:
    bucket = FileBucket(tmp_path)
    old, new = passphrase("old one"), passphrase("new one")
    master = keys.make_keys(bucket, lambda _: old)
    assert keys.make_keys(bucket, lambda _: old) == master  # who was killed goes on
    keys.change_secret(bucket, lambda _: old, lambda _: new)
    assert keys.open_keys(bucket, lambda _: new) == master
    with pytest.raises(RemoteProblem, match="does not open"):
        keys.open_keys(bucket, lambda _: old)
    with pytest.raises(RemoteProblem, match="with a passphrase"):
        keys.open_keys(bucket, lambda _: Secret("key file", bytes(32)))


@pytest.mark.parametrize("facts", [{"n": 1 << 40}, {"r": 1 << 20}, {"p": 99}, {"n": "x"}, {"n": 4}])
def test_a_slot_that_was_changed_is_refused(facts: dict[str, object], quick: None) -> None:
    from vfs.remote.layout import decode_json, encode_json

    secret = passphrase("x")
    slot = decode_json("slot", keys.wrap(0, MASTER, secret))
    with pytest.raises(RemoteProblem):
        keys.unwrap(0, encode_json(slot | facts), secret)
    with pytest.raises(RemoteProblem):  # nor can one stand for another
        keys.unwrap(1, encode_json(slot), secret)


def test_files_with_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    from vfs.errors import AlreadyExists, InvalidInput

    path = tmp_path / "key"
    make_key_file(path)
    secret = read_key_file(path)
    assert secret.data.hex() not in repr(secret)
    bucket = FileBucket(tmp_path / "bucket")
    assert keys.make_keys(bucket, lambda _: secret) == keys.open_keys(bucket, lambda _: secret)
    with pytest.raises(AlreadyExists):
        make_key_file(path)
    path.chmod(0o640)
    with pytest.raises(InvalidInput, match="others may read"):
        read_key_file(path)
    path.write_bytes(b"caf\xc3\xa9\n")
    path.chmod(0o600)
    assert read_passphrase_file(path) == passphrase("cafe\u0301")
    with pytest.raises(InvalidInput, match="no key file"):
        read_key_file(path)
