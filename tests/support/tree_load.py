"""Many processes on one tree: each in a directory of its own, and all in some that they share.

What a process met in its own directory must be what the same operations meet on another file
system. Of the shared directories only what holds in any order is checked.

As a script: `python -m tests.support.tree_load DIR REFERENCE --workers 8 --ops 100000`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.support.posix import Child, Directory, opened
from tests.support.tree_ops import Op, Ops, RandomOps, differences, digest, tree_of

TOKENS, PLACES, ATOMIC, SLOT_BYTES = 12, ("x", "y", "z"), 4, 777
SHARED_SHARE = 0.25  # of the operations
HISTORY = 30


class Worker:
    """One process's work; a function of its seed, but for what others do to shared directories."""

    def __init__(self, root: str, number: int, seed: int) -> None:
        self.own = Ops(f"{root}/own{number}")
        self.shared = f"{root}/shared"
        self.number = number
        self._operations = RandomOps(seed * 1000 + number)
        self._chance = random.Random(seed * 1000 + number)  # its own: what others do draws from it
        self._met = hashlib.sha256()
        self.lines = self.claimed = 0
        self.slot = b""

    def run(self, ops: int, *, shared: bool) -> tuple[list[str], int, int, bytes]:
        """Return digests of what was met (one for each 1000 operations), and what was shared."""
        digests = []
        for turn in range(ops):
            op = self._operations.next()
            self._met.update(repr((op, self.own.do(op))).encode())
            if turn % 1000 == 999 or turn == ops - 1:
                digests.append(self._met.hexdigest())
            if shared and self._chance.random() < SHARED_SHARE:
                step = self._chance.choice(
                    (self.move, self.replace, self.look, self.log, self.claim, self.put, self.list)
                )
                step()
        return digests, self.lines, self.claimed, self.slot

    def move(self) -> None:
        """Take a token from a place, if it is there, to another."""
        token = self._chance.randrange(TOKENS)
        old, new = self._chance.sample(PLACES, 2)
        try:
            os.rename(f"{self.shared}/{old}/t{token}", f"{self.shared}/{new}/t{token}")
        except FileNotFoundError:
            return

    def replace(self) -> None:
        """Put a whole new file in the place of another."""
        data = self._chance.randbytes(self._chance.randrange(30_000))
        temporary = f"{self.shared}/temporary{self.number}"
        with opened(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
            os.write(fd, digest(data).encode() + data)
        os.rename(temporary, f"{self.shared}/atomic{self._chance.randrange(ATOMIC)}")

    def look(self) -> None:
        """A file that is replaced is always one of the whole ones."""
        try:
            data = Path(f"{self.shared}/atomic{self._chance.randrange(ATOMIC)}").read_bytes()
        except FileNotFoundError:
            return
        assert digest(data[20:]).encode() == data[:20], "a file that nobody wrote"

    def log(self) -> None:
        with opened(f"{self.shared}/log", os.O_WRONLY | os.O_APPEND) as fd:
            line = f"{self.number} {self.lines} {'.' * self._chance.randrange(200)}\n".encode()
            assert os.write(fd, line) == len(line)
        self.lines += 1

    def claim(self) -> None:
        """Make a file that only one of all can have made."""
        try:
            path = f"{self.shared}/claims/{self._chance.randrange(10**5)}"
            with opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY):
                self.claimed += 1
        except FileExistsError:
            return

    def put(self) -> None:
        """Write to bytes of one's own in a file of all, which are not on pages of one's own."""
        self.slot = self._chance.randbytes(SLOT_BYTES)
        with opened(f"{self.shared}/slots") as fd:
            os.pwrite(fd, self.slot, self.number * SLOT_BYTES)
            assert os.pread(fd, SLOT_BYTES, self.number * SLOT_BYTES) == self.slot

    def list(self) -> None:
        with Directory(f"{self.shared}/{self._chance.choice((*PLACES, 'claims'))}") as stream:
            names = stream.names()
        assert len(set(names)) == len(names), "listed twice"


