"""Names, and `data[@revision][:PATH]` as a person types it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trees import NAMES
from vfs.errors import InvalidName
from vfs.model.names import (
    LABEL_MAX,
    Target,
    check_data_set_name,
    check_entry_name,
    check_ref_name,
    parse_target,
)


@pytest.mark.parametrize("name", ["a", "0", "_", "my-data_2.1", "A" * LABEL_MAX])
def test_labels(name: str) -> None:
    assert check_data_set_name(name) == check_ref_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", ".a", "-a", "a@b", "a b", "a/b", "a:b", "é", "a\n",
     "A" * (LABEL_MAX + 1)],
)  # fmt: skip
def test_no_labels(name: str) -> None:
    for check in (check_data_set_name, check_ref_name):
        with pytest.raises(InvalidName):
            check(name)


@pytest.mark.parametrize("name", ["latest", "0123456789abcdef" * 4])
def test_what_means_a_commit_names_no_branch(name: str) -> None:
    assert check_data_set_name(name) == name
    with pytest.raises(InvalidName, match="always means a commit"):
        check_ref_name(name)


def test_a_prefix_of_an_id_can_name_a_branch() -> None:
    assert check_ref_name("0123456789abcdef") == "0123456789abcdef"


def test_hub_names_fit_into_a_file_name() -> None:
    assert len(f"{'d' * LABEL_MAX}@{'r' * LABEL_MAX}") <= 255
    assert len(f"{'d' * LABEL_MAX}@{'0' * 64}") <= 255


@given(NAMES)
def test_entry_names(name: bytes) -> None:
    assert check_entry_name(name) == name


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"x" * 256])
def test_no_entry_names(name: bytes) -> None:
    with pytest.raises(InvalidName):
        check_entry_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data", Target("data")),
        ("data@v3", Target("data", "v3")),
        ("data:", Target("data")),
        ("data:a/b", Target("data", "", (b"a", b"b"))),
        ("data:/a//./b/", Target("data", "", (b"a", b"b"))),
        ("data@v3:a:b@c", Target("data", "v3", (b"a:b@c",))),
        ("data@main~2^:x", Target("data", "main~2^", (b"x",))),
        ("data@{2026-11-01T10:00Z}:x", Target("data", "{2026-11-01T10:00Z}", (b"x",))),
        ("data@main@{yesterday}", Target("data", "main@{yesterday}")),
        ("data:a\nb", Target("data", "", (b"a\nb",))),
        ("data:caf\udce9", Target("data", "", (b"caf\xe9",))),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "@v3", ":a", "data@", "data@:a", "da ta", "data:a/../b", "data:..", "data:a\0b",
     "data:" + "x" * 256, "data@{2026", "data:\ud800"],
)  # fmt: skip
def test_no_targets(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_target(text)


REVISIONS = st.sampled_from(["", "v3", "main~2", "{2026-11-01T10:00Z}", "main@{yesterday}"])


@given(REVISIONS, st.lists(NAMES, max_size=3).map(tuple))
def test_a_target_can_be_typed_as_it_is_shown(revision: str, path: tuple[bytes, ...]) -> None:
    target = Target("data", revision, path)
    assert parse_target(str(target)) == target
    assert os.fsencode(str(target)).endswith(b"/".join(path))


@given(st.text(max_size=40) | st.text("data@:{}~^/.é\udce9\ud800", max_size=20))
def test_any_text_is_a_target_or_an_invalid_name(text: str) -> None:
    try:
        target = parse_target(text)
    except InvalidName:
        return
    assert check_data_set_name(target.data_set) == target.data_set
    assert [check_entry_name(name) for name in target.path] == list(target.path)
