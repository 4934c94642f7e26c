"""The process of a run: what it writes goes to the terminal and the log, signals go to it."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from vfs.daemon.linux import die_with
from vfs.errors import InvalidInput
from vfs.run.guard import Guard

FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
EXIT_SIGNAL: Final = 128
"""Plus its number: the exit code of what a signal ended, as in a shell."""

_PIECE_BYTES: Final = 64 << 10


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Have signals that would end this process raise SystemExit meanwhile, as Ctrl-C raises."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(EXIT_SIGNAL + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    log: Callable[[bytes], None],
    mark: str,
) -> int:
    """Run a command to its end; return its exit code. Raises InvalidInput where it can't start.

    Signals that would end this process go to the command and all it has started. What it leaves
    running in its process group is killed at the end, so that nobody writes any more. On a terminal
    the command shares this process's group, as it could not read from there otherwise; then the
    terminal's keys reach it without help. When this process is killed, so are the command and all
    it has started; *mark* is an entry of *environment* that no other command has.
    """
    # Held from here on: a signal that comes before there is a command to get it waits for it.
    with Guard() as guard, guard.watching(mark) as watched, _signals_held() as release:
        own_group = not os.isatty(0)
        try:
            child = subprocess.Popen(
                command,
                cwd=directory,
                env=dict(environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0 if own_group else None,
                preexec_fn=partial(_begin, os.getpid(), release),  # noqa: PLW1509 - no threads
            )
        except OSError as exc:
            raise InvalidInput(
                f"can't run {command[0]}: {exc.strerror}", hint="name a program and its arguments"
            ) from exc
        end: Callable[[], None] = partial(_kill_group, child.pid) if own_group else child.kill
        if own_group:
            guard.has_group(watched, child.pid)
        with child, _forwarding(child, release, own_group=own_group):
            try:
                _copy(child, log, end)
            except BaseException:
                end()
                raise
            code = child.wait()
    return EXIT_SIGNAL - code if code < 0 else code


def _begin(parent: int, mask: set[signal.Signals]) -> None:
    """Prepare the new process, before it becomes the command."""
    die_with(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """Keep signals pending; give the mask there was before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _forwarding(
    child: subprocess.Popen[bytes], mask: set[signal.Signals], *, own_group: bool
) -> Iterator[None]:
    """Hand signals on to the command meanwhile."""

    def forward(number: int, _: FrameType | None) -> None:
        if own_group:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        elif number not in (signal.SIGINT, signal.SIGQUIT):  # the terminal has sent those to all
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(
    child: subprocess.Popen[bytes], log: Callable[[bytes], None], end: Callable[[], None]
) -> None:
    """Copy what a process writes until it has ended; then call *end*, and take what is left."""
    assert child.stdout is not None
    assert child.stderr is not None
    with selectors.DefaultSelector() as waiting:
        ended = os.pidfd_open(child.pid)
        try:
            waiting.register(ended, selectors.EVENT_READ)
            for source, target in ((child.stdout, 1), (child.stderr, 2)):
                os.set_blocking(source.fileno(), False)
                waiting.register(source, selectors.EVENT_READ, target)
            runs = True
            while runs:
                for key, _ in waiting.select():
                    if key.fd == ended:
                        runs = False
                    elif not _take(key.fd, key.data, log):
                        waiting.unregister(key.fileobj)
        finally:
            os.close(ended)
    end()
    for source, target in ((child.stdout, 1), (child.stderr, 2)):
        with suppress(BlockingIOError):
            while _take(source.fileno(), target, log):
                pass


def _take(source: int, target: int, log: Callable[[bytes], None]) -> bool:
    """Copy a piece; False at the end. Raises BlockingIOError where there is none."""
    data = os.read(source, _PIECE_BYTES)
    log(data)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    except OSError as exc:
        if exc.errno not in (errno.EPIPE, errno.EIO):  # nobody looks any more: the log has it
            raise
    return bool(data)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
