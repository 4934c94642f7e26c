"""The files of a version as samples: what torch.utils.data calls a map-style data set.

torch itself is not needed: its DataLoader takes whatever has a length and items.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vfs.api.client import Client

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
        version: Version | str,
        path: str = "",
        pattern: str = "*",
        transform: Callable[[str, bytes], T] | None = None,
    ) -> None:
        """Take the regular files below *path* whose path below it matches *pattern*.

        *version* may be a name, such as `data@v3`; it is the version that it names now, for good.

        In a pattern `*` stands for anything, `/` as well. *transform* makes a sample of a path and
        the bytes there, and must be a function of a module if it is to be pickled; without it a
        sample is both.
        """
        self.version = Client().open(version) if isinstance(version, str) else version
        self._transform = transform
        self._names = bytearray()
        self._ends = array("Q")
        prefix = path.strip("/")
        skip = len(prefix) + 1 if prefix else 0
        for info in self.version.files(path):
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


class Sampler:
    """One process's part of each epoch: a loader's `sampler`, which goes on from epoch to epoch.

    All of *world* processes get as many samples, none of them twice: processes that wait for each
    other in each step (torch's DistributedDataParallel) end together. What is left over, fewer
    samples than processes, is left out of an epoch, and of the next one it will be others.
    """

    def __init__(self, files: Files[Any], *, rank: int = 0, world: int = 1, seed: int = 0) -> None:
        """Take every *world*-th sample of an epoch's order (see `Files.order`), from *rank* on."""
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank}, and has to be from 0 to {world - 1}")
        self._files, self._seed = files, seed
        self._rank, self._world = rank, world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next. Without that it is the one after the last."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._files) // self._world

    def __iter__(self) -> Iterator[int]:
        share = self._files.share(self._epoch, self._rank, self._world, seed=self._seed)
        self._epoch += 1
        return iter(share[: len(self)])
