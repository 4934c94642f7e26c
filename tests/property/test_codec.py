"""Records and bytes: one value has one encoding, and damage is CorruptObject, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trees import DIRECTORIES, EXTRAS, I64, IDS, NAMES, TOTALS, U32, by_name, entries
from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import Span, decode_blob_node, encode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import Extra, Link, Totals, check_entry, directory_entry, directory_totals
from vfs.model.node import (
    Child,
    Inner,
    Leaf,
    Sums,
    decode_node,
    encode_inner,
    encode_leaf,
    identity,
    sums_of,
)

U62 = st.integers(0, 2**62)
SUMS = st.builds(Sums, U32, U32, U62, U62, U62)
CHILDREN = st.dictionaries(NAMES, st.tuples(IDS, SUMS), min_size=1, max_size=12).map(
    lambda rows: [Child(oid, name, sums) for name, (oid, sums) in sorted(rows.items())]
)
SPANS = st.lists(
    st.builds(Span, IDS | st.just(NO_CONTENT), st.integers(1, 2**50)), min_size=1, max_size=20
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ROOTS = st.builds(
    lambda tree, totals, mode, uid, gid, mtime_ns: directory_entry(
        b"", tree, totals, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns
    ),
    IDS, TOTALS, st.integers(0, 0o7777), U32, U32, I64,
)  # fmt: skip
COMMITS = st.builds(
    Commit,
    root=ROOTS,
    parents=st.lists(IDS, max_size=3).map(tuple),
    time_ns=I64,
    author=TEXTS,
    message=TEXTS | st.just(b"caf\xe9".decode("utf-8", "surrogateescape")),
    provenance=st.dictionaries(TEXTS, JSON_VALUES, max_size=3),
)


def encode_node(node: Leaf | Inner) -> bytes:
    if isinstance(node, Leaf):
        return encode_leaf(list(node.entries()))
    return encode_inner(node.level, node.children)


def extra_again(data: bytes) -> bytes:
    return Extra.decode(data).encode()


def node_again(data: bytes) -> bytes:
    return encode_node(decode_node(data))


def blob_again(data: bytes) -> bytes:
    node = decode_blob_node(data)
    return encode_blob_node(node.level, node.spans)


def commit_again(data: bytes) -> bytes:
    return Commit.decode(data).encode()


RECORDS: dict[str, tuple[st.SearchStrategy[bytes], Callable[[bytes], bytes]]] = {
    "extra": (EXTRAS.map(Extra.encode), extra_again),
    "leaf": (
        DIRECTORIES.map(lambda rows: encode_leaf([rows[n] for n in sorted(rows)])),
        node_again,
    ),
    "inner": (st.builds(encode_inner, st.integers(1, 12), CHILDREN), node_again),
    "blob": (st.builds(encode_blob_node, st.just(0), SPANS), blob_again),
    "commit": (COMMITS.map(Commit.encode), commit_again),
}
each_record = pytest.mark.parametrize("record", RECORDS)


@given(EXTRAS)
def test_an_extra_comes_back(extra: Extra) -> None:
    assert Extra.decode(extra.encode()) == extra


@given(DIRECTORIES)
def test_a_leaf_comes_back(rows: dict[bytes, object]) -> None:
    expected = [rows[name] for name in sorted(rows)]
    leaf = decode_node(encode_leaf(expected))  # type: ignore[arg-type]
    assert isinstance(leaf, Leaf)
    assert list(leaf.entries()) == expected
    assert leaf.names == sorted(rows)
    assert len(leaf) == len(rows)
    for index, entry in enumerate(leaf.entries()):
        check_entry(entry)
        assert leaf.mode(index) == entry.mode
        assert leaf.identity(index) == identity(entry)


@given(entries(), entries())
def test_an_identity_is_the_entry_without_its_name(one: object, other: object) -> None:
    same = one._replace(name=b"") == other._replace(name=b"")  # type: ignore[attr-defined]
    assert (identity(one) == identity(other)) == same  # type: ignore[arg-type]


@given(entries(), NAMES)
def test_a_name_changes_no_identity(entry: object, name: bytes) -> None:
    assert identity(entry._replace(name=name)) == identity(entry)  # type: ignore[attr-defined, arg-type]


@given(st.integers(1, 12), CHILDREN)
def test_an_inner_node_comes_back(level: int, children: list[Child]) -> None:
    node = decode_node(encode_inner(level, children))
    assert isinstance(node, Inner)
    assert (node.level, node.children) == (level, children)


@given(SPANS)
def test_a_blob_node_comes_back(spans: list[Span]) -> None:
    node = decode_blob_node(encode_blob_node(0, spans))
    assert (node.level, list(node.spans), node.size) == (0, spans, sum(s.length for s in spans))


@given(SPANS, st.data())
def test_a_blob_node_finds_the_span_of_a_byte(spans: list[Span], data: st.DataObject) -> None:
    node = decode_blob_node(encode_blob_node(0, spans))
    index = data.draw(st.integers(0, len(spans) - 1))
    start = sum(span.length for span in spans[:index])
    assert node.find(start) == node.find(start + spans[index].length - 1) == index


@given(COMMITS)
def test_a_commit_comes_back(commit: Commit) -> None:
    assert Commit.decode(commit.encode()) == commit


@given(DIRECTORIES)
def test_sums_are_those_of_the_entries(rows: dict[bytes, object]) -> None:
    listed = list(rows.values())
    dirs = [entry for entry in listed if entry.is_dir]  # type: ignore[attr-defined]
    below = [directory_totals(entry) for entry in dirs]  # type: ignore[arg-type]
    sums = sums_of(listed)  # type: ignore[arg-type]
    plain = sum(e.size for e in listed if e.is_file)  # type: ignore[attr-defined]
    assert sums == Sums(
        entries=len(rows),
        subdirs=len(dirs),
        dirs=sum(totals.dirs for totals in below),
        files=len(rows) - len(dirs) + sum(totals.files for totals in below),
        bytes=plain + sum(totals.bytes for totals in below),
    )
    assert sums.totals() == Totals(sums.subdirs, sums.dirs + 1, sums.files, sums.bytes)


@each_record
@given(data=st.data())
def test_an_accepted_record_is_canonical(record: str, data: st.DataObject) -> None:
    """Whatever is changed in the bytes: they are refused, or the one encoding of another value."""
    strategy, again = RECORDS[record]
    raw = bytearray(data.draw(strategy))
    assert again(bytes(raw)) == raw
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CorruptObject):
        assert again(bytes(raw)) == raw


@each_record
@given(data=st.data())
def test_any_bytes_are_a_record_or_corrupt(record: str, data: st.DataObject) -> None:
    strategy, again = RECORDS[record]
    start = data.draw(strategy)
    raw = start[: data.draw(st.integers(0, len(start)))] + data.draw(st.binary(max_size=80))
    with suppress(CorruptObject):
        assert again(raw) == raw


# One of each for the exhaustive search below: small, with every field in use.
_EXTRA = Extra(
    totals=Totals(1, 2, 3, 4),
    link=Link(b"12345678", 2),
    rdev=7,
    holes=9,
    target=b"to",
    xattrs=((b"user.a", b"1"), (b"user.b", b"")),
)
_ROOT = directory_entry(
    b"",
    ObjectId(NO_CONTENT[:31] + b"\1"),
    Totals(1, 2, 3, 4),
    mode=0o750,
    xattrs=((b"user.x", b"y"),),
)
SAMPLES = {
    "extra": _EXTRA.encode(),
    "leaf": encode_leaf(
        [_ROOT._replace(name=b"a"), _ROOT._replace(name=b"b", mode=0o100644, extra=b"", size=3)]
    ),
    "inner": encode_inner(
        2,
        [
            Child(_ROOT.content, b"abc", Sums(5, 4, 3, 2, 1)),
            Child(_ROOT.content, b"b", Sums(1, 0, 0, 1, 0)),
        ],
    ),
    "blob": encode_blob_node(0, [Span(_ROOT.content, 5), Span(NO_CONTENT, 4096)]),
    "commit": Commit(
        root=_ROOT,
        parents=(_ROOT.content,),
        time_ns=5,
        author="é <a@b>",
        message="m",
        provenance={"a": [1, 2.5, None], "b": {"c": "d"}},
    ).encode(),
}  # fmt: skip


@each_record
def test_every_truncation_is_noticed(record: str) -> None:
    again, whole = RECORDS[record][1], SAMPLES[record]
    for length in range(len(whole)):
        try:
            assert again(whole[:length]) == whole[:length]
        except CorruptObject:
            continue
        # Only a list of tagged fields can end early and still be one.
        assert record == "extra"


@each_record
def test_every_flipped_byte_gives_another_value_or_corrupt(record: str) -> None:
    again, whole = RECORDS[record][1], SAMPLES[record]
    for at in range(len(whole)):
        for flip in (*(1 << bit for bit in range(8)), 0xFF):
            raw = bytearray(whole)
            raw[at] ^= flip
            with suppress(CorruptObject):
                assert again(bytes(raw)) == raw


@each_record
def test_bytes_behind_a_record_are_refused(record: str) -> None:
    again, whole = RECORDS[record][1], SAMPLES[record]
    for more in (b"\0", bytes(32), whole):
        with pytest.raises(CorruptObject):
            again(whole + more)


def with_provenance(text: str) -> bytes:
    commit = Commit.decode(SAMPLES["commit"])
    new = text.encode("utf-8", "surrogateescape")
    old = json.dumps(
        commit.provenance, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    length = len(old).to_bytes(4, "little")
    whole = SAMPLES["commit"]
    assert length + old in whole
    return whole.replace(length + old, len(new).to_bytes(4, "little") + new)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"a": 1}',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1.50}',
        '{"a":1e400}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":"\\u0041"}',
        '{"a":"\\ud800"}',
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' + "9" * 5000 + "}",
        '{"a"',
    ],
)
def test_a_provenance_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(CorruptObject):
        Commit.decode(with_provenance(text))


def test_a_provenance_in_the_one_form_is_read() -> None:
    assert Commit.decode(with_provenance('{"a":{"b":[1,"é"]}}')).provenance == {
        "a": {"b": [1, "é"]}
    }


@given(st.dictionaries(NAMES, st.integers(), min_size=2, max_size=5), st.randoms())
def test_names_out_of_order_are_refused(names: dict[bytes, int], random: object) -> None:
    rows = by_name(*(_ROOT._replace(name=name) for name in names))
    ordered = [rows[name] for name in sorted(rows)]
    for wrong in (ordered[::-1], [ordered[0], *ordered]):
        with pytest.raises(CorruptObject):
            decode_node(encode_leaf(wrong))
        children = [Child(e.content, e.name, Sums(1, 1, 1, 1, 1)) for e in wrong]
        with pytest.raises(CorruptObject):
            decode_node(encode_inner(1, children))


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"\0", b"a\0"])
def test_names_that_no_file_can_have_are_refused(name: bytes) -> None:
    for encoded in (
        encode_leaf([_ROOT._replace(name=name)]),
        encode_inner(1, [Child(_ROOT.content, name, Sums(1, 0, 0, 1, 1))]),
    ):
        with pytest.raises(CorruptObject):
            decode_node(encoded)
