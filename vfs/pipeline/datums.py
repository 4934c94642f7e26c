"""The pieces that a command is run on, and their ids: hashes of what decides on their output.

Of a file its path, kind, content and whether it can be run count; its owner and time don't, so an
import of the same files makes the same datums.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from blake3 import blake3

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra
from vfs.pipeline.spec import Atom, Combined
from vfs.repo.trees import Nodes, walk

if TYPE_CHECKING:
    from vfs.pipeline.spec import Input
    from vfs.repo.treepaths import Path

_EXECUTABLE = 0o111


@dataclass(frozen=True, slots=True)
class Piece:
    """What a pattern matched: a file or a directory of an input."""

    atom: Atom
    path: Path
    entry: Entry


@dataclass(frozen=True, slots=True)
class Datum:
    """What a command is run on once."""

    id: str  # 64 hexadecimal digits
    pieces: tuple[Piece, ...]

    def facts(self) -> list[dict[str, str]]:
        """Return what is kept of it beside its output."""
        return [
            {"name": one.atom.name, "path": os.fsdecode(b"/".join(one.path))} for one in self.pieces
        ]


class Digests:
    """Hashes of entries without their owners and times; those of directories are remembered."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._known: dict[ObjectId, bytes] = {}

    def of(self, entry: Entry) -> bytes:
        """Return the hash of an entry without its name, all below included."""
        if entry.is_dir:
            return self._directory(entry.content)
        extra = Extra.decode(entry.extra)
        kind = f"{entry.kind:o} {bool(entry.mode & _EXECUTABLE)} {entry.size} {extra.rdev} "
        return blake3(kind.encode() + entry.content + extra.target).digest()

    def _directory(self, tree: ObjectId) -> bytes:
        if tree in self._known:
            return self._known[tree]
        # An explicit stack: a tree may be deeper than Python's recursion goes.
        stack = [(tree, blake3(b"directory"), self._entries(tree))]
        while True:
            here, hasher, rest = stack[-1]
            entry = next(rest, None)
            if entry is None:
                stack.pop()
                self._known[here] = hasher.digest()
                if not stack:
                    return self._known[here]
                continue
            if entry.is_dir and entry.content not in self._known:
                below = entry.content
                stack[-1] = (here, hasher, _again(entry, rest))
                stack.append((below, blake3(b"directory"), self._entries(below)))
                continue
            digest = self._known[entry.content] if entry.is_dir else self.of(entry)
            hasher.update(len(entry.name).to_bytes(1, "little") + entry.name + digest)

    def _entries(self, tree: ObjectId) -> Iterator[Entry]:
        if tree == NO_CONTENT:
            return iter(())
        return (place.entry for place in walk(self._nodes, tree))


def _again(entry: Entry, rest: Iterator[Entry]) -> Iterator[Entry]:
    yield entry
    yield from rest


def make_datums(
    wanted: Input, roots: Mapping[str, Entry], nodes: Nodes, spec_id: str
) -> dict[str, Datum]:
    """Return the datums of an input by their ids, each once.

    *roots*: of the versions, by the names of the inputs; *spec_id* stands for all else that decides
    on an output.
    """
    digests = Digests(nodes)
    found = (_datum(pieces, digests, spec_id) for pieces in _combined(wanted, roots, nodes))
    return {datum.id: datum for datum in found}


def changed_datums(
    wanted: Input,
    old: Mapping[str, Entry],
    new: Mapping[str, Entry],
    nodes: Nodes,
    spec_id: str,
) -> tuple[set[str], dict[str, Datum]] | None:
    """Return the ids of datums that *old* roots have alone, and the datums of *new* ones alone.

    In O(what differs), where the input is a pattern or a union of some: datums of these have one
    piece each, and those of others are none that changed. None for another input.
    """
    atoms = _united(wanted)
    if atoms is None:
        return None
    digests = Digests(nodes)
    gone: set[str] = set()
    come: dict[str, Datum] = {}
    for atom in atoms:
        for path, was, now in atom.glob.changes(nodes, old[atom.name], new[atom.name]):
            if was is not None:
                gone.add(_datum((Piece(atom, path, was),), digests, spec_id).id)
            if now is not None:
                datum = _datum((Piece(atom, path, now),), digests, spec_id)
                come[datum.id] = datum
    same = gone & come.keys()
    return gone - same, {one: datum for one, datum in come.items() if one not in same}


def _united(wanted: Input) -> list[Atom] | None:
    """Return the patterns of a union, or of one alone; None for another input."""
    if isinstance(wanted, Atom):
        return [wanted]
    if wanted.kind != "union":
        return None
    found: list[Atom] = []
    for one in wanted.inputs:
        below = _united(one)
        if below is None:
            return None
        found += below
    return found


Pieces = tuple[Piece, ...]


def _datum(pieces: Pieces, digests: Digests, spec_id: str) -> Datum:
    hasher = blake3(spec_id.encode())
    for piece in sorted(pieces, key=lambda piece: (piece.atom.name, piece.path)):
        path = b"/".join(piece.path)
        for part in (piece.atom.name.encode(), path):
            hasher.update(len(part).to_bytes(4, "little") + part)
        hasher.update(digests.of(piece.entry))
    return Datum(hasher.hexdigest(), pieces)


def _combined(wanted: Input, roots: Mapping[str, Entry], nodes: Nodes) -> Iterator[Pieces]:
    """Yield the pieces of each datum."""
    if isinstance(wanted, Atom):
        for path, entry in wanted.glob.pieces(nodes, roots[wanted.name]):
            yield (Piece(wanted, path, entry),)
    elif wanted.kind == "union":
        for one in wanted.inputs:
            yield from _combined(one, roots, nodes)
    elif wanted.kind == "cross":
        sides = [list(_combined(one, roots, nodes)) for one in wanted.inputs]
        for parts in product(*sides):
            yield tuple(piece for part in parts for piece in part)
    else:
        keyed = [_keyed(one, roots, nodes) for one in wanted.inputs if isinstance(one, Atom)]
        yield from (_joined if wanted.kind == "join" else _grouped)(wanted, keyed)


Keyed = Mapping[str, list[Piece]]


def _keyed(atom: Atom, roots: Mapping[str, Entry], nodes: Nodes) -> Keyed:
    found: defaultdict[str, list[Piece]] = defaultdict(list)
    for path, entry in atom.glob.pieces(nodes, roots[atom.name]):
        found[atom.glob.key(atom.key, path)].append(Piece(atom, path, entry))
    return dict(found)


def _joined(wanted: Combined, keyed: Iterable[Keyed]) -> Iterator[Pieces]:
    """Yield pieces of one key each: of all inputs, or what an outer one has without the others."""
    sides = list(zip(wanted.inputs, keyed, strict=True))
    for key in dict.fromkeys(key for _, side in sides for key in side):
        having = [(one, side[key]) for one, side in sides if key in side]
        is_outer = any(isinstance(one, Atom) and one.outer for one, _ in having)
        if len(having) == len(sides) or is_outer:
            yield from product(*(pieces for _, pieces in having))


def _grouped(_wanted: Combined, keyed: Iterable[Keyed]) -> Iterator[Pieces]:
    """Yield all pieces of each key together."""
    sides = list(keyed)
    for key in dict.fromkeys(key for side in sides for key in side):
        yield tuple(piece for side in sides for piece in side.get(key, ()))
