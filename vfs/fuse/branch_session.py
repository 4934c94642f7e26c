"""One branch's FUSE connection, served by trio, from its mounting to its clean end.

Nothing that was written is lost at the end: the kernel sends what it holds while it is still
served, the mount is taken away, what comes meanwhile is answered, and a last checkpoint makes all
of it durable. Each step has a limit, so that the process ends whatever programs do.
"""

from __future__ import annotations

import enum
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import pyfuse3
import trio

from vfs.errors import MountProblem, VfsError
from vfs.fuse.control_server import serve_control
from vfs.fuse.controlled import ControlledOperations
from vfs.fuse.messages import Request, encode_answer
from vfs.fuse.serving import Serving
from vfs.fuse.session import captured_stderr
from vfs.fuse.wire import UNMOUNTED
from vfs.fuse.writeback import send_dirty_pages
from vfs.ids import ObjectId

log = logging.getLogger(__name__)

WRITE_BACK_SECONDS: Final = 30.0
UNMOUNT_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 1.0  # between unmounting and cutting off programs with open files
HANDLERS_SECONDS: Final = 5.0
ANSWERS_SECONDS: Final = 1.0
MIN_TASKS: Final = 4
MAX_TASKS: Final = 64

CHECK_HEAD: Final = signal.SIGUSR1
"""Tells a branch's process that a reference was moved."""

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ending(enum.Enum):
    """Why a branch is not served any more."""

    UNMOUNTED = "unmounted"
    TOLD = "told to end"
    OUTDATED = "its head was moved"
    DISCARDED = "its changes are discarded"
    LOST = "its last changes could not be stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a session needs of the process around it. All but *unmount* are called on the loop."""

    ready: Callable[[], None]  # the mount answers
    unmount: Callable[[], None]  # take the mount away, in use or not; called in a thread
    outdated: Callable[[], bool]  # nothing is changed, and the branch's head is another one now
    discard: Callable[[], object]  # give up all changes; nothing is served any more
    keeps_place: bool  # whether the mount stays where another process is to come
    facts: dict[str, str | int]  # who serves what


