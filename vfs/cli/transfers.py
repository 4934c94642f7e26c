"""What push, fetch and pull write about what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from vfs.cli import output
from vfs.cli.command import note, warn

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.sync.fetch import FetchResult
    from vfs.sync.pull import PullResult
    from vfs.sync.push import Moved, PushResult

_HOW: Final = {
    "new": "new",
    "forward": "moved on",
    "forced": "replaced",
    "same": "up to date",
    "deleted": "deleted",
}


def write_push(result: PushResult, seconds: float, *, as_json: bool) -> None:
    """Write what a push came to."""
    if as_json:
        output.write_json(
            {
                "moved": [_record(one) for one in result.moved],
                "objects": result.objects,
                "bytes": result.bytes,
                "withheld": result.withheld,
                "seconds": round(seconds, 3),
            }
        )
        return
    _write_moved(result.moved)
    note(
        f"sent {output.plural(result.objects, 'object')}, {output.size(result.bytes)}; "
        f"{output.seconds(seconds)}"
    )
    if result.withheld:
        chunks = output.plural(result.withheld, "chunk")
        warn(f"{chunks} were not sent, as they were erased from the remote: vfs fetch says more")


def write_pull(result: PullResult, seconds: float, *, as_json: bool) -> None:
    """Write what a pull came to; raise the last of its problems."""
    problems = result.problems
    if as_json:
        output.write_json(
            {
                "moved": [_record(one) for one in result.moved],
                "problems": [str(problem) for problem in problems],
                **fetched(result.fetched, seconds),
            }
        )
    else:
        _write_moved(result.moved)
        note_fetched(result.fetched, seconds)
    for problem in problems[:-1]:
        warn(f"{problem}: {problem.hint}" if problem.hint else str(problem))
    if problems:
        raise problems[-1]


def _write_moved(moved: Sequence[Moved]) -> None:
    changed = [one for one in moved if one.how != "same"]
    if changed:
        output.write_table(
            ("REFERENCE", "COMMIT", "WAS", ""),
            [
                (f"{one.data_set}@{one.name}", short_id(one.new), short_id(one.old), _HOW[one.how])
                for one in changed
            ],
        )
    same = len(moved) - len(changed)
    if same:
        note(f"{output.plural(same, 'reference')} up to date")


def note_fetched(result: FetchResult, seconds: float) -> None:
    """Write how much came, and what was erased on the remote."""
    note(
        f"{output.plural(result.commits, 'new version')}: {output.plural(result.objects, 'object')}"
        f" came, {output.size(result.bytes)}; {output.seconds(seconds)}"
    )
    for reason, count in sorted(Counter(result.erased.values()).items()):
        warn(
            f"{output.plural(count, 'chunk')} of this store were erased from the remote on "
            f"{output.printable(reason)}: to erase them here, too: vfs erase --content ID"
        )
    for content in sorted(result.erased_contents):
        note(f"erased there: the content {content.hex()}")


def fetched(result: FetchResult, seconds: float) -> dict[str, Any]:
    """Return how much came, for JSON."""
    return {
        "commits": result.commits,
        "objects": result.objects,
        "bytes": result.bytes,
        "erased": [
            {"chunk": oid.hex(), "reason": reason} for oid, reason in sorted(result.erased.items())
        ],
        "erased_contents": [oid.hex() for oid in sorted(result.erased_contents)],
        "seconds": round(seconds, 3),
    }


def _record(moved: Moved) -> dict[str, Any]:
    return {
        "data_set": moved.data_set,
        "name": moved.name,
        "kind": moved.kind,
        "old": None if moved.old is None else moved.old.hex(),
        "new": None if moved.new is None else moved.new.hex(),
        "how": moved.how,
    }


def short_id(commit: ObjectId | None) -> str:
    """Return the beginning of a commit's id, as tables show it."""
    return "" if commit is None else commit.hex()[: output.ID_DIGITS]
