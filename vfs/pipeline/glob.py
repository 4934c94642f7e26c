"""Patterns that cut a version into pieces. Meaning: docs/pipelines.md, "Datums".

`/` is the whole version, `/*` each entry at the top; `**` stands for any path, and then only files
are pieces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.ids import NO_CONTENT
from vfs.repo.treediff import Pair, pairs
from vfs.repo.trees import walk

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes

_REFERENCE: Final = re.compile(r"\$(?:(\d+)|\{(\d+)\})")
_TOKEN: Final = re.compile(
    r"(?P<anywhere>/\*\*/)|(?P<deep>\*\*)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<not>[!^]?)(?P<set>[^]/]+)\]|(?P<mark>[(){},|])|\\(?P<quoted>.)|(?P<plain>.)",
    re.DOTALL,
)
_MARKS: Final = {"{": "(?:", "}": ")"}


class Glob:
    """A pattern. Raises ValueError."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern if pattern.startswith("/") else f"/{pattern}"
        self._is_deep = "**" in self.pattern
        try:
            self._whole = re.compile(_translated(self.pattern), re.DOTALL)
        except re.error as error:
            raise ValueError(f"the pattern '{pattern}' is none: {error.msg}") from None
        self._levels = [_level(part) for part in self.pattern[1:].split("/")]

    def __str__(self) -> str:
        return self.pattern

    def problem_of(self, key: str) -> str:
        """Say what keeps *key*, as "$1-$2", from being made of this pattern's groups; or ""."""
        wanted = [int(one or other) for one, other in _REFERENCE.findall(key)]
        if not wanted:
            return "has to name a group of the pattern, as $1"
        if max(wanted) > self._whole.groups or 0 in wanted:
            return f"names a group that '{self.pattern}' has not: groups stand in ( )"
        return ""

    def key(self, template: str, path: Path) -> str:
        """Return *template* with the groups that the pattern captures in *path*."""
        match = self._match(path)
        assert match is not None
        return _REFERENCE.sub(lambda found: match[int(found[1] or found[2])] or "", template)

    def pieces(self, nodes: Nodes, root: Entry) -> Iterator[tuple[Path, Entry]]:
        """Yield paths and entries that match, in the order of a walk; reads what may match only."""
        if self.pattern == "/":
            yield (), root
            return
        stack: list[tuple[Path, Iterator[Entry]]] = [((), _entries(nodes, root))]
        while stack:
            above, rest = stack[-1]
            entry = next(rest, None)
            if entry is None:
                stack.pop()
                continue
            path = (*above, entry.name)
            if self._is_piece(path, entry):
                yield path, entry
            elif entry.is_dir and self._may_lead(path):
                stack.append((path, _entries(nodes, entry)))

    def changes(
        self, nodes: Nodes, old: Entry, new: Entry
    ) -> Iterator[tuple[Path, Entry | None, Entry | None]]:
        """Yield what matches in one of two roots and is not the same in the other one, by path.

        Directories that both have are not read; what differs may do so in nothing that counts.
        """
        if self.pattern == "/":
            if old.content != new.content:
                yield (), old, new
            return
        stack: list[tuple[Path, Iterator[Pair]]] = [((), pairs(nodes, old.content, new.content))]
        while stack:
            above, rest = stack[-1]
            pair = next(rest, None)
            if pair is None:
                stack.pop()
                continue
            either = pair[0] or pair[1]
            assert either is not None
            path = (*above, either.name)
            was, now = (one if one and self._is_piece(path, one) else None for one in pair)
            if was or now:
                yield path, was, now
            trees = [
                one.content if one and one.is_dir and one is not piece else NO_CONTENT
                for one, piece in zip(pair, (was, now), strict=True)
            ]
            if trees[0] != trees[1] and self._may_lead(path):
                stack.append((path, pairs(nodes, *trees)))

    def _is_piece(self, path: Path, entry: Entry) -> bool:
        return not (entry.is_dir and self._is_deep) and self._match(path) is not None

    def _match(self, path: Path) -> re.Match[str] | None:
        return self._whole.fullmatch(f"/{os.fsdecode(b'/'.join(path))}")

    def _may_lead(self, path: Path) -> bool:
        """Say whether something below a directory may match."""
        if self._is_deep:
            levels = self.pattern[1:].split("/")
            fixed = next(i for i, level in enumerate(levels) if "**" in level)
        else:
            fixed = len(self._levels) - 1
            if len(path) > fixed:
                return False
        level = self._levels[len(path) - 1] if len(path) <= fixed else None
        return level is None or level.fullmatch(os.fsdecode(path[-1])) is not None


def _entries(nodes: Nodes, directory: Entry) -> Iterator[Entry]:
    if directory.content == NO_CONTENT:
        return iter(())
    return (place.entry for place in walk(nodes, directory.content))


def _level(part: str) -> re.Pattern[str] | None:
    """Return what one name has to match; None where a group goes over several."""
    try:
        return re.compile(_translated(part), re.DOTALL)
    except re.error:
        return None


def _translated(pattern: str) -> str:
    """Return the regular expression that a pattern means."""
    out = []
    braces = 0
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup, token[0]:
            case "anywhere", _:
                out.append("/(?:.*/)?")
            case "deep", _:
                out.append(".*")
            case "star", _:
                out.append("[^/]*")
            case "one", _:
                out.append("[^/]")
            case "set", _:
                members = token["set"].replace("\\", "\\\\").replace("[", "\\[")
                out.append(f"[{'^' if token['not'] else ''}{members}]")
            case "mark", ",":
                out.append("|" if braces else ",")
            case "mark", mark:
                braces += (mark == "{") - (mark == "}")
                out.append(_MARKS.get(mark, mark))
            case "quoted", _:
                out.append(re.escape(token["quoted"]))
            case _:
                out.append(re.escape(token[0]))
    return "".join(out)
