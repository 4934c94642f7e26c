"""Sessions of the documentation, done again: commands of a page, and what they have to say.

A block of ```console``` is a session: lines that begin with `$ ` are commands (`> ` goes on with
one), and what follows is their output, errors too. A block of ```python NAME```, or of another
language, is that file.
In the output

* a line `[...]` stands for any lines, and
* ids, times, sizes, durations and rates need not be those of the page. But an id that stands twice
  on the page has to come twice, so commands have to speak of the same version where the page does.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from markdown_it import MarkdownIt

ANY_LINES: Final = "[...]"
_END: Final = "the end of the command"

_NUMBERS: Final = tuple(
    (re.compile(pattern), f"<{what}>")
    for what, pattern in (
        ("time", r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?( ?[+-]\d\d:?\d\d)?)?"),
        ("rate", r"\b\d+(\.\d+)? ([KMG]iB|B)/s"),
        ("size", r"\b\d+(\.\d+)? ([KMGT]iB|B)\b"),
        ("duration", r"\b\d+(\.\d+)? (s|ms|us)\b"),
        ("percent", r"\b\d+(\.\d+)? %"),
    )
)
_ID: Final = re.compile(r"\b(?:\d{8}-\d{6}-[0-9a-f]{6}|[0-9a-f]{12,64})\b")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a page shows."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page, and the lines that it says there."""

    line: int  # of the page
    text: str
    said: tuple[str, ...]


def steps(page: Path) -> list[File | Command]:
    """Return what is to be done, in the order of the page."""
    found: list[File | Command] = []
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        language, _, name = token.info.partition(" ")
        if token.type != "fence" or token.map is None:
            continue
        if language == "console":
            found += _commands(token.content.splitlines(), token.map[0] + 2)
        elif name:
            found.append(File(name, token.content))
    return found


def _commands(lines: list[str], first: int) -> list[Command]:
    found: list[Command] = []
    for number, line in enumerate(lines, first):
        if line.startswith("$ "):
            found.append(Command(number, line[2:], ()))
        elif line.startswith("> ") and not found[-1].said:
            last = found.pop()
            found.append(Command(last.line, f"{last.text}\n{line[2:]}", ()))
        else:
            last = found.pop()
            found.append(Command(last.line, last.text, (*last.said, line)))
    return [Command(each.line, each.text, tuple(trimmed(list(each.said)))) for each in found]


class Shell:
    """A shell that goes on from command to command, in a home of its own."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = str(home)
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=home,
            env={**environment, "HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.run("trap 'kill $(jobs -p) 2>/dev/null' EXIT")  # what a page leaves in the background

    def run(self, command: str) -> list[str]:
        """Return the lines that a command says, with the home as `~`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{{ {command}\n}} </dev/null; echo; echo '{_END}'\n")
        stdin.flush()
        said = []
        for line in stdout:
            if line == f"{_END}\n":
                return trimmed(said)
            said.append(line.rstrip("\n").replace(self._home, "~"))
        raise AssertionError(f"the shell has ended: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate(timeout=60)


def trimmed(lines: list[str]) -> list[str]:
    """Return *lines* without empty ones at the end, of which pages have their own."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


class Comparison:
    """Whether what was said is what a page shows; knows which id stands for which, both ways."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}
        self._theirs: dict[str, str] = {}

    def same(self, shown: list[str], said: list[str]) -> bool:
        """Compare lines, `[...]` in *shown* being as few as will do."""
        if not shown:
            return not said
        if shown[0] == ANY_LINES:
            return any(self.same(shown[1:], said[at:]) for at in range(len(said) + 1))
        return bool(said) and self._same_line(shown[0], said[0]) and self.same(shown[1:], said[1:])

    def _same_line(self, shown: str, said: str) -> bool:
        if _shape(shown) != _shape(said):
            return False
        pairs = [(a[:12], b[:12]) for a, b in zip(_ids(shown), _ids(said), strict=True)]
        if any(self._ours.get(a, b) != b or self._theirs.get(b, a) != a for a, b in pairs):
            return False
        for a, b in pairs:
            self._ours[a], self._theirs[b] = b, a
        return True


def _ids(line: str) -> list[str]:
    return _ID.findall(line)  # one in 300 is all digits


def _shape(line: str) -> str:
    line = _ID.sub("<id>", line)
    for pattern, name in _NUMBERS:
        line = pattern.sub(name, line)
    return " ".join(line.split())  # columns are as wide as what is in them
