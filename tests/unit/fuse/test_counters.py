"""Counting requests in pages that others read."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import iscoroutinefunction
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.memory_view import MemoryView
from vfs import counts
from vfs.counts import PAGE_BYTES
from vfs.fuse import counters
from vfs.fuse.answers import Answers
from vfs.fuse.branch_operations import BranchOperations
from vfs.fuse.controlled import ControlledOperations
from vfs.fuse.counters import BUCKETS, KINDS, LIMITS_SECONDS


@pytest.fixture
def pages() -> Iterator[bytearray]:
    """Two pages, the first of them in use."""
    before = counts.current.words
    pages = bytearray(2 * PAGE_BYTES)
    counts.use(memoryview(pages)[:PAGE_BYTES].cast("Q"))
    yield pages
    counts.current.words, counts.current.in_use = before, False


def test_blocks_do_not_overlap_and_are_in_the_page() -> None:
    starts = sorted(counters.block(kind) for kind in KINDS)
    assert all(b - a > BUCKETS for a, b in pairwise(starts))
    assert starts[0] > counts.FETCHES
    assert starts[-1] + BUCKETS < PAGE_BYTES // 8


@pytest.mark.parametrize(
    ("nanoseconds", "bucket"),
    [(0, 0), (1023, 0), (1024, 1), (2047, 1), (2048, 2), (300_000_000, BUCKETS - 1), (1 << 60, 19)],
)
def test_a_request_is_below_its_limit(pages: bytearray, nanoseconds: int, bucket: int) -> None:
    counters.request(counters.block("read"), nanoseconds)
    (read,) = (each for each in counters.totals(bytes(pages)).requests if each.kind == "read")
    assert read.buckets.index(1) == bucket
    assert (read.count, read.seconds) == (1, pytest.approx(nanoseconds / 1e9))
    if bucket < BUCKETS - 1:
        assert nanoseconds / 1e9 < LIMITS_SECONDS[bucket]
    if bucket:
        assert nanoseconds / 1e9 >= LIMITS_SECONDS[bucket - 1]


def test_pages_are_added_and_those_not_in_use_left_out(pages: bytearray) -> None:
    counters.add(counts.BYTES_READ, 5)
    pages[PAGE_BYTES + 8 * counts.BYTES_READ] = 77  # of no process yet
    assert counters.totals(bytes(pages)).bytes_read == 5
    second = memoryview(pages)[PAGE_BYTES:].cast("Q")
    counts.use(second)
    counts.use(second)
    total = counters.totals(bytes(pages))
    assert (total.bytes_read, total.restarts) == (82, 1)
    assert counters.totals(bytes(pages)[:-1]).bytes_read == 5  # a page that is cut short


def test_only_who_serves_counts_what_readers_do(pages: bytearray) -> None:
    counts.count(counts.FETCHES)
    counts.count(counts.STORED_BYTES, 7)
    counts.current.in_use = False
    counts.count(counts.FETCHES)
    total = counters.totals(bytes(pages))
    assert (total.fetches, total.stored_bytes) == (1, 7)


def test_all_handlers_are_of_a_kind() -> None:
    assert counters.block("unlink") == counters.block("remove")
    assert counters.block("unheard_of") == counters.block("other")
    assert counters.block("releasedir") == counters.block("release")


def test_only_what_is_refused_is_of_no_kind(tmp_path: Path) -> None:
    answers = Answers(MemoryView(tmp_path), opens=True)
    classes = (BranchOperations, ControlledOperations)
    named = [item for one in classes for item in vars(one).items()]
    handlers = [
        name for name, one in named if iscoroutinefunction(one) and hasattr(one, "__wrapped__")
    ]
    assert {"read", "write", "opendir", "_getxattr"} <= set(handlers)
    other = counters.block("other")
    assert [name for name in handlers if counters.block(name) == other] == []
    assert {name for _, name, _ in answers._all() if counters.block(name) == other} == {"refuse"}
