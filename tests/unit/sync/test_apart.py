"""Work in a process of its own."""

from __future__ import annotations

import os
import signal

import pytest

from vfs.errors import NotFound, RemoteUnavailable
from vfs.sync.apart import apart


def test_it_gives_back_what_the_work_does() -> None:
    assert apart(os.getpid) != os.getpid()
    assert apart(lambda: {"a": b"x" * (1 << 20)}) == {"a": b"x" * (1 << 20)}


@pytest.mark.parametrize("error", [NotFound("no", hint="yes"), KeyboardInterrupt()])
def test_it_raises_what_the_work_raises(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        apart(fail)
    assert raised.value.args == error.args
    assert getattr(raised.value, "hint", "") == getattr(error, "hint", "")


def test_one_that_is_killed_is_an_error() -> None:
    with pytest.raises(RemoteUnavailable, match="killed"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
