"""Handlers that change something, and wait before until that may be done."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pyfuse3 import FUSEError

from vfs.fuse import counters
from vfs.fuse.errnos import as_fuse_error, asker_of
from vfs.store.objects import NotHere


class Waiting(Protocol):
    """Who has such handlers."""

    @property
    def must_wait(self) -> bool:
        """Say whether `wait` has something to do."""

    async def wait(self, *, frees: bool) -> None:
        """Wait until a change may be made. *frees*: it leaves less to be stored."""

    async def bring(self, absent: NotHere, asker: int, *, to_change: bool) -> None:
        """Return when an object is here that was to be read before anything was changed."""


Self = TypeVar("Self", bound=Waiting)
Args = ParamSpec("Args")
Result = TypeVar("Result")


def never(*_: object) -> bool:
    """Say that no such change leaves less to be stored."""
    return False


def always(*_: object) -> bool:
    """Say that each such change leaves less to be stored."""
    return True


def changing(
    frees: Callable[..., bool] = never,
) -> Callable[
    [Callable[Concatenate[Self, Args], Result]],
    Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]],
]:
    """Do for a plain method that changes something what `handler` does for one that does not.

    *frees* is told the method's arguments, where there is something to wait for. A request costs
    one coroutine, and a second one only where it waits.
    """

    def decorate(
        function: Callable[Concatenate[Self, Args], Result],
    ) -> Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]]:
        block = counters.block(function.__name__)

        @functools.wraps(function)
        async def wrapper(self: Self, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
            begun = perf_counter_ns()
            try:
                while True:
                    try:
                        if self.must_wait:
                            await self.wait(frees=frees(self, *args, **kwargs))
                        return function(self, *args, **kwargs)
                    except NotHere as absent:
                        await self.bring(absent, asker_of(args), to_change=True)
            except FUSEError:
                raise
            except Exception as exc:
                raise as_fuse_error(exc, function.__name__) from exc
            finally:
                counters.request(block, perf_counter_ns() - begun)

        return wrapper

    return decorate
