"""What ends commands whose runner is killed, with all that they have started.

A command dies with the process that runs it (`die_with`), but what it started would go on, and hold
its copies of mounts. So that process has another one beside it, its guard, which is told what runs,
waits for the end of its runner, however that comes, and ends what is left of each command:

- processes in its process group;
- processes with its mark in their environment, in the runner's session: timeout(1) and shells with
  job control make groups of their own, and on a terminal a command has its runner's. The mark alone
  would not do, as programs that set their title write over their environment;
- its container.

Who has called setsid(2) is left alone, as when a command ends in order: servers do that which
others may use by now. In a sandbox nothing is left of those either.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vfs.run import containers

_SEND_SECONDS: Final = 5.0
"""A guard that takes nothing for so long is stopped, and gets a successor."""

_MESSAGE_MAX_BYTES: Final = 64 << 10


@dataclass(slots=True, eq=False)
class Watched:
    """A command, as its guard knows it."""

    number: int
    mark: str  # an entry of its environment that no other command has; "" for none
    container: str  # the file with the id of its container; "" for none
    group: int = 0  # a process group of its own; 0 while it has none
    is_over: bool = False

    def message(self) -> bytes:
        """Return what a guard is told of it."""
        return json.dumps(asdict(self)).encode()


class Guard:
    """The guard of the commands of this process, which begins with the first one. Thread-safe.

    A guard that is killed gets a successor when the next command begins or ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._watched: dict[int, Watched] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def begin(self, mark: str = "", container: Path | None = None) -> Watched:
        """Watch a command from before it begins, so that there is no moment without.

        It is for the caller to say `over`, also where the command can't begin. Raises OSError.
        """
        with self._lock:
            one = Watched(next(self._numbers), mark, str(container or ""))
            self._watched[one.number] = one
            try:
                self._tell(one)
            except OSError:
                del self._watched[one.number]
                raise
            return one

    def has_group(self, one: Watched, group: int) -> None:
        """Note the process group that a command has to itself."""
        with self._lock, suppress(OSError):  # the next that begins says why no guard can
            one.group = group
            self._tell(one)

    def over(self, one: Watched) -> None:
        """Note that nothing is left of a command.

        Best before its process is waited for: until then nobody else can have its number.
        """
        with self._lock, suppress(OSError):
            one.is_over = True
            del self._watched[one.number]
            self._tell(one)

    @contextmanager
    def watching(self, mark: str) -> Iterator[Watched]:
        """Watch a command meanwhile. Raises OSError."""
        one = self.begin(mark)
        try:
            yield one
        finally:
            self.over(one)

    def close(self) -> None:
        """End the guard where nothing is left; else it stays as long as this process."""
        with self._lock:
            if not self._watched:
                self._end()

    def _tell(self, one: Watched) -> None:
        if self._line is not None:
            with suppress(OSError):  # the guard was killed, or stopped
                self._line.send(one.message())
                return
        self._end()
        if self._watched:
            self._line = self._start()
            for each in self._watched.values():
                self._line.send(each.message())

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_SEND_SECONDS)
        # Not by the end of what is sent: a process that this one forks may hold the socket, too.
        runner = os.pidfd_open(os.getpid())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(runner), str(os.getsid(0))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[runner],
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(runner)
        return ours

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


# the guard's process


def main(runner: int, session: int) -> None:
    """Wait for the end of a process, and end its commands.

    *runner*: its descriptor (pidfd_open(2)); *session*: which it is in.
    """
    os.chdir("/")  # a mount that the runner is in is not held by its guard
    with socket.socket(fileno=0) as told:
        watched = _told_until_the_end(runner, told)
    groups = {one.group for one in watched} - {0}
    marks = {os.fsencode(one.mark) for one in watched} - {b""}
    killed: set[int] = set()
    while found := set(_processes(session, groups, marks)) - killed:  # they may fork meanwhile
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
    for one in watched:
        if one.container:
            containers.end(Path(one.container))


def _told_until_the_end(runner: int, told: socket.socket) -> Collection[Watched]:
    """Return the commands that are not over when the runner ends."""
    watched: dict[int, Watched] = {}
    waiting = select.poll()
    waiting.register(runner, select.POLLIN)
    waiting.register(told, select.POLLIN)
    while any(fd == told.fileno() for fd, _ in waiting.poll()):  # the runner's end comes last
        message = told.recv(_MESSAGE_MAX_BYTES)
        if not message:
            break
        one = Watched(**json.loads(message))
        watched[one.number] = one
        if one.is_over:
            del watched[one.number]
    return watched.values()


def _processes(session: int, groups: Collection[int], marks: set[bytes]) -> Iterator[int]:
    """Yield the processes that live, of a session, in one of *groups* or with one of *marks*.

    A number of a group is no other one's as long as anybody is in it, and when it is free, not
    before all others had their turn.
    """
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours to look at
            facts = (directory / "stat").read_bytes().rpartition(b")")[2].split()
            state, group, its_session = facts[0], int(facts[2]), int(facts[3])
            if its_session != session or state in b"ZX":
                continue
            if group in groups or not marks.isdisjoint(
                (directory / "environ").read_bytes().split(b"\0")
            ):
                yield int(directory.name)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
