"""Copies of a store with damage of every kind, and commands that must cope with it."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.stores import ROOT

PAGE = 4096

RUN = """
import json, os, sys
from vfs.cli.main import main
directory, first, commands = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
states = open(f"{directory}/states", "a", buffering=1)
for number, arguments in enumerate(commands[first:], first):
    for fd, name in ((1, "out"), (2, "err")):
        file = os.open(f"{directory}/{name}{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, fd)
        os.close(file)
    sys.argv = ["vfs", *arguments]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    states.write(f"{number} {code}\\n")
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: list[str]
    code: int  # below 0: a signal
    out: bytes
    err: str

    def check(self) -> None:
        """Check that a user would understand it."""
        assert self.code in (0, 1), self
        assert "Traceback" not in self.err, self
        assert "a bug in vfs" not in self.err, self
        assert self.code == 0 or self.err or "fsck" in self.command, self


def run(store: Path, commands: list[list[str]], scratch: Path, *, seconds: float) -> list[Outcome]:
    """Run commands, one after the other, in as few processes as it takes."""
    scratch.mkdir()
    states, codes = scratch / "states", dict[int, int]()
    while len(codes) < len(commands):
        first = len(codes)
        child = subprocess.run(
            [sys.executable, "-c", RUN, str(scratch), str(first), json.dumps(commands)],
            cwd=ROOT,
            env={**os.environ, "VFS_STORE": str(store)},
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        lines = states.read_text().splitlines() if states.exists() else []
        codes = {int(number): int(code) for number, code in map(str.split, lines)}
        if len(codes) < len(commands):
            codes[len(codes)] = child.returncode  # the command ended the process
            states.write_text("".join(f"{number} {code}\n" for number, code in codes.items()))
    return [
        Outcome(
            command,
            codes[number],
            (scratch / f"out{number}").read_bytes(),
            (scratch / f"err{number}").read_text(errors="replace"),
        )
        for number, command in enumerate(commands)
    ]


def tree_pages(data: bytes) -> list[int]:
    """Return the pages that are of a search tree, or were."""
    return [
        number
        for number in range(2, len(data) // PAGE)
        if struct.unpack_from("=QHH", data, number * PAGE) in ((number, 0, 1), (number, 0, 2))
    ]


def damage(path: Path, seed: int) -> str:
    """Damage a data file; say how."""
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    trees, all_pages = tree_pages(data), range(len(data) // PAGE)
    kind = chance.choice(("head", "flips", "flips", "zero", "cut", "swap", "sector", "meta"))
    for _ in range(chance.choice((1, 1, 3, 20))):
        page = chance.choice(trees if chance.random() < 0.8 else all_pages)
        at = page * PAGE
        match kind:
            case "head":
                data[at + chance.randrange(64)] = chance.randrange(256)
            case "flips":
                data[at + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
            case "zero":
                data[at : at + PAGE] = bytes(PAGE)
            case "swap":
                other = chance.choice(trees) * PAGE
                here, there = data[at : at + PAGE], data[other : other + PAGE]
                data[at : at + PAGE], data[other : other + PAGE] = there, here
            case "sector":
                start = at + chance.randrange(8) * 512
                data[start : start + 512] = chance.randbytes(512)
    if kind == "meta":
        at = chance.randrange(2) * PAGE + chance.randrange(152)
        data[at] ^= 1 << chance.randrange(8)
    if kind == "cut":
        del data[chance.randrange(len(data)) :]
    path.write_bytes(data)
    return kind
