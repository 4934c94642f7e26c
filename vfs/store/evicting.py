"""Removing chunks from a store that may lack them: a cache that has grown too large.

Runs of blocks are gone through in the order in which they were stored, from where the last eviction
ended; one that was read since then is left for the next time (a clock, or "second chance"). So what
is in use stays, at the price of one byte for each MiB and no write for a read.

Rows of the index go first, in bounded transactions, then the blocks that nothing leads to. Whoever
reads has a snapshot; whoever comes later misses the object, and fetches it. Killed in between, it
leaves blocks without objects, which the next eviction comes by. Only chunks go: nodes and commits
are little, and lead to inode numbers. What the remote may not have (`vfs.store.unpushed`) stays.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from vfs.ids import ObjectId
from vfs.store.clock import RUN_BLOCKS, Clock
from vfs.store.layout import BLOCK_BYTES, Kind, Location, number_key, unpack_location
from vfs.store.numbers import next_number
from vfs.store.unpushed import Unpushed

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

ROWS_AT_ONCE: Final = 6_000
BLOCKS_AT_ONCE: Final = 2_000

_LOCK: Final = "evicting"
_HAND: Final = struct.Struct("<Q")  # in the lock's file: the run with which to go on


def evict(env: Environment, clock: Clock, bytes_: int) -> bool:
    """Remove chunks that take about so many *bytes_* of blocks, those first that nobody read.

    False where another process is at it. Raises StoreFull.
    """
    fd = os.open(env.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        raw = os.pread(fd, _HAND.size, 0)
        hand = _HAND.unpack(raw)[0] if len(raw) == _HAND.size else 0
        runs, hand = _choose(env, clock, hand, bytes_)
        rows, kept = _rows(env, runs)
        kept.update(_remove_rows(env, rows))
        _remove_blocks(env, runs, kept)
        os.pwrite(fd, _HAND.pack(hand), 0)
    finally:
        os.close(fd)
    return True


def _choose(env: Environment, clock: Clock, hand: int, bytes_: int) -> tuple[set[int], int]:
    """Return the runs to empty, and the one to go on with. Twice round at most."""
    with env.read() as txn, txn.cursor(env.tables["blocks"]) as cursor:
        sizes: dict[int, int] = {}
        for key in cursor.iternext(keys=True, values=False):
            run = int.from_bytes(key, "big") // RUN_BLOCKS
            sizes[run] = sizes.get(run, 0) + BLOCK_BYTES
    sizes.pop(max(sizes, default=0), None)  # writers go on there
    order = [run for run in sizes if run >= hand] + [run for run in sizes if run < hand]
    chosen: set[int] = set()
    found = 0
    for run in (*order, *order):
        if found >= bytes_:
            break
        hand = run + 1
        if run not in chosen and not clock.take(run * RUN_BLOCKS):
            chosen.add(run)
            found += sizes[run]
    return chosen, hand


def _rows(env: Environment, runs: set[int]) -> tuple[list[tuple[ObjectId, bytes]], set[int]]:
    """Return the index rows of the chunks that begin in *runs*, and the blocks of all else."""
    rows: list[tuple[ObjectId, bytes]] = []
    kept: set[int] = set()
    with env.read() as txn, txn.cursor(env.tables["objects"]) as cursor:
        for key, value in cursor:
            place = unpack_location(value)
            blocks = _blocks(place)
            if place.kind == Kind.CHUNK and place.block // RUN_BLOCKS in runs:
                rows.append((ObjectId(bytes(key)), bytes(value)))
            elif place.block // RUN_BLOCKS in runs or blocks[-1] // RUN_BLOCKS in runs:
                kept.update(blocks)
    return rows, kept


def _blocks(place: Location) -> range:
    """Return the blocks that an object's segment lies in."""
    last = place.block + max(place.at + place.stored - 1, 0) // BLOCK_BYTES
    return range(place.block, last + 1)


def _remove_rows(env: Environment, rows: Sequence[tuple[ObjectId, bytes]]) -> set[int]:
    """Remove rows of the index; return the blocks of what the remote may not have: it stays."""
    objects = env.tables["objects"]
    unpushed = Unpushed(env)

    def change(txn: Txn, some: Sequence[tuple[ObjectId, bytes]]) -> set[int]:
        kept: set[int] = set()
        for oid, row in some:
            if bytes(txn.get(oid, db=objects) or b"") != row:
                continue  # it came anew meanwhile
            if unpushed.has_in(txn, oid):
                kept.update(_blocks(unpack_location(memoryview(row))))
            else:
                txn.delete(oid, db=objects)
        return kept

    kept: set[int] = set()
    for some in _batches(rows, ROWS_AT_ONCE):
        kept |= env.write(lambda txn, some=some: change(txn, some))  # type: ignore[misc]
    return kept


def _remove_blocks(env: Environment, runs: Iterable[int], kept: set[int]) -> None:
    blocks = env.tables["blocks"]
    numbers = (
        number
        for run in sorted(runs)
        for number in range(run * RUN_BLOCKS, (run + 1) * RUN_BLOCKS)
        if number not in kept
    )

    def change(txn: Txn, some: Sequence[int]) -> None:
        last = next_number(txn, blocks) - 1
        for number in some:
            if number < last:  # whose number must not come back
                txn.delete(number_key(number), db=blocks)

    for some in _batches(numbers, BLOCKS_AT_ONCE):
        env.write(lambda txn, some=some: change(txn, some))  # type: ignore[misc]


def _batches(items: Iterable[object], size: int) -> Iterator[list]:  # type: ignore[type-arg]
    each = iter(items)
    while batch := list(islice(each, size)):
        yield batch
