"""Requests that wait for a remote: who waits, who does not, and how it ends."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from queue import Queue

import pytest

from tests.support.mounting import wait_until
from vfs.errors import Interrupted, RemoteUnavailable
from vfs.fuse import parking
from vfs.fuse.parking import Parking, Waiting
from vfs.fuse.wire import Request
from vfs.ids import ObjectId
from vfs.store.objects import IsWanted, NotHere

FIRST, SECOND = ObjectId(b"1" * 32), ObjectId(b"2" * 32)


class Remote:
    """A view of which objects come when they are let go; what it is asked needs two of them."""

    def __init__(self) -> None:
        self.here: set[ObjectId] = set()
        self.keeps = True  # what came
        self.asked: Queue[ObjectId] = Queue()
        self.come = threading.Event()
        self.problem: Exception | None = None
        self.waits = False

    def bring(self, oid: ObjectId, wanted: IsWanted) -> None:
        self.asked.put(oid)
        while not self.come.wait(0.01):
            if not wanted():
                raise Interrupted("")
        if self.problem is not None:
            raise self.problem
        if self.keeps:
            self.here.add(oid)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waits = True
        yield
        self.waits = False

    def answer(self, request: Request, body: bytes) -> bytes:
        for oid in (FIRST, SECOND):
            if oid not in self.here and not self.waits:
                raise NotHere(oid)
        return body


class Worker:
    def __init__(self) -> None:
        self.remote = Remote()
        self.answers: Queue[tuple[int, bytes, int]] = Queue()
        self.gone: set[int] = set()  # threads that asked
        reply = lambda *answer: self.answers.put(answer)  # noqa: E731
        self.parking = Parking(self.remote, lambda pid: pid not in self.gone, reply)  # type: ignore[arg-type]

    def ask(self, number: int) -> None:
        request = Request(40, 15, number, 1, 0, 0, 100 + number, 0, 0)
        waiting = Waiting(request, b"%d" % number, self.remote.answer, 0, 0)
        self.parking.park(waiting, NotHere(FIRST))


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.parking.close()
    assert not [one for one in threading.enumerate() if one.name == "vfs-parked"]


def test_what_comes_answers_all_who_wait_for_it(worker: Worker) -> None:
    for number in range(3):
        worker.ask(number)
    assert worker.answers.empty()
    worker.remote.come.set()
    answers = sorted(worker.answers.get(timeout=10) for _ in range(3))
    assert answers == [(number, b"%d" % number, 0) for number in range(3)]
    assert worker.remote.here == {FIRST, SECOND}


def test_who_is_gone_is_let_go_and_the_others_wait_on(worker: Worker) -> None:
    worker.ask(1)
    worker.ask(2)
    worker.gone.add(101)
    assert worker.answers.get(timeout=10) == (1, b"", errno.EINTR)
    assert worker.answers.empty()
    worker.remote.come.set()
    assert worker.answers.get(timeout=10) == (2, b"2", 0)


def test_a_remote_that_does_not_answer_is_an_error(worker: Worker) -> None:
    worker.remote.problem = RemoteUnavailable("it is gone")
    worker.remote.come.set()
    worker.ask(1)
    assert worker.answers.get(timeout=10) == (1, b"", errno.EIO)


def test_where_too_many_wait_the_worker_waits_too(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(parking.PARKED_MAX):
        worker.ask(number)
    one_more = threading.Thread(target=partial(worker.ask, 999))
    one_more.start()
    wait_until(lambda: worker.remote.asked.qsize() == parking.PARKED_MAX + 1)
    assert one_more.is_alive()
    worker.gone.add(999 + 100)
    one_more.join(10)
    assert worker.answers.get(timeout=10) == (999, b"", errno.EINTR)


def test_in_a_cache_that_keeps_nothing_it_waits_with_the_turn(worker: Worker) -> None:
    worker.remote.keeps = False
    worker.remote.come.set()
    worker.ask(1)
    assert worker.answers.get(timeout=10) == (1, b"1", 0)
    assert worker.remote.asked.qsize() == parking.ROUNDS_MAX


def test_at_the_end_nobody_waits_any_more(worker: Worker) -> None:
    worker.ask(1)
    worker.remote.asked.get(timeout=10)
