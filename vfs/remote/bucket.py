"""What a remote is made of: named bytes that are written once, never change, and may be deleted.

Every bucket passes tests/contract/test_buckets.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeVar

from vfs.errors import RemoteProblem, RemoteUnavailable

T = TypeVar("T")

TRIES: Final = 6
READS: Final = 3  # of what has wrong bytes, as a line may have damaged them
BACKOFF_S: Final = 0.25  # before the second try; doubled before each further one, with jitter
BACKOFF_MAX_S: Final = 8.0


class Item(NamedTuple):
    """One object of a bucket."""

    name: str
    size: int  # bytes that it takes there: of an encrypted bucket more than it holds
    modified_ns: int = 0  # when it was written, by the clock behind the bucket; 0: nobody knows


class Bucket(Protocol):
    """Named bytes. Thread-safe. Names are ASCII paths with '/' between their parts.

    Every method may raise RemoteUnavailable, after which trying again makes sense (what was to be
    written may be there or not), and RemoteProblem, after which it does not.
    """

    def get(self, name: str, *, most: int) -> bytes:
        """Return a whole object of at most *most* bytes. Raises NotFound, RemoteProblem."""

    def get_range(self, name: str, start: int, length: int) -> bytes | memoryview:
        """Return exactly *length* bytes from *start*. Raises NotFound, RemoteProblem.

        As they came, without a copy where that can be: they are megabytes, and many.
        """

    def put(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one; say whether it was written.

        It shows at once and whole, or not at all; of several who write one name, one does. Durable
        on return, as far as the service behind it promises that.
        """

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        """Yield what is in a directory and below, behind the name *after*, ascending by name."""

    def directories(self, directory: str) -> list[str]:
        """Return the last parts of the names of the directories in a directory, sorted."""

    def delete(self, name: str) -> None:
        """Delete an object, durably; one that is not there is no error."""

    def sweep(self, before_ns: int) -> None:
        """Remove what writers left half-written that were killed before a moment, if it shows."""

    def close(self) -> None:
        """Give up what is held. Nothing is used after it."""


def read_again(read: Callable[[], T]) -> T:
    """Return what *read* does, tried again where it raises RemoteProblem.

    What came wrong over a line, or not whole, comes right the next time.
    """
    for _ in range(READS - 1):
        with suppress(RemoteProblem):
            return read()
    return read()


def get_decoded(bucket: Bucket, name: str, decode: Callable[[bytes], T], *, most: int) -> T:
    """Return what *decode* makes of an object, read again where it raises RemoteProblem.

    Raises NotFound, RemoteProblem.
    """
    return read_again(lambda: decode(bucket.get(name, most=most)))


class Retrying:
    """A bucket that tries again, with growing pauses, when another one does not answer."""

    def __init__(
        self, bucket: Bucket, *, tries: int = TRIES, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._bucket = bucket
        self._tries = tries
        self._sleep = sleep

    def get(self, name: str, *, most: int) -> bytes:
        return self._retry(lambda: self._bucket.get(name, most=most))

    def get_range(self, name: str, start: int, length: int) -> bytes | memoryview:
        return self._retry(lambda: self._bucket.get_range(name, start, length))

    def put(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one.

        False may mean that an earlier try of this call wrote it after all: whoever has to know
        compares what is there.
        """
        return self._retry(lambda: self._bucket.put(name, data))

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        """Yield what there is; after a failure it goes on behind what was yielded last."""
        failures = 0
        while True:
            try:
                for item in self._bucket.items(directory, after):
                    yield item
                    after, failures = item.name, 0
                return
            except RemoteUnavailable:
                failures += 1
                self._pause(failures)

    def directories(self, directory: str) -> list[str]:
        return self._retry(lambda: self._bucket.directories(directory))

    def delete(self, name: str) -> None:
        self._retry(lambda: self._bucket.delete(name))

    def sweep(self, before_ns: int) -> None:
        self._retry(lambda: self._bucket.sweep(before_ns))

    def close(self) -> None:
        self._bucket.close()

    def _retry(self, call: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return call()
            except RemoteUnavailable:
                failures += 1
                self._pause(failures)

    def _pause(self, failures: int) -> None:
        """Wait after a failure; raise it again after too many. Only within an except block."""
        if failures >= self._tries:
            raise  # noqa: PLE0704 - the error that is being handled
        pause = min(BACKOFF_S * 2 ** (failures - 1), BACKOFF_MAX_S)
        self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients, no secret
