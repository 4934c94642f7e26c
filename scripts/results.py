"""Figures of several peers: kept by round, and shown as tables with ratios and aims."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from measure import MIB
from rich.table import Table

OURS = "vfs"
SECONDS, BYTES, MEMORY, PER_SECOND = "s", "bytes", "bytes of memory", "/s"


@dataclass(frozen=True)
class Aim:
    """vfs's figure divided by the peer's is at most this; without a peer, vfs's figure is."""

    label: str
    peer: str | None
    most: float


@dataclass(frozen=True)
class Verdict:
    """What the rounds say of an aim: the median, and the range that they are in."""

    aim: Aim
    median: float
    least: float
    greatest: float

    @property
    def met(self) -> bool:
        return self.median <= self.aim.most

    @property
    def unanimous(self) -> bool:
        """Say whether all rounds agree."""
        return (self.least <= self.aim.most) == (self.greatest <= self.aim.most)


@dataclass
class Results:
    """All samples, by label and peer, a sample a round; labels in the order they were taken."""

    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    units: dict[str, str] = field(default_factory=dict)

    def add(self, peer: str, label: str, value: float, unit: str = SECONDS) -> None:
        self.samples[label][peer].append(value)
        self.units[label] = unit

    def median(self, peer: str, label: str) -> float | None:
        values = self.samples.get(label, {}).get(peer)
        return statistics.median(values) if values else None

    def ratios(self, peer: str, label: str) -> list[float]:
        """Return vfs's figure divided by the peer's, of each round: moods of a machine last."""
        rows = self.samples.get(label, {})
        pairs = zip(rows.get(OURS, []), rows.get(peer, []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if ours and theirs]
        # Of a rate, more is better; so that less is better everywhere, it is turned over.
        return [1 / ratio for ratio in ratios] if self.units[label] == PER_SECOND else ratios

    def verdict(self, aim: Aim) -> Verdict | None:
        """Return how an aim stands; None where it was not measured."""
        if aim.label not in self.units:
            return None
        if aim.peer is None:
            values = list(self.samples[aim.label].get(OURS, []))
        else:
            values = self.ratios(aim.peer, aim.label)
        if not values:
            return None
        return Verdict(aim, statistics.median(values), min(values), max(values))

    def document(self, aims: Sequence[Aim]) -> dict[str, Any]:
        """Return all of it for JSON."""
        verdicts = [verdict for aim in aims if (verdict := self.verdict(aim))]
        return {
            "units": self.units,
            "samples": self.samples,
            "aims": [
                {
                    "label": verdict.aim.label,
                    "peer": verdict.aim.peer,
                    "at_most": verdict.aim.most,
                    "median": verdict.median,
                    "range": [verdict.least, verdict.greatest],
                    "met": verdict.met,
                }
                for verdict in verdicts
            ],
        }


def amount(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit in {BYTES, MEMORY}:
        return f"{value / MIB:,.1f} MiB" if value < 100 * MIB else f"{value / MIB:,.0f} MiB"
    if unit == PER_SECOND:
        return f"{value:,.0f}/s"
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def figures(results: Results, title: str) -> Table:
    """Return medians of all peers, and of their ratios to vfs's."""
    peers = {peer: None for rows in results.samples.values() for peer in rows}
    others = [peer for peer in peers if peer != OURS]
    caption = "medians; in brackets vfs's figure divided by the peer's (of rates the reverse)"
    shown = Table(title=title, caption=caption)
    shown.add_column("", no_wrap=True)
    for name in (OURS, *others):
        shown.add_column(name, justify="right", no_wrap=True)
    for label in results.samples:
        cells = [label]
        for name in (OURS, *others):
            value = results.median(name, label)
            text = "" if value is None else amount(value, results.units[label])
            ratios = results.ratios(name, label) if name != OURS else []
            cells.append(f"{text} ({statistics.median(ratios):.2f})" if ratios else text)
        shown.add_row(*cells)
    return shown


def judged(taken: Sequence[tuple[Results, Sequence[Aim]]]) -> Table:
    """Return what was aimed at and what came of it."""
    shown = Table(title="Aims: vfs's figure divided by the peer's, or vfs's figure")
    for heading in ("", "against", "at most", "is", "rounds", ""):
        right = heading in {"at most", "is", "rounds"}
        shown.add_column(heading, justify="right" if right else "left")
    for results, aims in taken:
        for verdict in filter(None, map(results.verdict, aims)):
            unit = None if verdict.aim.peer else results.units[verdict.aim.label]
            shown.add_row(*_cells(verdict, unit))
    return shown


def _cells(verdict: Verdict, unit: str | None) -> list[str]:
    aim = verdict.aim
    most, median, least, greatest = (
        amount(value, unit) if unit else f"{value:.3g}"
        for value in (aim.most, verdict.median, verdict.least, verdict.greatest)
    )
    word = "[green]met[/]" if verdict.met else "[red]missed[/]"
    doubt = "" if verdict.unanimous else ", not in all rounds"
    return [aim.label, aim.peer or "", most, median, f"{least} .. {greatest}", word + doubt]
