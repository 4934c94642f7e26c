from __future__ import annotations

import asyncio
import errno
import logging

import pytest
from pyfuse3 import FUSEError

from vfs.errors import CorruptObject, NotFound, VfsError
from vfs.fuse.errnos import ERRNO, handler


def all_errors(kind: type[VfsError] = VfsError) -> set[type[VfsError]]:
    below = kind.__subclasses__()
    return set(below).union(*map(all_errors, below))


class Handlers:
    """Raises what it is told to."""

    @handler
    def answer(self, outcome: object) -> object:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def outcome_of(outcome: object) -> object:
    return asyncio.run(Handlers().answer(outcome))


def test_every_error_has_an_errno() -> None:
    ours = {kind for kind in all_errors() if kind.__module__ == "vfs.errors"}
    assert set(ERRNO) == ours


def test_results_pass() -> None:
    assert outcome_of(b"bytes") == b"bytes"


def test_an_expected_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FUSEError) as caught:
        outcome_of(NotFound("no such thing"))
    assert caught.value.errno == errno.ENOENT
    assert caplog.records == []


def test_damage_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FUSEError) as caught:
        outcome_of(CorruptObject("a/b: chunk 12 is damaged"))
    assert caught.value.errno == errno.EIO
    assert [(r.levelno, r.getMessage(), r.exc_info) for r in caplog.records] == [
        (logging.ERROR, "answer: a/b: chunk 12 is damaged", None)
    ]


def test_the_unexpected_is_eio_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FUSEError) as caught:
        outcome_of(ZeroDivisionError("bug"))
    assert caught.value.errno == errno.EIO
    assert "ZeroDivisionError: bug" in caplog.text


def test_a_fuse_error_passes() -> None:
    with pytest.raises(FUSEError) as caught:
        outcome_of(FUSEError(errno.ENOSYS))
    assert caught.value.errno == errno.ENOSYS


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        outcome_of(KeyboardInterrupt())
