"""Inode numbers: a function of the entry, and back to an entry, whatever collides."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings

from tests.support.trees import DIRECTORIES, file
from vfs.ids import Number, ObjectId
from vfs.model.entry import Entry
from vfs.model.node import Leaf, decode_node, encode_leaf, identity
from vfs.store import numbers
from vfs.store.layout import Kind
from vfs.store.store import Store


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    path = Path(tempfile.mkdtemp())
    with Store.create(path / "store") as made:
        yield made
    shutil.rmtree(path)


def add_leaf(store: Store, entries: list[Entry]) -> ObjectId:
    with store.ingest() as ingest:
        return ingest.add_object(Kind.TREE, encode_leaf(entries))


def located(store: Store, number: Number) -> bytes:
    """Return the identity of the entry that a number leads to."""
    place = store.numbering.locate(number)
    assert place is not None
    leaf = decode_node(store.reader().get(place[0]))
    assert isinstance(leaf, Leaf)
    return leaf.identity(place[1])


@given(DIRECTORIES)
@settings(max_examples=30)
def test_a_number_leads_back_to_its_entry(store: Store, rows: dict[bytes, Entry]) -> None:
    entries = [rows[name] for name in sorted(rows)]
    add_leaf(store, entries)
    for entry in entries:
        number = store.numbering.number(identity(entry))
        assert numbers.RESERVED <= number < 2**62
        if entry.is_dir:
            assert store.numbering.locate(number) is None
        else:
            assert located(store, number) == identity(entry)


def test_the_same_entry_has_the_same_number_everywhere(tmp_path: Path) -> None:
    same = file(b"name", 1)
    with Store.create(tmp_path / "s") as store:
        number = store.numbering.number(identity(same))
        for others in range(3):
            add_leaf(store, [same._replace(name=b"n%d" % others), file(b"other", 100 + others)])
        count = store.numbering.count()
        assert count == 4
    with Store.open(tmp_path / "s") as store:
        assert store.numbering.number(identity(same)) == number
        assert located(store, number) == identity(same)
        assert store.numbering.count() == count


@pytest.mark.parametrize(
    "change",
    [
        {"mode": 0o100600}, {"uid": 9}, {"gid": 9}, {"mtime_ns": 1}, {"size": 1},
        {"content": ObjectId(b"x" * 32)}, {"flags": 1}, {"extra": b"\3\x08\0" + b"\1" * 8},
    ],
)  # fmt: skip
def test_any_difference_but_the_name_gives_another_number(
    store: Store, change: dict[str, object]
) -> None:
    one = file(b"name", 1)
    other = one._replace(**change)  # type: ignore[arg-type]
    numbering = store.numbering
    assert numbering.number(identity(one)) != numbering.number(identity(other))
    assert numbering.number(identity(one)) == numbering.number(identity(one._replace(name=b"x")))


def test_stores_number_apart(tmp_path: Path) -> None:
    """Or whoever can read one store could aim at numbers of another."""
    with Store.create(tmp_path / "a") as one, Store.create(tmp_path / "b") as other:
        entry = identity(file(b"name", 1))
        assert one.numbering.number(entry) != other.numbering.number(entry)


def test_a_number_that_was_never_given_out(store: Store) -> None:
    for number in (0, 1, numbers.RESERVED, 2**62 - 1):
        assert store.numbering.locate(Number(number)) is None


def test_numbers_are_there_with_the_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction: a leaf that was not stored has no number, and the other way round."""

    def fail(*arguments: object) -> bytes:
        raise RuntimeError("in the middle of a leaf")

    entry = file(b"name", 1)
    with Store.create(tmp_path / "s") as store:
        with monkeypatch.context() as patch:
            patch.setattr(numbers, "pack_number_row", fail)
            with pytest.raises(RuntimeError, match="in the middle"):
                add_leaf(store, [entry])
        number = store.numbering.number(identity(entry))
        assert store.numbering.locate(number) is None
        assert store.numbering.count() == 0
        leaf = add_leaf(store, [entry])
        assert store.numbering.locate(number) == (leaf, 0)


@pytest.fixture(params=[0, 1, 6, 14])
def few_bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many bits of an entry's digest decide, so entries collide, many below RESERVED.

    Numbers drawn anew keep all their bits.
    """
    bits: int = request.param
    own_number = numbers._own_number
    drawn_anew: set[bytes] = set()

    class Digest:
        def __init__(self, data: bytes, key: bytes) -> None:
            self.bytes: bytes = blake3(data, key=key).digest(numbers._DIGEST_BYTES)
            if len(data) == numbers._DIGEST_BYTES:  # no identity is as short: this is a digest
                drawn_anew.add(self.bytes)

        def digest(self, length: int) -> bytes:
            return self.bytes[:length]

    def own(digest: bytes) -> Number:
        if digest in drawn_anew:
            return own_number(digest)
        return Number(int.from_bytes(digest[:8], "little") & ((1 << bits) - 1))

    monkeypatch.setattr(numbers, "blake3", Digest)
    monkeypatch.setattr(numbers, "_own_number", own)


def test_collisions_get_numbers_of_their_own(tmp_path: Path, few_bits: None) -> None:
    entries = [file(b"n%04d" % number, number) for number in range(300)]
    with Store.create(tmp_path / "s") as store:
        for start in range(0, 300, 50):
            add_leaf(store, entries[start : start + 50])
        store.numbering.refresh()
        given_out = [store.numbering.number(identity(entry)) for entry in entries]
        assert len(set(given_out)) == len(entries)
        assert min(given_out) >= numbers.RESERVED
        for entry, number in zip(entries, given_out, strict=True):
            assert located(store, number) == identity(entry)
        # The same entries in other leaves: nothing new.
        count = store.numbering.count()
        add_leaf(store, [entry._replace(name=b"x" + entry.name) for entry in entries])
        store.numbering.refresh()
        assert [store.numbering.number(identity(entry)) for entry in entries] == given_out
        assert store.numbering.count() == count
    with Store.open(tmp_path / "s") as store:
        assert [store.numbering.number(identity(entry)) for entry in entries] == given_out
