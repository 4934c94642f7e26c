"""What 'vfs erase' writes: what it would erase, and what it has erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import note, warn

if TYPE_CHECKING:
    from vfs.repo.erasing import Content, Outcome, Plan

_LISTED: Final = 20


def write_plan(plan: Plan) -> None:
    """Write what matches, and what becomes of it."""
    lines = []
    for content in plan.contents:
        where = ", ".join(map(output.printable, content.places[:_LISTED]))
        more = f" and {output.plural(content.more, 'more place')}" if content.more else ""
        lines.append(f"{_fate(content)}: {output.size(content.size)}: {where}{more}")
    lines += [f"loses bytes, too: {output.printable(place)}" for place in plan.others]
    output.write_lines(line.encode() for line in lines)
    counts = output.plural(len(plan.contents), "content"), output.size(plan.bytes)
    note(f"{', '.join(counts)}, in {output.plural(len(plan.versions), 'version')}")
    if plan.symlinks:
        what = output.plural(plan.symlinks, "symbolic link")
        warn(f"{what} match: where they lead to is part of the versions, and stays")


def _fate(content: Content) -> str:
    if content.kept_bytes:
        kept = "all" if content.kept_bytes >= content.size else output.size(content.kept_bytes)
        others = ", ".join(map(output.printable, content.kept_for))
        return f"shared ({kept} of it is in {others})"
    return "erased before" if content.erased_before >= content.size else "to be erased"


def write_erased(done: Outcome, left: list[tuple[str, str]]) -> None:
    """Write what was erased; *left*: where it may still be read, and why."""
    plan = done.plan
    kept = sum(content.kept_bytes for content in plan.contents)
    gone = plan.bytes - kept - sum(content.erased_before for content in plan.contents)
    stays = f"; {output.size(kept)} stay, as other files have them" if kept else ""
    click.echo(
        f"erased {output.plural(len(plan.contents), 'content')}, {output.size(gone)}"
        f"{stays}; line {done.number} of the audit record"
    )
    for oid in done.damaged:
        warn(f"the object {oid.hex()} is damaged: its bytes were not found to be overwritten")
    for path, why in left[:_LISTED]:
        warn(f"may still be read: {path}: {why}")
    if left:
        warn("unmount what may still show it")


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return what is to be erased, for JSON."""
    return {
        "erased": False,
        "bytes": plan.bytes,
        "versions": plan.versions,
        "contents": [
            {
                "content": content.oid.hex(),
                "size": content.size,
                "places": [output.json_safe(place) for place in content.places],
                "more": content.more,
                "kept_bytes": content.kept_bytes,
                "kept_for": [output.json_safe(place) for place in content.kept_for],
                "erased_before": content.erased_before,
            }
            for content in plan.contents
        ],
        "symlinks": plan.symlinks,
        "others": [output.json_safe(place) for place in plan.others],
    }


def done_record(done: Outcome, left: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what was erased, for JSON; *left*: where it may still be read, and why."""
    return {
        **plan_record(done.plan),
        "erased": True,
        "audit": done.number,
        "damaged": [oid.hex() for oid in done.damaged],
        "mounted": [{**output.text_fields("path", path), "reason": why} for path, why in left],
    }
