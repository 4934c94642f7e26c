"""Small changes to a directory, one after the other, and how far whoever makes them has come.

As a script: `python -m tests.support.branch_steps DIR PROGRESS SEED` makes them without end.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.posix import RENAME_EXCHANGE, opened, renameat2
from tests.support.tree_ops import PAST_NS

SYNCED_SHARE = 0.35
NAMES_MAX = 60
LOST = 7  # the exit code of a child that met an error, as it does when nobody serves the branch

_FILES = {"large": 300_000, "small": 10, "empty": 0, "one/page": 4096, "one/linked": 5000}
_DIRECTORIES = ("one", "two", "one/below")
_LINK = "two/linked too"
_PROGRESS = struct.Struct("=3Q")


class Step(NamedTuple):
    """One change. It is made or not; one that writes data may be made in part, page by page."""

    verb: str
    path: str
    args: tuple[Any, ...] = ()
    synced: bool = False

    @property
    def writes(self) -> bool:
        return self.verb in ("make", "write", "append", "map_write")


class Progress(NamedTuple):
    """How many steps were begun, done, and known to be durable."""

    begun: int = 0
    done: int = 0
    confirmed: int = 0

    @classmethod
    def read(cls, path: Path) -> Progress:
        return cls(*_PROGRESS.unpack(path.read_bytes()))


def make_start(directory: Path) -> None:
    """Make what is there before the first step."""
    for name in _DIRECTORIES:
        (directory / name).mkdir(parents=True)
    noise = random.Random(1)
    for name, size in _FILES.items():
        (directory / name).write_bytes(noise.randbytes(size))
    os.link(directory / "one/linked", directory / _LINK)


# ------------------------------------------------------------------------------- which steps


@dataclass
class _Node:
    kind: str
    size: int = 0


class Steps:
    """An endless sequence that depends on the seed alone, and of which no step fails."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._nodes = {name: _Node("directory") for name in _DIRECTORIES}
        self._nodes |= {name: _Node("file", size) for name, size in _FILES.items()}
        self._nodes[_LINK] = self._nodes["one/linked"]
        self._made = 0

    def __iter__(self) -> Iterator[Step]:
        weights = {
            self._make: 3, self._write: 4, self._append: 2, self._map_write: 1, self._truncate: 2,
            self._rename: 3, self._replace: 2, self._exchange: 1, self._link: 1, self._unlink: 2,
            self._mkdir: 2, self._rmdir: 1, self._change: 2,
        }  # fmt: skip
        verbs, shares = list(weights), list(weights.values())
        while True:
            step = self._random.choices(verbs, shares)[0]()
            if step is not None:
                yield step._replace(synced=self._random.random() < SYNCED_SHARE)

    def _some(self, *kinds: str) -> str | None:
        names = [name for name, node in self._nodes.items() if node.kind in kinds]
        return self._random.choice(names) if names else None

    def _new(self) -> str | None:
        if len(self._nodes) >= NAMES_MAX:
            return None
        self._made += 1
        directory = self._random.choice([self._some("directory"), None])
        return f"{directory}/n{self._made}" if directory else f"n{self._made}"

    def _data(self) -> bytes:
        return self._random.randbytes(int(10 ** (self._random.random() * 4.8)))

    def _make(self) -> Step | None:
        path = self._new()
        if path is None:
            return None
        data = self._data()
        self._nodes[path] = _Node("file", len(data))
        return Step("make", path, (data,))

    def _write(self) -> Step | None:
        path = self._some("file")
        if path is None:
            return None
        node, data = self._nodes[path], self._data()
        offset = self._random.randrange(node.size + 1)
        node.size = max(node.size, offset + len(data))
        return Step("write", path, (offset, data))

    def _append(self) -> Step | None:
        path = self._some("file")
        if path is None:
            return None
        data = self._data()
        self._nodes[path].size += len(data)
        return Step("append", path, (data,))

    def _map_write(self) -> Step | None:
        path = self._some("file")
        if path is None or not self._nodes[path].size:
            return None
        offset = self._random.randrange(self._nodes[path].size)
        return Step("map_write", path, (offset, self._data()[: self._nodes[path].size - offset]))

    def _truncate(self) -> Step | None:
        path = self._some("file")
        if path is None:
            return None
        node = self._nodes[path]
        node.size = self._random.choice((0, self._random.randrange(node.size + 9000)))
        return Step("truncate", path, (node.size,))

    def _rename(self) -> Step | None:
        old, new = self._some("file", "link", "directory"), self._new()
        if old is None or new is None or new.startswith(f"{old}/"):
            return None
        self._nodes = {_moved(name, old, new): node for name, node in self._nodes.items()}
        return Step("rename", old, (new, 0))

    def _replace(self) -> Step | None:
        old, new = self._some("file", "link"), self._some("file", "link")
        if old is None or new is None or self._nodes[old] is self._nodes[new]:
            return None
        self._nodes[new] = self._nodes.pop(old)
        return Step("rename", old, (new, 0))

    def _exchange(self) -> Step | None:
        old, new = self._some("file", "link"), self._some("file", "link")
        if old is None or new is None or self._nodes[old] is self._nodes[new]:
            return None
        self._nodes[old], self._nodes[new] = self._nodes[new], self._nodes[old]
        return Step("rename", old, (new, RENAME_EXCHANGE))

    def _link(self) -> Step | None:
        old, new = self._some("file"), self._new()
        if old is None or new is None:
            return None
        self._nodes[new] = self._nodes[old]
        return Step("link", old, (new,))

    def _unlink(self) -> Step | None:
        path = self._some("file", "link")
        if path is None:
            return None
        del self._nodes[path]
        return Step("unlink", path)

    def _mkdir(self) -> Step | None:
        path = self._new()
        if path is None:
            return None
        if self._random.random() < 0.3:
            self._nodes[path] = _Node("link")
            return Step("symlink", path, ("nowhere",))
        self._nodes[path] = _Node("directory")
        return Step("mkdir", path)

    def _rmdir(self) -> Step | None:
        path = self._some("directory")
        if path is None or any(name.startswith(f"{path}/") for name in self._nodes):
            return None
        del self._nodes[path]
        return Step("rmdir", path)

    def _change(self) -> Step | None:
        path = self._some("file", "directory")
        if path is None:
            return None
        number = self._random.randrange(256)
        return self._random.choice(
            (
                Step("chmod", path, (0o700 | number & 0o77,)),
                Step("utime", path, (self._random.randrange(PAST_NS),)),
                Step("setxattr", path, (bytes([number]) * number,)),
            )
        )


