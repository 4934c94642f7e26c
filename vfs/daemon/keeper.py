"""The parent of branch processes: starts one for each branch there is to serve, and ends them.

It opens no store and no FUSE session, so that what it forks starts clean and fast. What branches
there are it learns from a child that reads the store (`vfs.daemon.watch`).
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from vfs import mountinfo
from vfs.daemon import branch as process
from vfs.daemon import making, notify, owners
from vfs.daemon.branch import BranchSpec, Place
from vfs.daemon.children import ended, how, kill
from vfs.daemon.companion import LET_GO, Companion
from vfs.daemon.crashes import CrashPolicy
from vfs.daemon.linux import die_with, set_process_name
from vfs.daemon.watch import LOOK, Row, parse_rows, watch
from vfs.errors import MountProblem, VfsError
from vfs.fuse.branch_session import CHECK_HEAD
from vfs.store.store import Store

log = logging.getLogger(__name__)

END_SECONDS: Final = 90.0
"""As long may a branch take to make durable what was written, before it is killed."""

REMOUNT_SECONDS: Final = 2.0
"""After which a branch of a hub that somebody unmounted by hand comes back."""

TAKEN_SECONDS: Final = 0.25
"""After which it is looked again whether a branch is not served by another process any more."""

PATIENCE_SECONDS: Final = 60.0
"""After which a branch of a hub that died again and again is tried once more."""

HELPERS_MAX: Final = 8

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HEEDED: Final = (*_ENDING, LET_GO, signal.SIGCHLD)
_CRASHED, _NOT_STARTED = 1, 3

Wanted = Callable[[list[Row]], Iterable[tuple[Place, str]]]


@dataclass(slots=True)
class _Kept:
    """A branch that is to be served, and the process that does it."""

    place: Place
    head: str
    wanted: bool = True
    policy: CrashPolicy = field(default_factory=CrashPolicy)
    due: float | None = 0.0  # when to start a process; None while there is one
    pid: int = 0
    head_then: str = ""  # when the process was started, or told of another last
    ready: bool = False
    device: str = ""  # of its mount
    error: dict[str, str] = field(default_factory=dict)  # why it could not start
    taken: bool = False  # another process serves it
    tried: bool = False  # whether it was ready once, or failed in a hub, which goes on without


class Keeper:
    """Keeps a process for each wanted branch. Ends with the last one where there is one alone."""

    def __init__(
        self,
        spec: BranchSpec,
        wanted: Wanted,
        *,
        ready: Callable[[], None],
        alone: Place | None = None,
        requests: socket.socket | None = None,
        beside: Callable[[], None] | None = None,
    ) -> None:
        """*wanted* picks places, with their heads, out of all branches there are.

        *ready* is called when each branch there is at first is served, or can't be. *alone*: the
        one place there is. *requests*: where to listen for names to make (`vfs.daemon.making`).
        *beside* runs in a process of its own all the time, and is killed at the end.
        """
        self._spec = spec
        self._wanted = wanted
        self._call_ready: Callable[[], None] | None = ready
        self._alone = alone
        self._requests = requests
        self._kept: dict[Place, _Kept] = {}
        self._know_all = alone is not None
        if alone is not None:
            self._kept[alone] = _Kept(alone, "")
        self._reports, self._report_to = os.pipe()
        self._rows, self._rows_to = os.pipe()
        self._wake, self._wake_to = os.pipe()
        for fd in (self._reports, self._rows, self._wake, self._wake_to):
            os.set_blocking(fd, False)
        self._unparsed = b""
        self._watcher, self._watcher_due = 0, 0.0
        self._helpers: set[int] = set()
        self._companion: Companion | None = None
        if beside is not None:
            self._companion = Companion(lambda _: beside(), self._fork_companion)
            self._companion.due = 0.0
        self._told: int = 0  # the signal
        self._over = False

    def run(self) -> None:
        """Serve until told to end, or until the branch alone is unmounted. Raises MountProblem."""
        gc.collect()
        gc.freeze()
        with self._signals():
            try:
                while not (self._told or self._over):
                    self._start_due()
                    self._sleep()
                    self._act()
            finally:
                self._end()

    # ------------------------------------------------------------------ the loop

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, _: object) -> None:
            if number != signal.SIGCHLD:
                self._told = number

        before = {number: signal.signal(number, note) for number in _HEEDED}
        wakeup = signal.set_wakeup_fd(self._wake_to, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _sleep(self) -> None:
        due = [kept.due for kept in self._kept.values() if kept.due is not None]
        if not self._watcher:
            due.append(self._watcher_due)
        if self._companion is not None and self._companion.due is not None:
            due.append(self._companion.due)
        waiting: list[int | socket.socket] = [self._wake, self._reports, self._rows]
        if self._requests is not None and len(self._helpers) < HELPERS_MAX:
            waiting.append(self._requests)
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select(waiting, [], [], timeout)
        if self._requests in readable:
            self._take_request()

    def _act(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 1 << 16)
        self._read_reports()
        self._read_rows()
        for kept in list(self._kept.values()):
            status = ended(kept.pid) if kept.pid else None
            if status is not None:
                self._read_reports()
                self._ended(kept, status)
        if self._watcher and ended(self._watcher) is not None:
            self._watcher, self._watcher_due = 0, time.monotonic() + 1
        helpers = {pid for pid in self._helpers if ended(pid) is None}
        if helpers != self._helpers and self._watcher:
            os.kill(self._watcher, LOOK)  # something was made
        self._helpers = helpers
        if self._know_all and all(kept.tried for kept in self._kept.values()):
            self._is_ready()

    def _is_ready(self) -> None:
        if self._call_ready is not None:
            self._call_ready()
            self._call_ready = None
            self._helpers.add(self._fork(self._sweep, signal.SIGKILL))

    def _start_due(self) -> None:
        now = time.monotonic()
        if not self._watcher and self._watcher_due <= now:
            self._watcher = self._fork(self._watch, signal.SIGKILL)
        if self._companion is not None:
            self._companion.turn()
        for kept in self._kept.values():
            if kept.due is not None and kept.due <= now and not self._is_taken(kept):
                kept.due, kept.error = None, {}
                kept.head_then = kept.head
                kept.pid = self._fork(functools.partial(self._serve, kept.place), signal.SIGTERM)

    def _is_taken(self, kept: _Kept) -> bool:
        """Say whether a branch of a hub is served elsewhere: it is mounted here after that."""
        place = kept.place
        if self._alone is not None:
            return False
        owner = owners.find(self._spec.store, place.data_set, place.branch)
        if owner is not None:
            kept.due = time.monotonic() + TAKEN_SECONDS
            if not kept.taken:
                log.warning("%s is mounted at %s and not here", place, owner.mountpoint)
        kept.taken = owner is not None
        kept.tried |= kept.taken
        return kept.taken

    # ------------------------------------------------------------------ what is heard

    def _read_reports(self) -> None:
        with suppress(BlockingIOError):
            for line in os.read(self._reports, 1 << 16).splitlines():
                report = json.loads(line)
                kept = next((k for k in self._kept.values() if k.pid == report["pid"]), None)
                if kept is None:
                    log.error("process %d: %s", report["pid"], report.get("error"))
                elif "error" in report:
                    kept.error = report
                else:
                    kept.device, kept.ready, kept.tried = report["device"], True, True
                    kept.policy.ready()
                    log.info("%s is mounted at %s", kept.place, kept.place.mountpoint)
                    self._tell_head(kept)

    def _read_rows(self) -> None:
        with suppress(BlockingIOError):
            self._unparsed += os.read(self._rows, 1 << 20)
        *lines, self._unparsed = self._unparsed.split(b"\n")
        if lines:
            self._want(parse_rows(lines[-1]))

    def _want(self, rows: list[Row]) -> None:
        self._know_all = True
        wanted = dict(self._wanted(rows))
        for place, head in wanted.items():
            kept = self._kept.setdefault(place, _Kept(place, head))
            kept.head, kept.wanted = head, True
            if kept.ready:
                self._tell_head(kept)
        for place in [place for place in self._kept if place not in wanted]:
            kept = self._kept[place]
            if not kept.pid:
                self._drop(kept)
            elif kept.wanted:
                log.info("%s was deleted", place)
                kept.wanted = False
                os.kill(kept.pid, signal.SIGTERM)

    def _tell_head(self, kept: _Kept) -> None:
        if kept.head != kept.head_then:
            kept.head_then = kept.head
            os.kill(kept.pid, CHECK_HEAD)

    def _take_request(self) -> None:
        assert self._requests is not None
        with suppress(OSError):
            connection, _ = self._requests.accept()
            with connection:
                task = functools.partial(
                    making.answer, self._spec.store, connection, self._spec.patience
                )
                self._helpers.add(self._fork(task, signal.SIGKILL))

    def _ended(self, kept: _Kept, status: int) -> None:
        """Decide what follows the end of a process."""
        now = time.monotonic()
        was_ready, kept.ready, kept.pid, kept.device = kept.ready, False, 0, ""
        kept.tried |= self._alone is None
        if not kept.wanted:
            self._drop(kept)
        elif status == process.AGAIN and self._spec.descriptor is None:
            kept.due = now
        elif status in (process.ENDED, process.UNMOUNTED, process.LOST):
            self._over = self._alone is not None
            kept.due = now + REMOUNT_SECONDS
        elif kept.error and self._alone is not None and self._call_ready is not None:
            raise MountProblem(kept.error["error"], hint=kept.error["hint"])
        elif self._spec.descriptor is not None:
            raise MountProblem(
                f"{kept.place} can't be served any longer: its head was moved, its changes were"
                " discarded, or its process died",
                hint="unmount it, mount it anew, and pass on the new descriptor",
            )
        else:
            self._replace(kept, status, was_ready=was_ready)

    def _replace(self, kept: _Kept, status: int, *, was_ready: bool) -> None:
        now = time.monotonic()
        killed = status == -signal.SIGKILL
        verdict = kept.policy.died(now, killed=killed, was_ready=was_ready)
        kept.due = now + verdict.delay_seconds
        if kept.error:
            log.error("%s can't be served: %s", kept.place, kept.error["error"])
        else:
            log.warning("the process of %s %s; it is started anew", kept.place, how(status))
        if verdict.give_up and self._alone is not None:
            raise MountProblem(
                f"the process of {kept.place} dies again and again", hint="the log says why"
            )
        if verdict.give_up:
            kept.due, kept.policy = now + PATIENCE_SECONDS, CrashPolicy()

    def _drop(self, kept: _Kept) -> None:
        del self._kept[kept.place]
        self._over = self._alone is not None

    # ------------------------------------------------------------------ the end

    def _end(self) -> None:
        """End all processes: each stores what was written, and those that can't are killed."""
        if self._alone is not None:
            notify.tell(notify.STOPPING)
        if self._told == LET_GO:
            self._told = 0
            self._await_users()
        deadline = time.monotonic() + END_SECONDS
        for kept in self._running():
            os.kill(kept.pid, signal.SIGTERM)
        while self._running() and (left := deadline - time.monotonic()) > 0:
            self._sleep_until_woken(left)
        for kept in self._running():
            log.error("%s does not end; its process is killed", kept.place)
        kill([kept.pid for kept in self._running()])
        kill([*self._helpers, *([self._watcher] if self._watcher else [])])
        if self._companion is not None:
            self._companion.kill()
        for place in self._kept:
            process.clear_dead(place.mountpoint)
        fds = (self._reports, self._report_to, self._rows, self._rows_to, self._wake, self._wake_to)
        for fd in fds:
            os.close(fd)

    def _await_users(self) -> None:
        """Wait until nothing is open any more in branches that were unmounted with the hub."""
        mounted = {mount.device for mount in mountinfo.mounts()}
        while not self._told and any(kept.device not in mounted for kept in self._running()):
            self._sleep_until_woken(None)

    def _running(self) -> list[_Kept]:
        for kept in self._kept.values():
            if kept.pid and ended(kept.pid) is not None:
                kept.pid = 0
        return [kept for kept in self._kept.values() if kept.pid]

    def _sleep_until_woken(self, timeout: float | None) -> None:
        select.select([self._wake], [], [], timeout)
        with suppress(BlockingIOError):
            os.read(self._wake, 1 << 16)

    # ------------------------------------------------------------------ in the children

    def _fork(self, task: Callable[[], object], dies_by: int) -> int:
        parent = os.getpid()
        # What is sent to the child meanwhile must not be noted by the handlers it has from here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return pid
        code = _CRASHED
        try:
            signal.set_wakeup_fd(-1)
            for number in _HEEDED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(CHECK_HEAD, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            die_with(parent, dies_by)
            for fd in (self._reports, self._rows, self._wake, self._wake_to):
                os.close(fd)
            result = task()
            code = result if isinstance(result, int) else 0
        except VfsError as exc:
            self._report(error=str(exc), hint=exc.hint)
            code = _NOT_STARTED
        except BaseException:
            log.exception("process %d failed", os.getpid())
        finally:
            os._exit(code)

    def _fork_companion(self, task: Callable[[], object]) -> int:
        return self._fork(task, signal.SIGKILL)

    def _serve(self, place: Place) -> int:
        set_process_name("vfs-branch")
        return process.serve_branch(self._spec, place, lambda device: self._report(device=device))

    def _watch(self) -> None:
        set_process_name("vfs-watch")
        watch(self._spec.store, self._rows_to)

    def _sweep(self) -> None:
        """Remove what given-up overlays and killed readers left in the store."""
        set_process_name("vfs-sweep")
        with Store.open(self._spec.store, partial=True) as store:
            store.check_readers()
            store.overlays.sweep()

    def _report(self, **facts: str) -> None:
        os.write(self._report_to, json.dumps({"pid": os.getpid(), **facts}).encode() + b"\n")
