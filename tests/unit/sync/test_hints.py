"""Who misses an object, and the process that brings it: told, waited for, woken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vfs.errors import Interrupted
from vfs.ids import ObjectId, object_id
from vfs.sync.hints import IDS_AT_ONCE, Hints

LONG_SECONDS = 60.0
ONE, TWO = object_id(b"1"), object_id(b"2")


@pytest.fixture
def hints() -> Iterator[Hints]:
    with Hints() as made:
        yield made


def _wait_on() -> float:
    return LONG_SECONDS


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_told_is_heard_in_messages_that_fit(hints: Hints) -> None:
    ids = [object_id(b"%d" % number) for number in range(IDS_AT_ONCE + 1)]
    hints.tell(ids)
    heard = hints.heard()
    first, second = next(heard), next(heard)
    assert [*first.ids, *second.ids] == ids
    assert first.waiting is second.waiting is None


def test_who_waits_is_woken_when_it_is_said(hints: Hints) -> None:
    before = _open_files()
    with ThreadPoolExecutor(2) as pool:
        asking = {oid: pool.submit(hints.ask, oid, _wait_on) for oid in (ONE, TWO)}
        heard = hints.heard()
        for _ in asking:
            (oid,), waiting = next(heard)
            assert waiting is not None
            assert not asking[oid].done()
            waiting.close()
            assert asking[oid].result(LONG_SECONDS)
    assert _open_files() == before


def test_who_waits_is_woken_when_the_process_that_was_to_bring_it_is_killed(hints: Hints) -> None:
    child = os.fork()
    if child == 0:
        next(hints.heard())
        os._exit(0)  # as if killed
    assert hints.ask(ONE, _wait_on)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("is_full", [False, True])
def test_nobody_waits_for_ever(hints: Hints, *, is_full: bool) -> None:
    before = _open_files()
    for _ in range(1000 * is_full):  # more than there is room for
        hints.tell([ObjectId(bytes(32))] * IDS_AT_ONCE)
    looks = [0.01, 0.01]
    assert not hints.ask(ONE, lambda: looks.pop() if looks else 0)
    assert not looks
    assert _open_files() == before


def test_who_gives_up_leaves_nothing_open(hints: Hints) -> None:
    before = _open_files()

    def give_up() -> float:
        raise Interrupted("nobody waits for it any more")

    with pytest.raises(Interrupted):
        hints.ask(ONE, give_up)
    assert _open_files() == before
