"""What two sides did that does not go together, and what each way to settle it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from vfs.model.entry import NAME_MAX_BYTES
from vfs.repo.merge.links import with_link

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.merge.fields import Side
    from vfs.repo.merge.planting import Edits
    from vfs.repo.treepaths import Path

Settlement = Literal["ours", "theirs", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One path at which both sides did something, each in its own way."""

    path: Path
    kind: str  # what ours did, "/", what theirs did
    fields: tuple[str, ...] = ()  # of what both have: what both changed
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    take: dict[Side, Edits]  # the edits that make each side's of it
    renamed: dict[Side, Path] = field(default_factory=dict)  # what it is called by who renamed it

    def places(self) -> Iterator[Path]:
        """Yield all paths that it is about."""
        yield self.path
        yield from self.renamed.values()

    def beside(self, labels: Mapping[Side, str], is_free: Callable[[Path], bool]) -> Edits:
        """Return the edits that keep both sides, each called after its label if need be."""
        if self.renamed:
            return {path: entry for side in _SIDES for path, entry in self._kept(side)}
        sides: dict[Side, Entry | None] = {"ours": self.ours, "theirs": self.theirs}
        directories = [side for side in _SIDES if (entry := sides[side]) and entry.is_dir]
        if directories:  # it keeps its name, and is as ours has it where both are one
            edits = dict(self.take[directories[0]])
        else:
            edits = {self.path: None}
        for side in _SIDES:
            entry = sides[side]
            if entry is not None and not entry.is_dir:
                name = beside(
                    self.path, labels[side], lambda path: path not in edits and is_free(path)
                )
                edits[name] = with_link(entry, None)
        return edits

    def _kept(self, side: Side) -> Iterator[tuple[Path, Entry]]:
        for path, entry in self.take[side].items():
            if entry is not None:
                yield path, entry


_SIDES: Final[tuple[Side, ...]] = ("ours", "theirs")


def beside(path: Path, label: str, is_free: Callable[[Path], bool]) -> Path:
    """Return a path that nothing has, called after *path* and *label*: `name~label`."""
    number = 1
    while True:
        suffix = b"~" + label.encode() + (b"~%d" % number if number > 1 else b"")
        found = (*path[:-1], path[-1][: NAME_MAX_BYTES - len(suffix)] + suffix)
        if is_free(found):
            return found
        number += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How conflicts are to be settled.

    Patterns are of paths, as a shell has them; `*` stands for `/` as well, and what names a
    directory names all below. Of two that match, the one that says more holds; of equals, ours.
    """

    ours: Sequence[str] = ()
    theirs: Sequence[str] = ()
    keep_both: bool = False  # what no pattern names

    def settle(self, conflict: Conflict) -> Settlement | None:
        """Return how a conflict is settled; None where it is not."""
        paths = [b"/".join(path) for path in conflict.places()]
        ours = max((_weight(pattern, paths) for pattern in self.ours), default=0)
        theirs = max((_weight(pattern, paths) for pattern in self.theirs), default=0)
        if ours or theirs:
            return "ours" if ours >= theirs else "theirs"
        return "both" if self.keep_both else None


def _weight(pattern: str, paths: Iterable[bytes]) -> int:
    """Return how much a pattern counts; 0 where it matches none of the paths."""
    raw = pattern.rstrip("/").encode("utf-8", "surrogateescape")
    matches = any(fnmatchcase(path, raw) or fnmatchcase(path, raw + b"/*") for path in paths)
    return 1 + len(raw.replace(b"*", b"")) if matches else 0
