"""What commands say that bring versions together: what was done, and what conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import fail
from vfs.model.names import DEFAULT_BRANCH

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.repo.merge import Outcome
    from vfs.repo.merge.conflicts import Conflict, Settlement

EXIT_CONFLICTS: Final = 1

_HOW: Final = {
    "ours": "took ours",
    "theirs": "took theirs",
    "both": "kept both",
    None: "conflict",
}


def report(ctx: click.Context, target: Target, done: Outcome, *, as_json: bool) -> None:
    """Write what was done, or what conflicts; exit with 1 where it was not done."""
    if as_json:
        output.write_json(_record(target, done))
    else:
        output.write_lines(_conflict_line(*conflict) for conflict in done.conflicts)
        if done.action != "conflicts":
            click.echo(_sentence(target, done))
    if done.action != "conflicts":
        return
    left = sum(how is None for _, how in done.conflicts)
    fail(
        f"{output.plural(left, 'conflict')}; nothing was changed",
        hint="settle them with --ours PATTERN, --theirs PATTERN or --keep-both",
    )
    ctx.exit(EXIT_CONFLICTS)


def _sentence(target: Target, done: Outcome) -> str:
    from vfs.cli.changes import summary_line

    name = f"{target.data_set}@{target.revision or DEFAULT_BRANCH}"
    if done.action == "nothing":
        return f"nothing to do: {name} has all of it"
    changed = summary_line(dict(done.changes))
    if done.commit is None:
        what = "would be moved" if done.action == "fast-forward" else "would get a new version"
        return f"{name} {what}: {changed}"
    how = " (fast-forward)" if done.action == "fast-forward" else ""
    return f"{name} is now {done.commit.hex()[: output.ID_DIGITS]}{how}: {changed}"


def _conflict_line(conflict: Conflict, how: Settlement | None) -> bytes:
    path = output.name_bytes(b"/".join(conflict.path)) or b"."
    line = f"{_HOW[how]:<12}{conflict.kind:<19} ".encode() + path
    for new in dict.fromkeys(conflict.renamed.values()):
        line += b" -> " + output.name_bytes(b"/".join(new))
    if conflict.fields:
        line += f" ({', '.join(conflict.fields)})".encode()
    return line


def _record(target: Target, done: Outcome) -> dict[str, Any]:
    from vfs.cli.changes import summary_record

    return {
        "data_set": target.data_set,
        "branch": target.revision or DEFAULT_BRANCH,
        "action": done.action,
        "commit": None if done.commit is None else done.commit.hex(),
        "changes": summary_record(dict(done.changes)),
        "conflicts": [_conflict_record(*conflict) for conflict in done.conflicts],
    }


def _conflict_record(conflict: Conflict, how: Settlement | None) -> dict[str, Any]:
    from vfs.cli.browse import entry_record

    path = b"/".join(conflict.path)
    record: dict[str, Any] = {
        **output.text_fields("path", path),
        "kind": conflict.kind,
        "fields": list(conflict.fields),
        "settled": how,
    }
    for side, new in conflict.renamed.items():
        record |= output.text_fields(f"{side}_path", b"/".join(new))
    entries = {"base": conflict.base, "ours": conflict.ours, "theirs": conflict.theirs}
    for key, entry in entries.items():
        record[key] = None if entry is None else entry_record(path, entry)
    return record
