"""The command audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, fail, json_option, note, pass_settings
from vfs.cli.history import TimeType
from vfs.cli.targets import TargetType
from vfs.clock import iso

if TYPE_CHECKING:
    from vfs.model.auditline import AuditLine
    from vfs.model.names import Target
    from vfs.store.audit import AuditLog

Numbered = tuple[int, "AuditLine"]

_ALWAYS = frozenset(("command", "pid", "data_set", "name", "old", "new", "kind", "why", "reason"))
_ID_KEYS = ("old", "new")


class HeadType(click.ParamType[bytes]):
    """A head of the audit record, as `vfs audit --verify` prints it."""

    name = "head"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Return the hash."""
        try:
            head = bytes.fromhex(value)
        except ValueError:
            head = b""
        if len(head) != 32:
            self.fail(f"'{value}' is no head: 64 hexadecimal digits", param, ctx)
        return head


@click.command(
    cls=Command,
    examples=(
        ("The last changes of all data sets", "vfs audit -n 20"),
        ("Those of one, since a day", "vfs audit data --since 2026-11-01"),
        ("Whether no line was changed or removed", "vfs audit --verify"),
        (
            "The same, back to a head that was noted elsewhere",
            "vfs audit --verify --expect 3f0c...",
        ),
        (
            "Every erasure, in a script",
            "vfs audit --json | jq 'map(select(.action | startswith(\"erase\")))'",
        ),
    ),
)
@click.argument(
    "target",
    metavar="[DATASET]",
    required=False,
    type=TargetType(revision=False),
    help="Only what was done to this data set.",
)
@click.option("--since", metavar="TIME", type=TimeType(), help="Leave out what is older.")
@click.option(
    "-n", "--limit", metavar="N", type=click.IntRange(min=1), help="Show the last N lines."
)
@click.option("--verify", is_flag=True, help="Follow the chain of hashes, and show its head.")
@click.option(
    "--expect",
    metavar="HEAD",
    type=HeadType(),
    help="With --verify: a head of an earlier day, which has to be in the chain.",
)
@json_option
@click.pass_context
@pass_settings
def audit(
    settings: Settings,
    ctx: click.Context,
    /,
    target: Target | None,
    since: int | None,
    limit: int | None,
    verify: bool,
    expect: bytes | None,
    as_json: bool,
) -> None:
    """Show who changed what, and when.

    Each change of a branch or tag, by whatever command or mount, each data set that was made, each
    erasure and all else that takes something away is a line: when, who, what was done to what, and
    why. It is written together with the change, and never removed.

    Each line holds the hash of the line before it, so none can be changed or taken out unseen.
    Whoever can write the store's files could write all lines anew: note the head that --verify
    shows somewhere else, now and then, and give it to --expect.

    A TIME is 2026-11-01, 2026-11-01T10:00Z, yesterday or '3 days ago'.

    JSON: a list, the last line first, of number, time (UTC), action, who, and facts, an object:
    command and pid of the process, and by action what was done. With --verify an object: intact,
    lines, head, problems, expected_at (the line that had the expected head, or null).

    Exit codes: 0; 1 where --verify finds something; 2 the command line is wrong.
    """
    if expect is not None and not verify:
        raise click.UsageError("--expect stands with --verify", ctx)
    with settings.repository(readonly=True, cached=True) as repo:
        log = repo.store.audit
        if verify:
            ctx.exit(_verify(log, expect, as_json=as_json))
        if target is not None:
            repo.require_data_set(target.data_set)
        found = _wanted(log, target, since, limit)
        if as_json:
            output.write_json_list(_record(number, line) for number, line in found)
            return
        rows = [_cells(number, line) for number, line in found]
        if not rows:
            note("the audit record has no such line")
            return
        output.write_table((">LINE", "TIME", "WHO", "ACTION", "WHAT", "WHY"), rows)


def _wanted(
    log: AuditLog, target: Target | None, since: int | None, limit: int | None
) -> Iterator[Numbered]:
    for number, line in log.lines():
        if since is not None and line.time_ns < since:
            continue  # and go on: a clock may have been put back
        if target is None or line.facts.get("data_set") in (target.data_set, None):
            yield number, line
            limit = None if limit is None else limit - 1
            if limit == 0:
                return


def _record(number: int, line: AuditLine) -> dict[str, Any]:
    return {
        "number": number,
        "time": iso(line.time_ns, precise=True),
        "action": line.action,
        **output.text_fields("who", line.who),
        "facts": output.json_safe(line.facts),
    }


def _cells(number: int, line: AuditLine) -> tuple[str, ...]:
    facts = line.facts
    what = [str(facts.get("data_set") or "")]
    if "name" in facts:
        what[0] += f"@{facts['name']}"
    ids = [str(facts.get(key) or "")[: output.ID_DIGITS] for key in _ID_KEYS]
    if any(ids):
        what.append(" -> ".join(one or "none" for one in ids))
    what += _others(facts.items())
    why = facts.get("reason") or facts.get("why") or ""
    time = output.local_time(line.time_ns)
    return str(number), time, line.who, line.action, " ".join(filter(None, what)), str(why)


def _others(facts: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{key}={value}" for key, value in facts if key not in _ALWAYS]


def _verify(log: AuditLog, expect: bytes | None, *, as_json: bool) -> int:
    verdict = log.verify(expect)
    is_missing = expect is not None and verdict.expected_at is None
    is_intact = not verdict.problems and not is_missing
    if as_json:
        output.write_json(
            {
                "intact": is_intact,
                "lines": verdict.lines,
                "head": verdict.head.hex(),
                "problems": verdict.problems,
                "expected_at": verdict.expected_at,
            }
        )
        return not is_intact
    for problem in verdict.problems:
        fail(f"the audit record is damaged: {problem}")
    if is_missing:
        fail("no line has the head that is expected: lines were changed, or taken away")
    if is_intact:
        click.echo(f"{output.plural(verdict.lines, 'line')}, unbroken; head {verdict.head.hex()}")
        if verdict.expected_at is not None:
            later = verdict.lines - verdict.expected_at
            note(f"line {verdict.expected_at} has the expected head; {later:,} came since")
    return not is_intact
