"""What a serving process counts: requests by kind and duration, bytes. Knows no kernel and no file.

They stand in the page of `vfs.counts`, behind its single words: for each kind nanoseconds in all,
then the buckets. A request costs 0.33 us here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vfs.counts import (
    BYTES_READ,
    BYTES_WRITTEN,
    CHECKPOINTS,
    DIRTY_BYTES,
    FETCHES,
    FIRST_FREE,
    MAGIC,
    MAGIC_WORD,
    NODE_HITS,
    NODE_MISSES,
    PAGE_BYTES,
    SEGMENT_HITS,
    SEGMENT_MISSES,
    STARTS,
    STORED_BYTES,
    current,
)

KINDS: Final = (
    "lookup getattr readdir readlink open read write create remove rename setattr xattr sync"
    " statfs other opendir release forget"
).split()
"""What is told apart, in the order of the page, which processes of an older vfs may have filled. A
name of pyfuse3's that is not among them is found in `_SAME`."""

_SAME: Final = {
    "mknod": "create",
    "mkdir": "create",
    "symlink": "create",
    "link": "create",
    "unlink": "remove",
    "rmdir": "remove",
    "getxattr": "xattr",
    "setxattr": "xattr",
    "listxattr": "xattr",
    "removexattr": "xattr",
    "flush": "sync",
    "fsync": "sync",
    "fsyncdir": "sync",
    "releasedir": "release",
    "_getxattr": "xattr",
    "_tell_past": "xattr",
    "_lookup_control": "lookup",
}

_BLOCK: Final = 24

BUCKETS: Final = 20
"""Up to 1.024 us, twice that, and so on; the last one holds all from 0.27 s on."""

LIMITS_SECONDS: Final = tuple((1024 << power) / 1e9 for power in range(BUCKETS - 1))


def block(name: str) -> int:
    """Return where requests of the handler *name* are counted."""
    kind = _SAME.get(name, name)
    return FIRST_FREE + _BLOCK * KINDS.index(kind if kind in KINDS else "other")


def request(block: int, nanoseconds: int) -> None:
    """Count a request that took so long."""
    words = current.words
    words[block] += nanoseconds
    bucket = (nanoseconds >> 10).bit_length()
    words[block + 1 + (bucket if bucket < BUCKETS else BUCKETS - 1)] += 1


def add(word: int, number: int) -> None:
    """Add to one of the single words."""
    current.words[word] += number


def put(word: int, number: int) -> None:
    """Replace one of the single words."""
    current.words[word] = number


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests of one kind."""

    kind: str
    seconds: float  # in all
    buckets: tuple[int, ...]  # how many took so long: see `LIMITS_SECONDS`

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the processes of a mount have counted together."""

    requests: tuple[Requests, ...]
    bytes_read: int
    bytes_written: int
    dirty_bytes: int
    checkpoints: int
    restarts: int
    node_hits: int  # tree nodes that were decoded already
    node_misses: int
    segment_hits: int  # compressed segments that were decompressed already
    segment_misses: int
    stored_bytes: int  # read from the store's file, or its pages in memory
    fetches: int  # from a remote

    @property
    def count(self) -> int:
        """How many requests there were."""
        return sum(each.count for each in self.requests)


def totals(pages: bytes) -> Totals:
    """Return the sum of all *pages* that are in use."""
    used = [words for words in _pages(pages) if words[MAGIC_WORD] == MAGIC]

    def total(word: int) -> int:
        return sum(words[word] for words in used)

    return Totals(
        requests=tuple(
            Requests(
                kind=kind,
                seconds=total(first) / 1e9,
                buckets=tuple(total(first + 1 + bucket) for bucket in range(BUCKETS)),
            )
            for kind, first in ((kind, block(kind)) for kind in KINDS)
        ),
        bytes_read=total(BYTES_READ),
        bytes_written=total(BYTES_WRITTEN),
        dirty_bytes=total(DIRTY_BYTES),
        checkpoints=total(CHECKPOINTS),
        node_hits=total(NODE_HITS),
        node_misses=total(NODE_MISSES),
        segment_hits=total(SEGMENT_HITS),
        segment_misses=total(SEGMENT_MISSES),
        stored_bytes=total(STORED_BYTES),
        fetches=total(FETCHES),
        restarts=sum(max(0, words[STARTS] - 1) for words in used),
    )


def _pages(pages: bytes) -> Iterator[Sequence[int]]:
    whole = len(pages) // PAGE_BYTES * PAGE_BYTES
    for start in range(0, whole, PAGE_BYTES):
        yield memoryview(pages)[start : start + PAGE_BYTES].cast("Q")
