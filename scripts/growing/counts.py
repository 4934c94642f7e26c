"""Operations by the number of files, and by the number of versions."""

from __future__ import annotations

from functools import partial

import measure
from bench_history import lengthen
from branch_costs import make_store
from peers import Command

from growing.figures import Growth

FILES = (10_000, 100_000, 1_000_000)
VERSIONS = (1, 10, 100, 1_000)


def files(growth: Growth) -> None:
    """Operations on a version of so many files."""
    for count in growth.sizes(FILES, "files"):
        with measure.watching(measure.of_children) as peak:
            seconds = measure.clock(partial(make_store, growth.work, growth.store, count))
        growth.note("import of an archive", count, (seconds, peak.bytes))
        lengthen(growth.store, 1, pairs=0)
        commands: dict[str, Command] = {
            "import one file": _one_file(growth),
            "diff, 10 changed": ["diff", "data@main~2", "data@main~1"],
            "branch": ["branch", "data", "grown"],
        }
        for what, words in commands.items():
            growth.note(what, count, growth.command(*words))
        with growth.mounted("data@main~1") as pid:
            seconds = measure.timed(["find", ".", "-printf", "%s\n"], growth.mountpoint)
            growth.note("find with stat", count, (seconds, measure.largest_rss_anon(pid)))
        growth.clear()


def versions(growth: Growth) -> None:
    """Operations on a history, as it becomes longer."""
    make_store(growth.work, growth.store, growth.share(FILES[0]))
    made = 1
    for count in growth.sizes(VERSIONS, "versions"):
        path = lengthen(growth.store, count - made, pairs=0)
        made = count
        commands: dict[str, Command] = {
            "log": ["log", "data", "--oneline"],
            "log -- PATH": ["log", "data", "--", path],
            "import one file": _one_file(growth),
            "branch": ["branch", "data", f"grown{count}"],
        }
        for what, words in commands.items():
            growth.note(what, count, growth.command(*words))


def _one_file(growth: Growth) -> Command:
    path = growth.work / "one"
    path.write_bytes(b"one\n")
    return ["import", path, "data:one", "-m", "one file"]
