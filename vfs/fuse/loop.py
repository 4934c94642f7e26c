"""A blocking stand-in for trio under pyfuse3; knows nothing of file systems.

pyfuse3's main loop waits until /dev/fuse is readable (trio: one epoll round), reads a request and
awaits its handler. A worker that serves one request after the other has nothing to do meanwhile, so
it can wait in read(2) itself: 20,000 small files read cold with two workers took 1.0 s this way and
1.75 s with trio. Nothing that runs here ever really suspends, so one `send` runs it to its end.

The price: while a worker waits, it holds the interpreter's lock, so a worker has no other threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

import pyfuse3


class _Closed(Exception):
    """What pyfuse3 takes as "the descriptor is about to be closed": its loop then returns."""


class _Ready:
    """What never suspends whoever awaits it; one object instead of three coroutines a request."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_READY: Final = _Ready()


class _Lock:
    def __aenter__(self) -> _Ready:
        return _READY

    def __aexit__(self, *_: object) -> _Ready:
        return _READY


class _Nursery:
    """Runs what was started in it one after the other, at its end."""

    def __init__(self) -> None:
        self._tasks: list[Awaitable[None]] = []

    async def __aenter__(self) -> Self:
        return self

    def start_soon(
        self, function: Callable[..., Awaitable[None]], *args: Any, name: str = ""
    ) -> None:
        self._tasks.append(function(*args))

    async def __aexit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        while kind is None and self._tasks:
            await self._tasks.pop()


def run(before_request: Callable[[int], bool]) -> None:
    """Serve requests until the kernel ends the session or *before_request* returns False.

    It is called with the session's descriptor each time before a request is read.
    """

    def wait_readable(fd: int) -> _Ready:
        if not before_request(fd):
            raise _Closed
        return _READY

    stand_in = SimpleNamespace(
        Lock=_Lock,
        ClosedResourceError=_Closed,
        open_nursery=_Nursery,
        lowlevel=SimpleNamespace(
            wait_readable=wait_readable,
            current_task=lambda: SimpleNamespace(name="worker"),
            current_trio_token=lambda: None,
        ),
    )
    module: Any = pyfuse3
    real, module.trio = module.trio, stand_in
    loop = pyfuse3.main(1, 1)
    try:
        loop.send(None)
    except StopIteration:
        pass
    finally:
        loop.close()
        module.trio = real
