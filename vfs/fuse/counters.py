"""What a serving process counts: requests by kind and duration, bytes. Knows no kernel and no file.

The numbers are 64-bit words of a page of memory, which may be shared: `vfs.daemon.counting` has
the file behind it, from which others read while the process runs. A word is written by one process
alone, and read whole. A request costs 0.33 us here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

PAGE_BYTES: Final = 4096
WORDS: Final = PAGE_BYTES // 8
MAGIC: Final = 0x31_73_72_65_74_6E_63_76  # "vcnters1"

KINDS: Final = (
    "lookup getattr readdir readlink open read write create remove rename setattr xattr sync"
    " statfs other"
).split()
"""What is told apart; a name of pyfuse3's that is not among them is found in `_SAME`."""

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
}

# Single words of a page.
_MAGIC, STARTS, BYTES_READ, BYTES_WRITTEN, DIRTY_BYTES, CHECKPOINTS = range(6)
_FIRST: Final = 64  # of the blocks, one for each kind: nanoseconds in all, then the buckets
_BLOCK: Final = 24

BUCKETS: Final = 20
"""Up to 1.024 us, twice that, and so on; the last one holds all from 0.27 s on."""

LIMITS_SECONDS: Final = tuple((1024 << power) / 1e9 for power in range(BUCKETS - 1))


class _Current:
    """The page of this process: one of its own until `use` is called."""

    words: memoryview = memoryview(bytearray(PAGE_BYTES)).cast("Q")


_current: Final = _Current()


def use(words: memoryview) -> None:
    """Count in *words* from now on, and begin with this process itself."""
    words[_MAGIC] = MAGIC
    words[STARTS] += 1
    _current.words = words


def block(name: str) -> int:
    """Return where requests of the handler *name* are counted."""
    kind = _SAME.get(name, name)
    return _FIRST + _BLOCK * KINDS.index(kind if kind in KINDS else "other")


def request(block: int, nanoseconds: int) -> None:
    """Count a request that took so long."""
    words = _current.words
    words[block] += nanoseconds
    bucket = (nanoseconds >> 10).bit_length()
    words[block + 1 + (bucket if bucket < BUCKETS else BUCKETS - 1)] += 1


def add(word: int, number: int) -> None:
    """Add to one of the single words."""
    _current.words[word] += number


def put(word: int, number: int) -> None:
    """Replace one of the single words."""
    _current.words[word] = number


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

    @property
    def count(self) -> int:
        """How many requests there were."""
        return sum(each.count for each in self.requests)


def totals(pages: bytes) -> Totals:
    """Return the sum of all *pages* that are in use."""
    used = [words for words in _pages(pages) if words[_MAGIC] == MAGIC]

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
        restarts=sum(max(0, words[STARTS] - 1) for words in used),
    )


def _pages(pages: bytes) -> Iterator[Sequence[int]]:
    whole = len(pages) // PAGE_BYTES * PAGE_BYTES
    for start in range(0, whole, PAGE_BYTES):
        yield memoryview(pages)[start : start + PAGE_BYTES].cast("Q")
