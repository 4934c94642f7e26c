"""Patterns of paths."""

from __future__ import annotations

import pytest

from vfs.errors import InvalidInput
from vfs.repo.erasing.patterns import NOWHERE, Patterns


def matches(pattern: str, path: str) -> bool:
    patterns = Patterns([pattern])
    states = patterns.start
    for name in path.encode().split(b"/"):
        states = patterns.step(states, name)
    return patterns.is_match(states)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "b/a", False),
        ("a", "a/b/c", True),  # a directory: all in it
        ("a/*.txt", "a/x.txt", True),
        ("a/*.txt", "a/b/x.txt", False),
        ("*.txt", "a/x.txt", False),
        ("**/x.txt", "x.txt", True),
        ("**/x.txt", "a/b/x.txt", True),
        ("**/x.txt", "a/b/x.txt2", False),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/**/x", "b/x", False),
        ("a/**", "a/b", True),
        ("**", "anything/at/all", True),
        ("a/**/b/**/c", "a/b/x/b/y/c", True),
        ("a?c", "abc", True),
        ("[ab]", "b", True),
        ("/a/./b/", "a/b", True),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_names_that_are_no_text() -> None:
    patterns = Patterns(["caf*"])
    assert patterns.is_match(patterns.step(patterns.start, b"caf\xe9"))


def test_where_nothing_can_match_any_more_is_known() -> None:
    patterns = Patterns(["a/b", "c/d"])
    assert patterns.step(patterns.start, b"x") == NOWHERE
    assert patterns.step(patterns.start, b"a") != NOWHERE


@pytest.mark.parametrize("pattern", ["", "/", "../a", "a/../b", "."])
def test_what_matches_no_path_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        Patterns([pattern])
