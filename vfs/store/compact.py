"""Giving space back to the disk, and leaving nothing of removed values, beside readers and writers.

Why this is safe is in docs/durability.md, "Giving space back".
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vfs.errors import Conflict, StoreError, StoreFull
from vfs.store.environment import Environment, Txn
from vfs.store.pages import DamagedPage, OnProgress, Page, PageFile, Snapshot, Walk
from vfs.store.punch import clear, data_within, punch

STEP_S: Final = 0.1
"""A writer waits for so long at most, and for what the list of free pages takes to be read."""

PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.01  # between two steps: the lock is not fair
_PIECE_BYTES: Final = 4 << 20
_FREE_RUNS: Final = re.compile(b"\1+")

_Act = Callable[[int, int], None]
"""Does something to a range of the file, from byte to byte."""


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What became of the free pages."""

    free: int  # bytes of pages that are free, for which the next writes need no new space
    given_back: int  # bytes that the disk has more than before


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What was overwritten, in bytes."""

    free: int  # of free pages
    gaps: int  # of pages in use, where nothing is


def compact(env: Environment, *, on_progress: OnProgress | None = None) -> CompactReport:
    """Give the space of free pages back to the disk; the file keeps its length.

    Raises StoreError, with nothing given back, where a page is damaged or the file system can't
    do that.
    """
    with suppress(StoreFull):  # which is when space is wanted most
        _free_the_last(env)
    with env.pinned(write=True) as (file, snapshot):
        _walk(env, file, snapshot, None, on_progress)
        before = os.fstat(file.fd).st_blocks
        free = _FreePages(env, file, lambda start, end: punch(file.fd, start, end))
        try:
            while not env.write(free.step):
                time.sleep(_PAUSE_S)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise StoreError(
                    f"the file system of {env.path} can't take space out of a file",
                    hint="what is free is used again by the next writes",
                ) from error
            raise
        given_back = (before - os.fstat(file.fd).st_blocks) * 512
        return CompactReport(free.bytes, max(given_back, 0))


def scrub(
    env: Environment, *, patience_s: float = PATIENCE_S, on_progress: OnProgress | None = None
) -> ScrubReport:
    """Leave no byte of anything that was removed before in the data file; on the disk on return.

    Raises Conflict when somebody reads an older state for longer than *patience_s*; StoreError
    where a page is damaged.
    """
    deadline = time.monotonic() + patience_s
    _free_the_last(env)
    with env.pinned(write=True) as (file, snapshot):
        scrubbing = _Scrubbing(env, file, snapshot.txnid)
        scrubbing.live = _walk(env, file, snapshot, scrubbing.clean, on_progress).live
        while not env.write(scrubbing.step):
            if scrubbing.reader and time.monotonic() > deadline:
                raise Conflict(
                    f"the process {scrubbing.reader} reads an older state of the store",
                    hint="end it, or try again later: until then removed bytes may be there",
                )
            time.sleep(_PAUSE_S)
        os.fdatasync(file.fd)
        return ScrubReport(scrubbing.free_bytes, scrubbing.gap_bytes)


def _free_the_last(env: Environment) -> None:
    """Make what the last transactions freed old enough to be used again.

    That takes two commits, of a row that stays as it is.
    """
    meta = env.tables["meta"]

    def touch(txn: Txn) -> None:
        txn.put(b"format", bytes(txn.get(b"format", db=meta) or b""), db=meta)

    env.check_readers()
    env.write(touch)
    env.write(touch)


def _walk(
    env: Environment,
    file: PageFile,
    snapshot: Snapshot,
    on_page: Callable[[Page], None] | None,
    on_progress: OnProgress | None = None,
    same: bytearray | None = None,
) -> Walk:
    """Walk all pages. Raises StoreError at the first damage: what is free is then not certain."""

    def refuse(message: str) -> None:
        raise StoreError(
            f"the store {env.path} is damaged, and was left as it is: {message}",
            hint="'vfs fsck' says what else is",
        )

    walk = Walk(
        file, snapshot, on_damage=refuse, on_page=on_page, on_progress=on_progress, same=same
    )
    walk.run()
    return walk


class _FreePages:
    """The pages that LMDB may use again, each of them acted upon once, under the writers' lock."""

    def __init__(self, env: Environment, file: PageFile, act: _Act) -> None:
        self._env = env
        self._file = file
        self._act = act
        self._done = bytearray()
        self._runs: Iterator[tuple[int, int]] = iter(())
        self._planned: tuple[int, int] | None = None
        self.bytes = 0  # of pages that were free when all was done

    def step(self, txn: Txn) -> bool:
        """Go on for a moment in a write transaction; say whether nothing is left to do."""
        newest = self._file.metas()[0]
        readers = [number for _, number in self._env.readers()]
        return self.act_below(newest, min([newest.txnid, *readers]))

    def act_below(self, newest: Snapshot, oldest: int) -> bool:
        """Go on with pages that were freed before *oldest*, the oldest state that is needed."""
        if self._planned != (newest.txnid, oldest):
            self._runs = self._plan(newest, oldest)
            self._planned = newest.txnid, oldest
        until = time.monotonic() + STEP_S
        for first, end in self._runs:
            page_bytes = self._file.page_bytes
            for start, stop in data_within(self._file.fd, first * page_bytes, end * page_bytes):
                self._act(start, stop)
            self._done[first:end] = b"\1" * (end - first)
            if time.monotonic() > until:
                return False
        return True

    def _plan(self, newest: Snapshot, oldest: int) -> Iterator[tuple[int, int]]:
        """Return the runs of pages to act upon, by their numbers, in pieces."""
        pages = self._file.pages()
        end = newest.last_page + 1  # behind it is what a writer left that was killed
        free = bytearray(max(pages, end))
        free[end:] = b"\1" * (len(free) - end)
        try:
            records = Walk(self._file, newest, on_damage=lambda _: None).free_records()
        except DamagedPage as error:
            raise StoreError(f"the store {self._env.path} is damaged: {error}") from error
        for txnid, numbers in records:
            if txnid < oldest:  # mdb_page_alloc's rule
                for number in numbers:
                    free[number] = 1
        self.bytes = free.count(1, 0, end) * newest.page_bytes
        self._done.extend(bytes(max(len(free) - len(self._done), 0)))
        left = _without(free, self._done)
        size = max(_PIECE_BYTES // newest.page_bytes, 1)
        return (
            (start, min(start + size, run.end()))
            for run in _FREE_RUNS.finditer(left, 0, pages)
            for start in range(run.start(), run.end(), size)
        )


def _without(free: bytearray, done: bytearray) -> bytes:
    """Return *free*, a 1 for each page, less those in *done*."""
    size = len(free)
    kept = int.from_bytes(free, "little") & ~int.from_bytes(done[:size], "little")
    return kept.to_bytes(size, "little")


class _Scrubbing:
    """One scrub, after all pages of a pinned snapshot were cleaned."""

    def __init__(self, env: Environment, file: PageFile, pinned: int) -> None:
        """*pinned*: the transaction whose state is held meanwhile."""
        self.live = bytearray()  # the pages of the pinned snapshot
        self.free_bytes = self.gap_bytes = 0
        self.reader = 0  # a process that the scrub waits for
        self._env = env
        self._file = file
        self._pinned = pinned
        self._free = _FreePages(env, file, self._clear)

    def clean(self, page: Page) -> None:
        """Write zeros where a page that is in use holds nothing."""
        at = page.number * self._file.page_bytes
        for start, end in page.gaps:
            if start < end:
                self.gap_bytes += clear(self._file.fd, at + start, at + end)

    def step(self, txn: Txn) -> bool:
        """Go on for a moment in a write transaction; say whether nothing is left to do."""
        newest, before = self._file.metas()
        readers = self._env.readers()
        readers.remove((os.getpid(), self._pinned))  # what it pins was cleaned
        pid, oldest = min(readers, key=lambda reader: reader[1], default=(0, newest.txnid))
        self.reader = pid if oldest < newest.txnid else 0
        if not self._free.act_below(newest, oldest) or self.reader:
            return False
        for snapshot in (newest, before):
            _walk(self._env, self._file, snapshot, self.clean, same=self.live)
        return True

    def _clear(self, start: int, end: int) -> None:
        self.free_bytes += clear(self._file.fd, start, end)
