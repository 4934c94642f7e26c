"""A progress bar on standard error, where that is a terminal; else silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from vfs.cli import output

if TYPE_CHECKING:
    from vfs.repo.importer import Progress
    from vfs.repo.stages import OnStage, Stage
    from vfs.sync import progress as transfers

REFRESHES_PER_S: Final = 10
SETTLED_S: Final = 1.0  # a total that grew more recently says nothing about the time left
UPDATE_S: Final = 0.1  # between updates of the bar; an import of small files advances far oftener


class Bar:
    """Bytes, files, rate and time left. Any thread may call it."""

    watched = True

    def __init__(self, noun: str = "files") -> None:
        """*noun*: what is counted beside bytes; empty where nothing is."""
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._lock = threading.Lock()
        self._noun = noun
        self._files = self._bytes = 0
        self._files_total: int | None = None
        self._bytes_total: int | None = None
        self._start = self._shown = self._grown = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[bytes]}", style="progress.download"),
            TextColumn("{task.fields[files]}"),
            TextColumn("{task.fields[rate]}", style="progress.data.speed"),
            TextColumn("{task.fields[left]}", style="progress.remaining"),
            console=output.console(stderr=True),
            transient=True,
            expand=True,
            refresh_per_second=REFRESHES_PER_S,
        )
        self._task = self._progress.add_task("", total=None, **self._fields(0))

    def total(self, files: int, bytes_: int) -> None:
        """Show how much there is in all; it may grow."""
        with self._lock:
            if (files, bytes_) != (self._files_total, self._bytes_total):
                self._files_total, self._bytes_total = files, bytes_
                self._grown = time.monotonic()
            self._show()

    def advance(self, files: int, bytes_: int) -> None:
        """Show that so much more is done."""
        with self._lock:
            self._files += files
            self._bytes += bytes_
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown < UPDATE_S:
            return
        self._shown = now
        self._progress.update(
            self._task,
            completed=self._bytes,
            total=self._bytes_total,
            **self._fields(now - self._start),
        )

    def _fields(self, elapsed: float) -> dict[str, Any]:
        rate = self._bytes / elapsed if elapsed > 0 else 0.0
        done, count = output.size(self._bytes), f"{self._files:,}"
        left = ""
        if self._bytes_total is not None:
            done += f" of {output.size(self._bytes_total)}"
            if rate > 0 and time.monotonic() - self._grown > SETTLED_S:
                left = f"{output.clock((self._bytes_total - self._bytes) / rate)} left"
        if self._files_total is not None:
            count += f" of {self._files_total:,}"
        return {
            "bytes": done,
            "files": f"{count} {self._noun}" if self._noun else "",
            "rate": f"{output.size(rate)}/s",
            "left": left or output.clock(elapsed),
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()


@contextmanager
def progress() -> Iterator[Progress]:
    """Show a bar where standard error is a terminal; it is gone at the end."""
    from vfs.repo.importer import SILENT

    if not sys.stderr.isatty():
        yield SILENT
        return
    with Bar() as bar:
        yield bar


@contextmanager
def transfer_progress() -> Iterator[transfers.Progress]:
    """Show a bar for a push or a fetch, as `progress` does."""
    from vfs.sync.progress import SILENT

    if not sys.stderr.isatty():
        yield SILENT
        return
    with Bar("objects") as bar:
        yield bar


@contextmanager
def byte_progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes alone, as `progress` does; *total*: how many there are, where known."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Bar("") as bar:
        if total is not None:
            bar.total(0, total)
        yield partial(bar.advance, 0)


@contextmanager
def stage_progress() -> Iterator[OnStage]:
    """Show a bar for what goes over a store in stages, as `progress` does.

    It begins with the first stage: until then, a passphrase may be asked for.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[done]}", style="progress.download"),
        console=output.console(stderr=True),
        transient=True,
        expand=True,
        refresh_per_second=REFRESHES_PER_S,
    )
    task = bars.add_task("", total=None, done="")

    def show(stage: Stage) -> None:
        of = output.size if stage.is_bytes else "{:,}".format
        done = of(stage.done) if stage.done else ""
        if stage.total:
            done += f" of {of(stage.total)}"
        bars.update(
            task,
            description=output.printable(stage.name),
            completed=stage.done,
            total=stage.total or None,
            done=done,
        )
        if not bars.live.is_started:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()


@contextmanager
def count_progress() -> Iterator[Callable[[str, int], None]]:
    """Show what is being done, and to how many, as `stage_progress` does."""
    from vfs.repo.stages import Stage

    with stage_progress() as on_stage:
        yield lambda what, done: on_stage(Stage(what, done))
