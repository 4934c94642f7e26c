"""The files of a version as samples: what torch.utils.data calls a map-style data set.

torch itself is not needed: its DataLoader takes whatever has a length and items.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from vfs.api.version import Version

T = TypeVar("T")


class Files(Generic[T]):
    """Files of a version, in the order of their paths. Never changes.

    Can be pickled, and used behind a fork, as loaders' worker processes do both. Takes about as
    much memory as the paths are long.
    """

    def __init__(
        self,
        version: Version,
        path: str = "",
        pattern: str = "*",
        transform: Callable[[str, bytes], T] | None = None,
    ) -> None:
        """Take the regular files below *path* whose path below it matches *pattern*.

        In a pattern `*` stands for anything, `/` as well. *transform* makes a sample of a path and
        the bytes there, and must be a function of a module if it is to be pickled; without it a
        sample is both.
        """
        self.version = version
        self._transform = transform
        self._names = bytearray()
        self._ends = array("Q")
        prefix = path.strip("/")
        skip = len(prefix) + 1 if prefix else 0
        for info in version.files(path):
            if fnmatchcase(info.path[skip:], pattern):
                self._names += info.path.encode("utf-8", "surrogateescape")
                self._ends.append(len(self._names))

    def __repr__(self) -> str:
        return f"<{len(self)} files of {self.version!r}>"

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> T | tuple[str, bytes]:
        path = self.path(index)
        data = self.version.read_bytes(path)
        return (path, data) if self._transform is None else self._transform(path, data)

    def __iter__(self) -> Iterator[T | tuple[str, bytes]]:
        return (self[index] for index in range(len(self)))

    def path(self, index: int) -> str:
        """Return the path of a sample. Raises IndexError."""
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} files")
        start = self._ends[index - 1] if index else 0
        return self._names[start : self._ends[index]].decode("utf-8", "surrogateescape")

    def order(self, epoch: int = 0, *, seed: int = 0) -> list[int]:
        """Return all indices in an order of chance: a loader's `sampler`.

        It is the same wherever the same version is shuffled for the same epoch with the same seed.
        """
        indices = list(range(len(self)))
        random.Random(f"{self.version.commit} {seed} {epoch}").shuffle(indices)  # noqa: S311 - no secret
        return indices

    def share(self, epoch: int, rank: int, world: int, *, seed: int = 0) -> list[int]:
        """Return what one of *world* processes takes of an epoch; of all, none is taken twice."""
        return self.order(epoch, seed=seed)[rank::world]
