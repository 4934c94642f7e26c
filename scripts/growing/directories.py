"""Operations on one directory, by the number of its entries."""

from __future__ import annotations

import random
import statistics
from functools import partial

import measure
from branch_costs import store_of

from growing.figures import Growth

ENTRIES = (1_000, 10_000, 100_000, 1_000_000)
TIMES = 5


def directories(growth: Growth) -> None:
    """One directory of so many entries: one of them looked up, one changed."""
    for count in growth.sizes(ENTRIES, "entries"):
        names = (f"huge/f{number:07}" for number in range(count))
        with measure.watching(measure.of_children) as peak:
            seconds = measure.clock(partial(store_of, growth.work, growth.store, names))
        growth.note("import of an archive", count, (seconds, peak.bytes))
        some = random.Random(5)
        chosen = [f"f{some.randrange(count):07}" for _ in range(3 * TIMES)]
        _import(growth, count, chosen[:TIMES])
        _commit(growth, count, chosen[TIMES : 2 * TIMES])
        _look_up(growth, count, chosen[2 * TIMES :])
        growth.clear()


def _import(growth: Growth, count: int, names: list[str]) -> None:
    """One file imported over another, several times."""
    before = growth.stored()
    actions = []
    for name in names:
        source = growth.work / name
        source.write_text(f"{name} imported\n")
        words = ("import", source, f"data:huge/{name}", "-m", name)
        actions.append(partial(growth.command, *words))
    figure = growth.median(actions)
    growth.note("import one entry", count, figure, (growth.stored() - before) / len(names))


def _commit(growth: Growth, count: int, names: list[str]) -> None:
    """One file of a mounted branch written anew and committed, several times."""
    before = growth.stored()

    def change(name: str) -> None:
        (growth.mountpoint / "huge" / name).write_text(f"{name} committed\n")
        growth.commit()

    with growth.branch() as peak:
        seconds = statistics.median(measure.clock(partial(change, name)) for name in names)
    new = (growth.stored() - before) / len(names)
    growth.note("write one entry, commit", count, (seconds, peak.bytes), new)


def _look_up(growth: Growth, count: int, names: list[str]) -> None:
    """One name found, in a mount with nothing cached; each in a mount of its own."""

    def look_up(name: str) -> tuple[float, int]:
        with growth.mounted("--read-only") as pid:
            directory = growth.mountpoint / "data@main" / "huge"
            directory.lstat()
            seconds = measure.clock((directory / name).lstat)
            return seconds, measure.largest_rss_anon(pid)

    figure = growth.median([partial(look_up, name) for name in names])
    growth.note("look-up and stat, cold", count, figure)
