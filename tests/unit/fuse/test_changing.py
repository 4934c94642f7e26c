from __future__ import annotations

import asyncio
import errno

import pytest
from pyfuse3 import FUSEError

from vfs.errors import NotEmpty, StoreFull
from vfs.fuse.changing import always, changing


class Changes:
    """Notes in which order things happen."""

    def __init__(self, *, must_wait: bool, error: Exception | None = None) -> None:
        self.must_wait = must_wait
        self.happened: list[object] = []
        self._error = error

    async def wait(self, *, frees: bool) -> None:
        self.happened.append(("waited", frees))
        if self._error is not None:
            raise self._error

    @changing()
    def add(self, what: str) -> str:
        self.happened.append(what)
        return what.upper()

    @changing(always)
    def remove(self, what: str) -> None:
        self.happened.append(what)

    @changing(lambda _, size: size < 10)
    def resize(self, size: int) -> None:
        raise NotEmpty(f"{size} bytes")


def test_where_nothing_is_to_be_waited_for_it_is_done_at_once() -> None:
    changes = Changes(must_wait=False)
    with pytest.raises(StopIteration) as done:
        changes.add("a").send(None)
    assert done.value.value == "A"
    assert changes.happened == ["a"]


def test_else_it_waits_first_and_says_what_the_change_frees() -> None:
    changes = Changes(must_wait=True)
    assert asyncio.run(changes.add("a")) == "A"
    asyncio.run(changes.remove("b"))
    assert changes.happened == [("waited", False), "a", ("waited", True), "b"]


@pytest.mark.parametrize("size", [9, 10])
def test_arguments_decide_and_errors_become_errnos(size: int) -> None:
    changes = Changes(must_wait=True)
    with pytest.raises(FUSEError) as caught:
        asyncio.run(changes.resize(size))
    assert caught.value.errno == errno.ENOTEMPTY
    assert changes.happened == [("waited", size == 9)]


def test_what_is_waited_for_in_vain_keeps_it_from_being_done() -> None:
    changes = Changes(must_wait=True, error=StoreFull("the disk is full"))
    with pytest.raises(FUSEError) as caught:
        asyncio.run(changes.add("a"))
    assert caught.value.errno == errno.ENOSPC
    assert changes.happened == [("waited", False)]
