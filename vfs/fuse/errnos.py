"""The one table from errors to errnos, and the wrappers that let only `FUSEError` reach pyfuse3."""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

from pyfuse3 import FUSEError

from vfs import errors
from vfs.fuse import counters
from vfs.store.objects import NotHere

log = logging.getLogger(__name__)

ERRNO: Final[dict[type[errors.VfsError], int]] = {
    errors.NotFound: errno.ENOENT,
    errors.AlreadyExists: errno.EEXIST,
    errors.InvalidName: errno.EINVAL,
    errors.InvalidInput: errno.EINVAL,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.ReadOnly: errno.EROFS,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.NotPermitted: errno.EPERM,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.FileTooLarge: errno.EFBIG,
    errors.NoRoom: errno.ENOSPC,
    errors.StaleHandle: errno.ESTALE,
    errors.NoData: errno.ENODATA,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.CorruptObject: errno.EIO,
    errors.Erased: errno.EIO,
    errors.StoreError: errno.EIO,
    errors.StoreFull: errno.ENOSPC,
    errors.Conflict: errno.EBUSY,
    errors.ErasedMeanwhile: errno.EBUSY,
    errors.RemoteChanged: errno.EBUSY,
    errors.SourceProblem: errno.EIO,
    errors.ExportProblem: errno.EIO,
    errors.MountProblem: errno.EIO,
    errors.RemoteProblem: errno.EIO,
    errors.RemoteUnavailable: errno.EIO,
    errors.Interrupted: errno.EINTR,
    errors.NotFastForward: errno.EBUSY,
}

Self = TypeVar("Self")
Args = ParamSpec("Args")
Result = TypeVar("Result")


class Bringing(Protocol):
    """Who has handlers that may have to be called again, as what they read is brought first.

    Only what reads with a `Reader` that does not wait; all others need no such method.
    """

    async def bring(self, absent: NotHere, asker: int) -> None:
        """Return when the object is here. Raises VfsError.

        *asker*: the thread that waits for it; 0 where that is not known.
        """


def asker_of(args: tuple[object, ...]) -> int:
    """Return the thread that asks, by a handler's arguments; 0: pyfuse3 does not tell it."""
    return getattr(args[-1], "pid", 0)


def handler(
    function: Callable[Concatenate[Self, Args], Result],
) -> Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]]:
    """Make a request handler of a plain method, which changes nothing before it has read all.

    A known error becomes its errno; those that mean damage are logged. The unexpected is EIO and a
    traceback in the log.
    """
    block = counters.block(function.__name__)

    @functools.wraps(function)
    async def wrapper(self: Self, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        begun = perf_counter_ns()
        try:
            while True:
                try:
                    return function(self, *args, **kwargs)
                except NotHere as absent:
                    await cast("Bringing", self).bring(absent, asker_of(args))
        except FUSEError:
            raise
        except Exception as exc:
            raise as_fuse_error(exc, function.__name__) from exc
        finally:
            counters.request(block, perf_counter_ns() - begun)

    return wrapper


def async_handler(
    function: Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]]:
    """Do for a coroutine function what `handler` does for a plain one."""
    block = counters.block(function.__name__)

    @functools.wraps(function)
    async def wrapper(self: Self, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        begun = perf_counter_ns()
        try:
            while True:
                try:
                    return await function(self, *args, **kwargs)
                except NotHere as absent:
                    await cast("Bringing", self).bring(absent, asker_of(args))
        except FUSEError:
            raise
        except Exception as exc:
            raise as_fuse_error(exc, function.__name__) from exc
        finally:
            counters.request(block, perf_counter_ns() - begun)

    return wrapper


def as_fuse_error(error: Exception, what: str) -> FUSEError:
    """Return what pyfuse3 is told of *error*, and log what somebody has to know of."""
    return FUSEError(errno_of(error, what))


class Refused(Exception):
    """A request that is answered with an errno of which nothing below knows."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


def errno_of(error: Exception, what: str) -> int:
    """Return what the kernel is told of *error*, and log what somebody has to know of."""
    if isinstance(error, Refused):
        return error.errno
    if isinstance(error, errors.VfsError):
        number = ERRNO[type(error)]
        if number == errno.EIO:
            log.error("%s: %s", what, error)
        return number
    log.error("%s failed", what, exc_info=error)
    return errno.EIO
