"""What stands behind the `@`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.clock import NS, iso
from vfs.errors import InvalidName
from vfs.repo.revparse import Step, parse_revision, parse_time

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


def ns(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000


@pytest.mark.parametrize(
    ("text", "base", "steps", "is_plain"),
    [
        ("", "main", (), True),
        ("main", "main", (), True),
        ("v1.0-rc_2", "v1.0-rc_2", (), True),
        ("main~", "main", (Step("~", 1),), False),
        ("main~3", "main", (Step("~", 3),), False),
        ("main^", "main", (Step("^", 1),), False),
        ("main^2~3^", "main", (Step("^", 2), Step("~", 3), Step("^", 1)), False),
        ("main~~", "main", (Step("~", 1), Step("~", 1)), False),
        ("~1", "main", (Step("~", 1),), False),
        ("v1^0", "v1", (Step("^", 0),), False),
    ],
)
def test_names_and_steps(text: str, base: str, steps: tuple[Step, ...], is_plain: bool) -> None:
    parsed = parse_revision(text)
    assert (parsed.base, parsed.steps, parsed.is_plain) == (base, steps, is_plain)
    assert (parsed.when_ns, parsed.by_log) == (None, False)


@pytest.mark.parametrize(
    ("text", "base", "by_log"),
    [("{2026-11-01}", "main", False), ("main@{2026-11-01}", "main", True),
     ("v1@{2026-11-01}", "v1", True), ("@{2026-11-01}", "main", True),
     ("{2026-11-01}~2", "main", False)],
)  # fmt: skip
def test_times_behind_a_name(text: str, base: str, by_log: bool) -> None:
    parsed = parse_revision(text, NOW)
    assert (parsed.base, parsed.by_log, parsed.is_plain) == (base, by_log, False)
    assert parsed.when_ns == ns("2026-11-01T23:59:59.999999")


def test_a_month_that_is_shorter() -> None:
    assert parse_time("1 month ago", datetime(2024, 3, 31, 9, tzinfo=UTC)) == ns("2024-02-29T09:00")


@pytest.mark.parametrize(
    ("text", "base", "updates"),
    [("main@{1}", "main", 1), ("{0}", "main", 0), ("v1@{12}", "v1", 12)],
)
def test_updates_behind_a_name(text: str, base: str, updates: int) -> None:
    parsed = parse_revision(text, NOW)
    assert (parsed.base, parsed.updates_ago, parsed.when_ns) == (base, updates, None)
    assert not parsed.is_plain


@pytest.mark.parametrize(
    "text",
    ["main@", "@", "main{2026-11-01}", "main@@{now}", "{now", "now}", "{}", "{{now}}", "a b", "a/b",
     "é", "main~x", "main:x", "~^!", "main~1000001", "main~" + "9" * 5000, "{now}x", "\0", "a\n"],
)  # fmt: skip
def test_what_is_no_revision(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_revision(text, NOW)


def test_a_name_with_braces_is_explained() -> None:
    with pytest.raises(InvalidName) as caught:
        parse_revision("main{yesterday}")
    assert caught.value.hint == "main@{yesterday}?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-11-01T23:59:59.999999"),
        ("20261101", "2026-11-01T23:59:59.999999"),
        ("2026-11-01T10:00Z", "2026-11-01T10:00"),
        ("2026-11-01t10:00z", "2026-11-01T10:00"),
        ("2026-11-01 10:00:05.25", "2026-11-01T10:00:05.25"),
        ("2026-11-01_10:00", "2026-11-01T10:00"),
        ("2026-11-01T10:00+02:00", "2026-11-01T08:00"),
        ("now", "2026-11-23T15:30"),
        ("today", "2026-11-23T23:59:59.999999"),
        ("yesterday", "2026-11-22T23:59:59.999999"),
        (" Yesterday ", "2026-11-22T23:59:59.999999"),
        ("3 days ago", "2026-11-20T15:30"),
        ("1 week ago", "2026-11-16T15:30"),
        ("90_minutes_ago", "2026-11-23T14:00"),
        ("2.hours.ago", "2026-11-23T13:30"),
        ("an hour ago", "2026-11-23T14:30"),
        ("a month ago", "2026-10-23T15:30"),
        ("9 months ago", "2026-02-23T15:30"),
        ("11 months ago", "2025-12-23T15:30"),
        ("2 years ago", "2024-11-23T15:30"),
        ("1969-12-31T23:59:59", "1969-12-31T23:59:59"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert parse_time(text, NOW) == ns(expected)


@pytest.mark.parametrize(
    "text",
    ["", "tomorrowish", "2026-13-01", "2026-11-31", "days ago", "3 ages ago", "999999 weeks ago",
     "9999-12-31T23:59:59-23:59x", "0" * 400, "9999 years ago", "a b ago", "an ago"],
)  # fmt: skip
def test_no_times(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_time(text, NOW)


@given(st.text(max_size=30) | st.text("main@{}~^0129-: agodys", max_size=24))
def test_any_text_is_a_revision_or_an_invalid_name(text: str) -> None:
    try:
        parsed = parse_revision(text, NOW)
    except InvalidName:
        return
    if parsed.when_ns is not None:
        iso(max(parsed.when_ns, -62_135_596_800 * NS))
