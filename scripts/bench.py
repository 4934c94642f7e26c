"""vfs beside whatever else is installed: the same data, the same run, in turn, several times.

A round goes through all peers, each time in another order. Figures are medians of rounds, ratios
medians of those of each round. Only ratios from one run mean anything: machines and moments differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

import branch_costs
import measure
import svg
from branch_costs import Costs
from comparing import ComparingSuite
from dedup import DedupSuite
from loading import LoadingSuite
from reading import ReadingSuite
from results import MEMORY, OURS, Results, figures, judged
from rich.console import Console
from suite import FULL, QUICK, Sizes, Suite, present, run
from writing import WritingSuite

SUITES: tuple[type[Suite], ...] = (
    ReadingSuite,
    WritingSuite,
    ComparingSuite,
    LoadingSuite,
    DedupSuite,
)
BRANCH = "branch"
WIDTH = 190  # columns, where the tables go into a file


def arguments() -> argparse.Namespace:
    suites = "\n".join(
        f"  {suite.name:8}{suite.about}"
        + (
            f"\n          of these alone: {', '.join(suite.workloads)}"
            if suite.workloads[1:]
            else ""
        )
        for suite in SUITES
    )
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"workloads:\n{suites}\n  {BRANCH:8}branch, mount, commit, status, with aims alone",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, help="of each suite [default: 5; --quick: 1]")
    parser.add_argument("--only", action="append", default=[], metavar="WORKLOAD", choices=names())
    parser.add_argument("--peer", action="append", default=[], help="these only, and vfs")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a tenth of the size: does it work?")
    size.add_argument("--full", action="store_true", help="diff -r of 1,000,000 files")
    for field in dataclasses.fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all samples (-: printed)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="a plot of the ratios")
    return parser.parse_args()


def names() -> list[str]:
    """Return all that `--only` takes: suites, and workloads of them."""
    found = [name for suite in SUITES for name in (suite.name, *suite.workloads)]
    return list(dict.fromkeys([*found, BRANCH]))


def sizes(chosen: argparse.Namespace) -> Sizes:
    """Return how much there is, where nothing else is said as the mode has it."""
    given = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(Sizes)}
    mode = QUICK if chosen.quick else FULL if chosen.full else Sizes()
    return dataclasses.replace(mode, **{name: value for name, value in given.items() if value})


@dataclasses.dataclass
class Taken:
    """All that was measured until now."""

    results: dict[type[Suite], Results] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    costs: Costs = dataclasses.field(default_factory=Costs)

    def measure(self, chosen: argparse.Namespace, work: Path, console: Console) -> None:
        """Run all that is asked for."""
        rounds = chosen.rounds or (1 if chosen.quick else 5)
        for kind in SUITES:
            workloads = set(kind.workloads)
            if chosen.only and kind.name not in chosen.only:
                workloads &= set(chosen.only)
            place = work / kind.name
            place.mkdir()
            only = {OURS, *chosen.peer} if chosen.peer else set()
            peers = present(kind, place, console, only) if workloads else []
            if peers:
                said = {peer.name: peer.version() for peer in peers}
                self.versions |= {name: text for name, text in said.items() if text}
                results = self.results[kind] = Results()
                run(kind(place, sizes(chosen), results, workloads), peers, rounds, console)
        if not chosen.only or BRANCH in chosen.only:
            place = work / BRANCH
            place.mkdir()
            count = sizes(chosen).branch
            self.costs = branch_costs.take(place, count, count, None, "data@bench", console)


def plot(taken: Iterable[Results]) -> str:
    """Return how vfs's time, or space, stands to each peer's."""
    rows = []
    for results in taken:
        for label, peers in results.samples.items():
            ratios = {peer: results.ratios(peer, label) for peer in peers if peer != OURS}
            row = {peer: statistics.median(values) for peer, values in ratios.items() if values}
            # Memory has aims of its own: what a C program takes says nothing of them.
            if row and results.units[label] != MEMORY:
                rows.append((label, row))
    return svg.ratios("vfs's figure divided by the peer's: left of 1, vfs is better", rows)


def main() -> None:
    chosen = arguments()
    console = Console(stderr=True)
    if not measure.can_drop_caches():
        console.print("Not root: caches can't be dropped, so there are no cold figures.")
    machine: dict[str, object] = dict(measure.machine())
    taken = Taken()
    try:
        with measure.workspace(chosen.work) as work:
            taken.measure(chosen, work, console)
    finally:
        # Also when it ends early: an hour's figures are not lost with the last one.
        machine["load_after"] = measure.load()
        report(chosen, machine, taken)


def report(chosen: argparse.Namespace, machine: dict[str, object], taken: Taken) -> None:
    """Write and print what was asked for."""
    if chosen.svg and taken.results:
        chosen.svg.write_text(plot(taken.results.values()))
    if chosen.json:
        document = {
            "machine": machine,
            "versions": taken.versions,
            "sizes": dataclasses.asdict(sizes(chosen)),
            **{suite.name: found.document(suite.aims) for suite, found in taken.results.items()},
            BRANCH: taken.costs.figures,
        }
        text = json.dumps(document, indent=2) + "\n"
        if chosen.json == Path("-"):
            sys.stdout.write(text)
            return
        chosen.json.write_text(text)
    output = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    facts = {**machine, **taken.versions}
    output.print(", ".join(f"{key} {value}" for key, value in facts.items()))
    for suite, results in taken.results.items():
        output.print(figures(results, suite.about))
    if taken.results:
        output.print(judged([(results, suite.aims) for suite, results in taken.results.items()]))
    if taken.costs.figures:
        output.print(taken.costs.table("A branch"))


if __name__ == "__main__":
    main()
