"""The parent of a mount: forks workers, replaces those that die, ends all. Serves nothing itself.

It must not open the store (LMDB may not be held over a fork), so it knows a view only as the
function that a worker calls after the fork. It sleeps in sigtimedwait(2): the end of a child, a
request to end and the next deadline are all that wake it.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vfs import counts
from vfs.daemon import mounts, notify
from vfs.daemon.children import ended, how, kill
from vfs.daemon.companion import LET_GO, READY, Companion, Task
from vfs.daemon.crashes import CrashPolicy
from vfs.daemon.linux import die_with, set_process_name
from vfs.errors import MountProblem, VfsError

if TYPE_CHECKING:
    from vfs.daemon.counting import Pages
    from vfs.fs.view import View
    from vfs.fuse.session import Session

log = logging.getLogger(__name__)

ENDING: Final = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
WATCHED: Final = ENDING | {signal.SIGCHLD, READY}
READY_SECONDS: Final = 30.0
BRANCHES_SECONDS: Final = 10.0  # that are waited for until they are mounted
GRACE_SECONDS: Final = 1.0  # between unmounting and killing the workers
HOUSEKEEPING_SECONDS: Final = 30

_ENDED, _CRASHED, _NOT_STARTED = 0, 1, 3


@dataclass(slots=True)
class _Worker:
    clone: int | None
    page: int  # in which it counts
    ready: bool = False


@contextmanager
def watched_signals() -> Iterator[None]:
    """Keep the signals that a `Supervisor` waits for pending, from before the mount is made."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    child_before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        while signal.sigtimedwait(WATCHED, 0) is not None:
            pass
        signal.signal(signal.SIGCHLD, child_before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Supervisor:
    """Keeps *workers* processes serving a session; to be run within `watched_signals`."""

    def __init__(
        self,
        session: Session,
        mountpoint: str,
        open_view: Callable[[], View],
        *,
        workers: int,
        ready: Callable[[], None],
        housekeeping: Callable[[], None] | None = None,
        companion: Task | None = None,
        pages: Pages,
    ) -> None:
        """*ready* is called once the mount has answered, *housekeeping* in a process of its own.

        *companion* runs in a process of its own, too, as long as the mount is served. It is called
        with what it is to call when it is ready, and ended before anything else is. Workers
        count in *pages*, of which there is one for each.
        """
        self._session = session
        self._mountpoint = mountpoint
        self._open_view = open_view
        self._call_ready = ready
        self._pages = pages
        self._free_pages = list(range(workers))
        self._housekeeping = housekeeping
        self._companion = None if companion is None else Companion(companion, self._fork_companion)
        self._told = False
        mount = mounts.mount_at(Path(mountpoint))
        self._device = mount.device if mount else ""
        self._workers: dict[int, _Worker] = {}
        self._policy = CrashPolicy()
        self._reports, self._report_to = os.pipe()
        os.set_blocking(self._reports, False)
        self._failure: dict[str, str] = {}
        now = time.monotonic()
        self._starts_due = [now] * workers
        self._probe: int | None = None
        self._is_ready = self._told_ready = False
        self._ready_deadline = now + READY_SECONDS
        self._helper: int | None = None
        self._helper_due = now + HOUSEKEEPING_SECONDS

    def run(self) -> None:
        """Serve until unmounted or told to end. Raises MountProblem where it can't go on."""
        gc.collect()
        gc.freeze()  # so that workers share these pages as long as possible
        try:
            self._start_due()
            self._probe = self._fork(self._stat_root)
            while self._watch():
                pass
        finally:
            self._end()

    # ------------------------------------------------------------------ the parent's loop

    def _watch(self) -> bool:
        """Sleep until something happened and act on it; False at the end."""
        woken = signal.sigtimedwait(WATCHED, max(0.0, self._next_deadline() - time.monotonic()))
        if woken is not None and woken.si_signo in ENDING:
            log.info("%s: unmounting %s", signal.Signals(woken.si_signo).name, self._mountpoint)
            self._told = True
            return False
        if woken is not None and woken.si_signo == READY:
            self._be_ready()
        self._read_reports()
        if not self._reap_workers():
            return False
        self._reap_probe()
        self._start_due()
        if self._companion is not None:
            self._companion.turn()
        self._keep_house()
        return True

    def _next_deadline(self) -> float:
        deadlines = list(self._starts_due)
        if not self._told_ready:
            deadlines.append(self._ready_deadline)
        if self._companion is not None and self._companion.due is not None:
            deadlines.append(self._companion.due)
        if self._housekeeping is not None:
            deadlines.append(self._helper_due)
        return min(deadlines, default=time.monotonic() + HOUSEKEEPING_SECONDS)

    def _reap_workers(self) -> bool:
        """Take note of ended workers; False once the kernel has ended the session."""
        for pid in list(self._workers):
            status = ended(pid)
            if status is None:
                continue
            worker = self._workers.pop(pid)
            self._free_pages.append(worker.page)
            if status == _ENDED:
                self._close_clone(worker)
                if not self._is_ready:
                    raise self._cannot_go_on(f"{self._mountpoint} was unmounted at once")
                log.info("%s was unmounted or aborted", self._mountpoint)
                return False
            self._read_reports()
            self._replace(pid, worker, status)
        return True

    def _replace(self, pid: int, worker: _Worker, status: int) -> None:
        if not worker.ready and not self._is_ready and status == _NOT_STARTED:
            raise self._cannot_go_on(f"can't serve {self._mountpoint}")
        verdict = self._policy.died(
            time.monotonic(), killed=status == -signal.SIGKILL, was_ready=worker.ready
        )
        resent = verdict.resend and self._session.resend()
        if not resent and worker.clone is None and not verdict.give_up:
            raise MountProblem(
                f"a worker of {self._mountpoint} died and its requests can't be handed out again",
                hint="use Linux 6.9 or later, or let this user open /dev/fuse",
            )
        self._close_clone(worker)  # what was not handed out again fails now
        log.warning(
            "worker %d %s; %s",
            pid,
            how(status),
            "its requests are handed out again" if resent else "the request it held fails",
        )
        if verdict.give_up:
            raise self._cannot_go_on(f"workers of {self._mountpoint} die again and again")
        self._starts_due.append(time.monotonic() + verdict.delay_seconds)

    def _cannot_go_on(self, message: str) -> MountProblem:
        if not self._failure:
            return MountProblem(message, hint="the log says why")
        return MountProblem(f"{message}: {self._failure['error']}", hint=self._failure["hint"])

    def _reap_probe(self) -> None:
        if self._is_ready:
            if time.monotonic() >= self._ready_deadline:
                self._be_ready()
            return
        status = None if self._probe is None else ended(self._probe)
        if status is None:
            if time.monotonic() < self._ready_deadline:
                return
            raise self._cannot_go_on(f"{self._mountpoint} does not answer")
        self._probe = None
        if status != 0:
            raise self._cannot_go_on(f"{self._mountpoint} does not answer")
        self._is_ready = True
        mounts.set_read_ahead(self._device)
        if self._companion is None:
            self._be_ready()
        else:
            self._companion.due = time.monotonic()
            self._ready_deadline = time.monotonic() + BRANCHES_SECONDS

    def _be_ready(self) -> None:
        if not self._told_ready:
            self._told_ready = True
            self._call_ready()

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [start for start in self._starts_due if start <= now]
        self._starts_due = [start for start in self._starts_due if start > now]
        for _ in due:
            clone = self._session.clone()
            page = self._free_pages[-1]
            try:
                pid = self._fork(functools.partial(self._work, clone, page))
            except OSError as exc:
                log.error("can't fork a worker: %s", exc.strerror)  # noqa: TRY400 - no traceback
                self._starts_due.append(now + 1)
                if clone is not None:
                    os.close(clone)
                continue
            self._workers[pid] = _Worker(clone, self._free_pages.pop())

    def _keep_house(self) -> None:
        if self._helper is not None and ended(self._helper) is not None:
            self._helper = None
        if self._housekeeping is None or time.monotonic() < self._helper_due:
            return
        self._helper_due = time.monotonic() + HOUSEKEEPING_SECONDS
        if self._helper is None:
            with suppress(OSError):  # can't fork: next time
                self._helper = self._fork(self._clean)

    def _read_reports(self) -> None:
        """Read what workers said since the last time: that they serve, or why they can't."""
        with suppress(BlockingIOError):
            for line in os.read(self._reports, 1 << 16).splitlines():
                with suppress(ValueError):
                    report: dict[str, Any] = json.loads(line)
                    if "error" in report:
                        self._failure = report
                    elif report["pid"] in self._workers:
                        self._workers[report["pid"]].ready = True
                        self._policy.ready()

    # ------------------------------------------------------------------ the end

    def _end(self) -> None:
        """Unmount, lazily if files are open, and end all processes: in a little over a second.

        Branches, which are mounted inside, come before, and take as long as they take to store
        what was written.
        """
        notify.tell(notify.STOPPING)
        if self._companion is not None:
            self._companion.end(signal.SIGTERM if self._told else LET_GO)
        mount = mounts.mount_at(Path(self._mountpoint))
        if mount is not None and mount.device == self._device:
            try:
                mounts.detach(self._mountpoint, lazy=True)
            except MountProblem as exc:
                log.error("%s", exc)  # noqa: TRY400 - no traceback
        deadline = time.monotonic() + GRACE_SECONDS
        self._forget_ended_workers()
        while self._workers and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
            self._forget_ended_workers()
        kill(self._workers)
        self._leave_session()
        # Only now: a child that waits for an answer can't be killed while there is a connection.
        kill(pid for pid in (self._probe, self._helper) if pid is not None)
        os.close(self._reports)
        os.close(self._report_to)

    def _leave_session(self) -> None:
        for worker in self._workers.values():
            self._close_clone(worker)
        self._session.close()

    def _forget_ended_workers(self) -> None:
        for pid in list(self._workers):
            if ended(pid) is not None:
                self._close_clone(self._workers.pop(pid))

    def _close_clone(self, worker: _Worker) -> None:
        if worker.clone is not None:
            os.close(worker.clone)
            worker.clone = None

    # ------------------------------------------------------------------ in the children

    def _fork(
        self,
        task: Callable[[], int],
        dies_by: int = signal.SIGKILL,
        blocked: Iterable[int] = (),
    ) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = _CRASHED
        try:
            die_with(parent, dies_by)
            # Ctrl-C reaches all processes; the parent decides.
            for number in ENDING.difference(blocked):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED.difference(blocked))
            code = task()
        except BaseException:
            log.exception("process %d failed", os.getpid())
        finally:
            os._exit(code)

    def _fork_companion(self, task: Callable[[], int]) -> int:
        def run() -> int:
            self._leave_session()
            return task()

        return self._fork(run, dies_by=signal.SIGTERM, blocked=WATCHED)

    def _work(self, clone: int | None, page: int) -> int:
        set_process_name("vfs-worker")
        counts.use(self._pages.words(page))
        # Nothing that a request leaves behind is cyclic: 700 objects come and go with each listing.
        gc.set_threshold(50_000, 50, 100)
        faulthandler.enable()
        for worker in self._workers.values():
            self._close_clone(worker)
        if clone is not None:
            self._session.adopt(clone)
        try:
            view = self._open_view()
        except VfsError as exc:
            self._report(error=str(exc), hint=exc.hint)
            log.error("worker can't start: %s", exc)  # noqa: TRY400 - no traceback
            return _NOT_STARTED
        self._report(pid=os.getpid())
        self._session.serve(view)
        view.close()
        return _ENDED

    def _report(self, **facts: str | int) -> None:
        os.write(self._report_to, json.dumps(facts).encode()[:4000] + b"\n")

    def _stat_root(self) -> int:
        self._leave_session()
        os.statvfs(self._mountpoint)
        os.stat(self._mountpoint)  # noqa: PTH116 - a mount point may be any str
        return 0

    def _clean(self) -> int:
        self._leave_session()
        signal.alarm(HOUSEKEEPING_SECONDS)
        if self._housekeeping is not None:
            self._housekeeping()
        return 0
