"""What 'vfs gc --remote' does and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Settings, note
from vfs.cli.expired import expired_records, write_expired
from vfs.cli.secrets import unlockable
from vfs.clock import iso

if TYPE_CHECKING:
    from vfs.sync.collecting import Report
    from vfs.sync.collecting.report import OnProgress


def check_usage(ctx: click.Context, where: str | None, *, retention: bool, of_store: bool) -> None:
    """Raise UsageError where options of remotes and of the store don't stand together."""
    has_grace = ctx.get_parameter_source("grace") is click.core.ParameterSource.COMMANDLINE
    if where is None and (retention or has_grace):
        raise click.UsageError("--grace and --retention belong to --remote", ctx)
    if where is not None and of_store:
        raise click.UsageError("--compact and --auto are of the store, not of a remote", ctx)


def collect_remote(
    settings: Settings,
    where: str,
    keep_s: int,
    grace_s: int,
    repack_share: float,
    on_progress: OnProgress,
    *,
    retention: bool,
    dry_run: bool,
) -> Report:
    """Collect the garbage of a remote, or with *dry_run* find out what that would do."""
    from vfs.repo.gc import load_rules
    from vfs.sync.collecting import Options, collect, preview
    from vfs.sync.remotes import connected, find_remote

    with settings.repository(readonly=True) as repo:
        rules = load_rules(repo.store.settings)
        options = Options(
            keep_s=keep_s,
            grace_s=grace_s,
            repack_share=repack_share,
            rules=rules if retention else {},
        )
        if rules and not retention:
            note("the rules of 'vfs retention' are not applied there without --retention")
        with connected(repo.store, unlockable(find_remote(repo.store, where or None))) as remote:
            return (preview if dry_run else collect)(remote, options, on_progress)


def write_report(report: Report, *, dry_run: bool, as_json: bool) -> None:
    """Write what it came to."""
    if as_json:
        output.write_json(_record(report, dry_run=dry_run))
        return
    write_expired(report.expired)
    if report.removed_packs:
        packs = output.plural(report.removed_packs, "pack")
        size = output.size(report.removed_bytes)
        click.echo(f"removed {packs} that nobody relies on any more: {size}")
    if report.condemned_packs:
        packs = output.plural(report.condemned_packs, "pack")
        size = output.size(report.condemned_bytes)
        verb = "would condemn" if dry_run else "condemned"
        click.echo(f"{verb} {packs} of {size}: {_garbage(report)}")
    elif report.due_ns is None and not report.removed_packs:
        click.echo(f"nothing is to be removed: {_garbage(report)}")
    if report.due_ns is not None:
        when = output.local_time(report.due_ns)
        note(f"what is condemned is removed by the first 'vfs gc --remote' after {when}")
    note(f"{output.plural(report.kept_packs, 'pack')} in use")


def _garbage(report: Report) -> str:
    """Return how much nothing needs."""
    objects = output.plural(report.objects, "object")
    return f"{objects} that nothing needs, {output.size(report.object_bytes)} uncompressed"


def _record(report: Report, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "objects": report.objects,
        "object_bytes": report.object_bytes,
        "condemned_packs": report.condemned_packs,
        "condemned_bytes": report.condemned_bytes,
        "copied_objects": report.copied_objects,
        "removed_packs": report.removed_packs,
        "removed_bytes": report.removed_bytes,
        "kept_packs": report.kept_packs,
        "expired": expired_records(report.expired),
        "due": None if report.due_ns is None else iso(report.due_ns),
    }