class BranchSession:
    """A mounted branch of this process."""

    def __init__(
        self,
        operations: ControlledOperations,
        mountpoint: str,
        options: set[str],
        *,
        descriptor: int | None = None,
    ) -> None:
        """Mount; or take a *descriptor* of the device, which somebody else has mounted.

        Then *mountpoint* is its name, and no directory: where the kernel is to write back what it
        holds of it, all file systems are told to. Raises MountProblem with what libfuse said.
        """
        self._is_ours = descriptor is None
        self._operations = operations
        operations.write_back = self._write_back
        operations.knows_askers = self._is_ours
        self._mountpoint = mountpoint
        self._connected = False
        with captured_stderr() as said:
            try:
                where = mountpoint if descriptor is None else f"/dev/fd/{descriptor}"
                pyfuse3.init(operations, where, options)
            except RuntimeError as exc:
                raise MountProblem(f"can't mount at {mountpoint}: {said() or exc}") from exc
        self._connected = True
        self._serving = Serving()
        self._ending: Ending | None = None
        self._failure: VfsError | None = None

    def run(self, listener: socket.socket, st_dev: int, hooks: Hooks) -> Ending:
        """Serve until the end, and return why it ended."""
        self._hooks = hooks
        self._st_dev = self._operations.st_dev = st_dev
        self._told, self._over, self._done = trio.Event(), trio.Event(), trio.Event()
        ending = trio.run(self._run, listener)
        return ending if self._failure is None else Ending.LOST

    def close(self) -> None:
        """Let go of the connection: whoever has files open is answered ENOTCONN from now on."""
        if self._connected:
            self._connected = False
            pyfuse3.close(unmount=False)

    async def _run(self, listener: socket.socket) -> Ending:
        with trio.open_signal_receiver(*_ENDING, CHECK_HEAD) as signals:
            async with trio.open_nursery() as control:
                control.start_soon(serve_control, listener, self._answer, self._done)
                async with trio.open_nursery() as serving:
                    serving.start_soon(self._serve)
                    serving.start_soon(self._operations.run_background)
                    serving.start_soon(self._watch, signals)
                    if self._is_ours:
                        await _in_thread(os.statvfs, self._mountpoint)
                    else:
                        await self._operations.initialised.wait()
                    self._hooks.ready()
                    await self._told.wait()
                    await self._stop_serving()
                    serving.cancel_scope.cancel()
                await self._finish()
                self._done.set()  # who waits for it at the control socket is told now
                control.cancel_scope.deadline = trio.current_time() + ANSWERS_SECONDS
        assert self._ending is not None
        return self._ending

    # ------------------------------------------------------------------ serving

    async def _serve(self) -> None:
        try:
            await self._serving.run(MIN_TASKS, MAX_TASKS)
        except OSError as exc:
            if exc.errno not in UNMOUNTED:
                raise
        self._over.set()
        self._operations.initialised.set()
        self._end(Ending.UNMOUNTED)

    def _end(self, why: Ending) -> None:
        if self._ending is None:
            self._ending = why
            log.info("%s: %s", self._mountpoint, why.value)
            self._told.set()

    async def _watch(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number in _ENDING:
                self._end(Ending.TOLD)
            elif self._hooks.outdated():
                await self._write_back()  # what was written until now may be a change of it
                if self._hooks.outdated():
                    self._end(Ending.OUTDATED)

    async def _answer(self, request: Request) -> bytes:
        if self._ending is not None:
            return b""  # whoever asks tries again, with the process that comes next
        match request.verb:
            case "checkpoint":
                await self._write_back()
                return encode_answer(seq=await self._operations.checkpoint(), **self._hooks.facts)
            case "stop":
                self._end(Ending.TOLD)
                await self._done.wait()
                if self._failure is not None:
                    raise self._failure
            case "discard" if request.paths:
                await self._write_back()  # or it would come after
                for path in request.paths:
                    await self._operations.restore(path)
                await self._operations.checkpoint()
            case "restore":
                await self._write_back()
                version = ObjectId(bytes.fromhex(request.version))
                for path, source in zip(request.paths, request.sources, strict=True):
                    await self._operations.take(path, version, source)
                await self._operations.checkpoint()
            case "discard":
                self._end(Ending.DISCARDED)
                await self._done.wait()
                if self._failure is not None:
                    raise self._failure
        return encode_answer(**self._hooks.facts)

    # ------------------------------------------------------------------ the end

    async def _stop_serving(self) -> None:
        """Get from the kernel what it holds, unmount, and answer until nobody asks any more.

        Where another process comes next, and nothing is below that would have to be seen, the mount
        stays until that one takes its place: nobody is to write to the directory below it.
        """
        wanted = self._ending is not Ending.DISCARDED
        stays = self._hooks.keeps_place and self._ending in (Ending.OUTDATED, Ending.DISCARDED)
        if wanted:
            await self._write_back()
        if not self._over.is_set() and not stays:
            with trio.move_on_after(UNMOUNT_SECONDS):
                await _in_thread(self._hooks.unmount)
            with trio.move_on_after(GRACE_SECONDS if wanted else 0):
                await self._over.wait()
        if not self._over.is_set():
            # Programs still have files open, and may have written to them in the last second.
            if wanted:
                await self._write_back()
            pyfuse3.terminate()
            with trio.move_on_after(HANDLERS_SECONDS):
                await self._over.wait()

    async def _write_back(self) -> None:
        if self._over.is_set():
            return
        with trio.move_on_after(WRITE_BACK_SECONDS) as limit:
            await _in_thread(partial(send_dirty_pages, self._mountpoint, self._st_dev))
            operations = self._operations
            await self._serving.drained(lambda: operations.committing + operations.only_reading)
        if limit.cancelled_caught:
            log.warning("%s: the kernel did not write back in time", self._mountpoint)

    async def _finish(self) -> None:
        self.close()  # nobody waits for an answer that does not come
        try:
            if self._ending is Ending.DISCARDED:
                self._hooks.discard()
            elif not self._is_outdated():  # else it is not this branch any more
                await self._operations.finish()
        except VfsError as exc:
            log.error("%s: the last changes could not be stored: %s", self._mountpoint, exc)  # noqa: TRY400
            self._failure = exc

    def _is_outdated(self) -> bool:
        try:
            return self._hooks.outdated()
        except VfsError:
            return False  # whoever writes is told


async def _in_thread(function: Callable[..., object], *args: object) -> None:
    await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