def prepare(root: str, workers: int, *, shared: bool) -> None:
    for number in range(workers):
        os.mkdir(f"{root}/own{number}")
    if shared:
        for name in ("", "claims", *PLACES):
            os.mkdir(f"{root}/shared/{name}")
        for token in range(TOKENS):
            Path(f"{root}/shared/x/t{token}").write_text(f"token {token}")
        for name in ("log", "slots"):
            Path(f"{root}/shared/{name}").touch()


def load(root: str | Path, workers: int, ops: int, seed: int) -> list[list[str]]:
    """Let the workers do their work and check what they share; return what each met."""
    top = os.fspath(root)
    prepare(top, workers, shared=True)
    made = [Worker(top, number, seed) for number in range(workers)]
    children = [Child(lambda worker=worker: worker.run(ops, shared=True)) for worker in made]
    results = [child.result() for child in children]
    _check_shared(f"{top}/shared", results)
    return [digests for digests, *_ in results]


def _check_shared(shared: str, results: list[tuple[list[str], int, int, bytes]]) -> None:
    tokens = Counter(name for place in PLACES for name in os.listdir(f"{shared}/{place}"))
    assert tokens == Counter(f"t{token}" for token in range(TOKENS)), tokens
    for place in PLACES:
        for name in os.listdir(f"{shared}/{place}"):
            assert Path(f"{shared}/{place}/{name}").read_text() == f"token {name[1:]}"
    lines = [line.split()[:2] for line in Path(f"{shared}/log").read_text().splitlines()]
    claims = len(os.listdir(f"{shared}/claims"))
    assert claims == sum(claimed for _, _, claimed, _ in results)
    with opened(f"{shared}/slots", os.O_RDONLY) as fd:
        for number, (_, count, _, slot) in enumerate(results):
            own = [int(line[1]) for line in lines if int(line[0]) == number]
            assert own == list(range(count)), f"lines of {number}"
            if slot:
                assert os.pread(fd, SLOT_BYTES, number * SLOT_BYTES) == slot
    assert not [name for name in os.listdir(shared) if name.startswith("temporary")]


def replay(root: str | Path, workers: int, ops: int, seed: int) -> list[list[str]]:
    """The same, one after the other and without what is shared."""
    top = os.fspath(root)
    prepare(top, workers, shared=False)
    made = [Worker(top, number, seed) for number in range(workers)]
    return [worker.run(ops, shared=False)[0] for worker in made]


def compare(root: str | Path, reference: str | Path, workers: int, ops: int, seed: int) -> None:
    """Do all of it. Raises AssertionError with the first operation that met something else."""
    old = os.umask(0o022)
    try:
        met = load(root, workers, ops, seed)
        wanted = replay(reference, workers, ops, seed)
        for number in range(workers):
            if met[number] != wanted[number]:
                raise AssertionError(first_difference(root, reference, number, ops, seed))
            found = differences(tree_of(f"{root}/own{number}"), tree_of(f"{reference}/own{number}"))
            assert not found, "\n".join(found)
    finally:
        os.umask(old)


def first_difference(
    root: str | Path, reference: str | Path, number: int, ops: int, seed: int
) -> str:
    """Do one process's operations again on both, in step."""
    made = []
    for top in (root, reference):
        made.append(Ops(f"{os.fspath(top)}/again{number}"))
        os.mkdir(made[-1].root)
    history: list[Op] = []
    operations = RandomOps(seed * 1000 + number)
    for turn in range(ops):
        op = operations.next()
        history.append(op)
        one, other = (each.do(op) for each in made)
        if one != other:
            story = "\n".join(str(each)[:200] for each in history[-HISTORY:])
            return f"process {number}, operation {turn}: {one}, not {other}, after\n{story}"
    return f"process {number} met something else, but not when it was alone"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--ops", type=int, default=20_000, help="of each process")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    began = time.monotonic()
    try:
        compare(wanted.directory, wanted.reference, wanted.workers, wanted.ops, wanted.seed)
    except AssertionError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"no difference, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
