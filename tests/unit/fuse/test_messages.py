"""The lines of a branch's control socket, also those that nobody sent in good faith."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs import errors
from vfs.fuse.messages import (
    LINE_MAX_BYTES,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_error,
    encode_request,
)

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and not {0, 47} & {*name}
)

PATHS = st.lists(NAMES, max_size=4).map(tuple)


@pytest.mark.parametrize("verb", ["checkpoint", "discard", "info", "stop"])
def test_requests(verb: str) -> None:
    line = encode_request(verb)  # type: ignore[arg-type]
    assert line.endswith(b"\n")
    assert decode_request(line) == Request(verb)  # type: ignore[arg-type]


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=4))
def test_paths_are_bytes(paths: list[tuple[bytes, ...]]) -> None:
    line = encode_request("discard", paths)
    assert line.count(b"\n") == 1
    assert decode_request(line) == Request("discard", tuple(paths))


@given(st.lists(st.tuples(PATHS, PATHS), max_size=4))
def test_restoring_names_a_version_and_what_becomes_what(
    pairs: list[tuple[tuple[bytes, ...], tuple[bytes, ...]]],
) -> None:
    paths, sources = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    line = encode_request("restore", paths, sources, "ab" * 32)
    assert decode_request(line) == Request("restore", tuple(paths), tuple(sources), "ab" * 32)


@pytest.mark.parametrize(
    "fields",
    [
        {"sources": [], "version": "ab" * 32},
        {"sources": ["a"], "version": "ab" * 31},
        {"sources": ["a"], "version": "main"},
        {"sources": ["a"]},
        {"sources": ["../a"], "version": "ab" * 32},
        {"sources": "a", "version": "ab" * 32},
    ],
)
def test_restoring_is_refused_where_anything_is_missing(fields: dict[str, object]) -> None:
    line = json.dumps({"do": "restore", "paths": ["a"], **fields}).encode()
    with pytest.raises((errors.InvalidInput, errors.InvalidName)):
        decode_request(line)


def test_too_many_paths_are_refused_before_they_are_sent() -> None:
    with pytest.raises(errors.InvalidInput, match="too many"):
        encode_request("discard", [(os.urandom(100).replace(b"/", b"x"),)] * 10_000)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(line: bytes) -> None:
    with suppress(errors.InvalidInput, errors.InvalidName):
        decode_request(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"do": JSON | st.sampled_from(["discard", "stop"]), "paths": JSON}))
def test_any_json_is_a_request_or_refused(fields: object) -> None:
    try:
        request = decode_request(json.dumps(fields).encode())
    except (errors.InvalidInput, errors.InvalidName):
        return
    assert all(b".." not in path and b"" not in path for path in request.paths)


def test_answers() -> None:
    assert decode_answer(encode_answer(pid=7, mountpoint="/m\udcff")) == {
        "pid": 7,
        "mountpoint": "/m\udcff",
    }


@pytest.mark.parametrize("kind", errors.VfsError.__subclasses__())
def test_errors_arrive_as_what_they_are(kind: type[errors.VfsError]) -> None:
    with pytest.raises(kind, match="it is so") as caught:
        decode_answer(encode_error(kind("it is so", hint="do that")))
    assert type(caught.value) is kind
    assert caught.value.hint == "do that"


@pytest.mark.parametrize("name", ["NoSuchError", "annotations", "ClassVar", "VfsError", 7, [], {}])
def test_an_error_of_another_kind_is_an_error_still(name: object) -> None:
    with pytest.raises(errors.VfsError, match="what"):
        decode_answer(json.dumps({"error": name, "message": "what"}).encode())


@pytest.mark.parametrize("line", [b"", b"\n", b"7\n", b"null", b"[" * 100_000])
def test_an_answer_that_is_none(line: bytes) -> None:
    assert len(line) < LINE_MAX_BYTES
    with pytest.raises(errors.InvalidInput):
        decode_answer(line)
