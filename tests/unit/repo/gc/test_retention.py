"""Rules of retention: which versions of a history they keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vfs.clock import NS
from vfs.errors import StoreError
from vfs.ids import ObjectId
from vfs.repo.gc.retention import Candidate, Rules, load_rules, save_rules
from vfs.store.store import Store

START = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # a Monday


def hourly(count: int) -> list[Candidate]:
    """Return versions, one an hour, the newest first; each one's id is its number."""
    return [
        Candidate(
            round((START - timedelta(hours=number)).timestamp()) * NS, ObjectId(b"%d" % number)
        )
        for number in range(count)
    ]


def kept(count: int, **rules: int) -> list[int]:
    return sorted(int(oid) for oid in Rules(**rules).kept(reversed(hourly(count))))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"last": 2}, [0, 1]),
        ({"hourly": 3}, [0, 1, 2]),
        ({"daily": 3}, [0, 24, 48]),
        ({"weekly": 2}, [0, 24]),  # the last of Sunday
        ({"monthly": 2}, [0, 23 * 24]),
        ({"yearly": 5}, [0]),
        ({"within_s": 7200}, [0, 1, 2]),
        ({"last": 1, "daily": 2}, [0, 24]),
        ({"daily": 1000}, list(range(0, 1000, 24))),
    ],
)
def test_rules(rules: dict[str, int], expected: list[int]) -> None:
    assert kept(1000, **rules) == expected


def test_a_history_of_nothing() -> None:
    assert Rules(last=1).kept([]) == set()


def test_periods_without_a_version_do_not_count() -> None:
    times = [START, START - timedelta(days=40), START - timedelta(days=41)]
    history = [
        Candidate(round(time.timestamp()) * NS, ObjectId(b"%d" % at))
        for at, time in enumerate(times)
    ]
    assert Rules(daily=2).kept(history) == {b"0", b"1"}


def test_times_before_1970() -> None:
    assert Rules(daily=1).kept([Candidate(-5, ObjectId(b"a"))]) == {b"a"}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    rules = Rules(last=3, within_s=7)
    with Store.create(tmp_path / "store") as store:
        save_rules(store, "data", rules)
        save_rules(store, "other", Rules(yearly=1))
        save_rules(store, "other", None)
        assert load_rules(store.settings) == {"data": rules}


@pytest.mark.parametrize(
    "row", [{}, {"last": 0}, {"last": -1}, {"last": "1"}, {"last": True}, {"first": 1}]
)
def test_rules_that_can_not_be(tmp_path: Path, row: dict[str, object]) -> None:
    with Store.create(tmp_path / "store") as store:
        store.settings.put("retention:data", row)
        with pytest.raises(StoreError, match="the rules of retention of 'data'"):
            load_rules(store.settings)