def _moved(name: str, old: str, new: str) -> str:
    return new + name[len(old) :] if name == old or name.startswith(f"{old}/") else name


# ----------------------------------------------------------------------------- making them


def perform(step: Step, confirm: Callable[[], object] = lambda: None) -> None:
    """Make a change in the working directory; *confirm* is called once it is durable."""
    if step.writes:
        _write_data(step, confirm)
        return
    path, args = step.path, step.args
    match step.verb:
        case "truncate":
            with opened(path, os.O_WRONLY) as fd:
                os.ftruncate(fd, args[0])
        case "rename":
            renameat2(path, *args)
        case "symlink":
            os.symlink(args[0], path)
        case "utime":
            os.utime(path, ns=(args[0], args[0]))
        case "setxattr":
            os.setxattr(path, "user.x", args[0])
        case _:
            getattr(os, step.verb)(path, *args)
    if step.synced:
        with opened(".", os.O_RDONLY) as fd:
            os.fsync(fd)
        confirm()


_FLAGS = {"make": os.O_CREAT | os.O_EXCL, "append": os.O_APPEND}


def _write_data(step: Step, confirm: Callable[[], object]) -> None:
    *_, data = step.args
    with opened(step.path, os.O_RDWR | _FLAGS.get(step.verb, 0), 0o644) as fd:
        if step.verb == "map_write":
            with mmap.mmap(fd, 0) as mapped:
                mapped[step.args[0] : step.args[0] + len(data)] = data
        elif step.verb == "write":
            assert os.pwrite(fd, data, step.args[0]) == len(data)
        else:
            assert os.write(fd, data) == len(data)
        if step.synced:
            (os.fsync if len(data) % 2 else os.fdatasync)(fd)
            confirm()


def main() -> int:
    directory, progress, seed = sys.argv[1:]
    os.umask(0o022)
    os.chdir(directory)  # which holds the mount as it is now: another one at its place is not met
    fd = os.open(progress, os.O_WRONLY)
    now = Progress()

    def tell(**changes: int) -> None:
        nonlocal now
        now = now._replace(**changes)
        os.pwrite(fd, _PROGRESS.pack(*now), 0)

    for number, step in enumerate(Steps(int(seed)), 1):
        tell(begun=number)
        try:
            perform(step, partial(tell, confirmed=number))
        except OSError as exc:
            print(f"step {number}, {step.verb} {step.path}: {exc}", file=sys.stderr)
            return LOST
        tell(done=number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
