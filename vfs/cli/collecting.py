"""The commands gc and retention."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.expired import expired_records, write_expired
from vfs.cli.progress import count_progress, stage_progress
from vfs.cli.remotegc import check_usage, collect_remote, write_report
from vfs.cli.targets import TargetType, remote_option
from vfs.model.names import Target

if TYPE_CHECKING:
    from vfs.repo.gc import Report, Rules
    from vfs.repo.stages import OnStage
    from vfs.store.store import Store

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_DURATION: Final = re.compile(r"(\d{1,6})([smhdwy]?)")


class DurationType(click.ParamType[int]):
    """A while, in seconds: 12h, 30d, 8w, 1y; 0."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(value)
        if match is None or (not match[2] and int(match[1])):
            self.fail(f"'{value}' is not like 12h, 30d, 8w or 1y", param, ctx)
        return int(match[1]) * _UNITS.get(match[2], 1)


@click.command(
    cls=Command,
    examples=(
        ("What would go, and how much", "vfs gc --dry-run"),
        ("Remove what nobody needs", "vfs gc"),
        ("And give the space to the disk", "vfs gc --compact"),
        ("Also what references led to until a week ago", "vfs gc --keep 7d"),
        ("Let mounts do it every day", "vfs gc --auto daily"),
        ("Bytes that would go, in a script", "vfs gc -n --json | jq .stored_bytes"),
        ("Of a remote, every day", "vfs gc --remote origin"),
        ("And what the rules of this store don't keep", "vfs gc --remote origin --retention"),
    ),
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option(
    "--keep",
    type=DurationType(),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="For how long it can be undone that a branch or tag was moved or deleted.",
)
@click.option(
    "--repack",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Rewrite blocks of which less than this part is needed; 0 rewrites none, 100 leaves no "
    "byte of what goes.",
)
@click.option(
    "--compact",
    is_flag=True,
    help="Give the space to the disk: free pages become holes of the file.",
)
@click.option(
    "--auto",
    type=click.Choice(["daily", "weekly", "off"]),
    help="Let mounts collect garbage so often, or not; collects nothing now.",
)
@remote_option("Collect the garbage of")
@click.option(
    "--grace",
    type=DurationType(),
    default="1d",
    show_default=True,
    metavar="TIME",
    help="With --remote: between condemning and removing. Less is safe only while nobody pushes.",
)
@click.option(
    "--retention",
    is_flag=True,
    help="With --remote: apply the rules of 'vfs retention' of this store there, too.",
)
@json_option
@click.pass_context
@pass_settings
def gc(
    settings: Settings,
    ctx: click.Context,
    /,
    dry_run: bool,
    keep: int,
    repack: int,
    compact: bool,
    auto: str | None,
    where: str | None,
    grace: int,
    retention: bool,
    as_json: bool,
) -> None:
    """Remove what no version needs.

    What stays: all that branches and tags lead to, with their whole history, unless 'vfs retention'
    has rules for it; what is written to branches; what a branch or tag led to within the time of
    --keep, so that 'vfs reflog' can bring it back; and what a mount has shown, as long as it is
    mounted. All else goes: contents, and older lines of reference logs. Interrupted imports leave
    contents, too.

    In the cache of a remote it lets go of what was written, never pushed, and is not needed any
    more. JSON there: released (objects).

    The store may be in use meanwhile. Imports and commits that began before are waited for; new
    ones go on. To be interrupted or killed does no harm: the next 'vfs gc' goes on.

    What is freed is free inside the store's file, and is used by what is stored next. With
    --compact the disk gets it, and all else that is free in the file.

    With --auto, a mount of the store does it in the background, with the lowest priority, and with
    the --keep that is given here.

    --remote does it in two steps, while others push and pull. The first time it condemns packs of
    which nothing, or little, is needed, and those that are many and small; what is needed of them
    is written to new packs at once. When it is called again after the time of --grace, they are
    removed. So call it now and then, as every day. What pushes sent in the last 7 days (or the time
    of --keep) stays, named or not. JSON, with --remote: dry_run, objects and object_bytes (that
    nothing needs), condemned_packs, condemned_bytes, copied_objects, removed_packs, removed_bytes,
    kept_packs, expired, due (when what is condemned may go, or null).

    JSON: dry_run, versions (that go as a whole), expired, a list of data_set, commit, time and
    reason of versions whose content goes by a rule; log_lines, objects, object_bytes (before
    compression), stored_bytes, kept_objects, freed_bytes (in the file), rewritten_blocks,
    damaged_blocks (which stay), pinned (versions that a mount alone keeps), with --compact
    given_back_bytes; with --auto, auto and keep_seconds.
    """
    check_usage(ctx, where, retention=retention, of_store=compact or auto is not None)
    if where is not None:
        with count_progress() as on_progress:
            done = collect_remote(
                settings,
                where,
                keep,
                grace,
                repack / 100,
                on_progress,
                retention=retention,
                dry_run=dry_run,
            )
        write_report(done, dry_run=dry_run, as_json=as_json)
        return
    from vfs.repo.gc import Collection, collect, preview
    from vfs.repo.gc.schedule import set_schedule

    with settings.repository(readonly=dry_run, cached=True) as repo:
        if repo.store.is_promised:
            _check_cache_usage(ctx, is_plain=not (dry_run or compact or auto))
            _release(repo.store, keep, as_json=as_json)
            return
        if auto is not None:
            set_schedule(repo.store, None if auto == "off" else auto, keep)
            if as_json:
                output.write_json({"auto": auto, "keep_seconds": keep})
            else:
                click.echo(f"mounts collect garbage {auto}" if auto != "off" else "mounts do not")
            return
        options = Collection(keep_s=keep, repack_share=repack / 100)
        given_back = None
        with stage_progress() as on_stage:
            if dry_run:
                report = preview(repo.store, options, on_stage)
            else:
                report = collect(repo.store, options, on_stage, _say_wait)
                if compact:
                    given_back = _compact(repo.store, on_stage)
    if as_json:
        record = _record(report, dry_run=dry_run)
        if given_back is not None:
            record["given_back_bytes"] = given_back
        output.write_json(record)
        return
    _write(report, dry_run=dry_run)
    if given_back is not None:
        note(f"the disk has {output.size(given_back)} more")
    elif not dry_run and report.freed_bytes > 0:
        free = output.size(report.freed_bytes)
        note(f"{free} in the store's file are free for what comes next; --compact gives it back")


def _check_cache_usage(ctx: click.Context, *, is_plain: bool) -> None:
    if not is_plain:
        raise click.UsageError("of a remote's cache, 'vfs gc' takes only --keep and --json", ctx)


def _release(cache: Store, keep: int, *, as_json: bool) -> None:
    from vfs.sync.releasing import release

    released = release(cache, keep, _say_wait)
    if as_json:
        output.write_json({"released": released})
    else:
        click.echo(f"let go of {output.plural(released, 'object')} that were not pushed")


def _compact(store: Store, on_stage: OnStage) -> int:
    """Give free pages to the disk; return how many bytes it got."""
    from vfs.repo.stages import Stage

    def on_progress(done: int, total: int) -> None:
        on_stage(Stage("compacting", done, total))

    return store.compact(on_progress=on_progress).given_back


def _say_wait() -> None:
    note("waiting for imports and commits that began before")


def _write(report: Report, *, dry_run: bool) -> None:
    write_expired(report.expired)
    would = "would remove" if dry_run else "removed"
    what = output.plural(report.objects, "object")
    click.echo(
        f"{would} {what} of {output.plural(len(report.expired), 'expired version')} and "
        f"{output.plural(report.versions, 'version')} without a name: "
        f"{output.size(report.stored_bytes)} ({output.size(report.object_bytes)} uncompressed)"
    )
    if report.pinned:
        note(
            f"{output.plural(report.pinned, 'version')} stay because a mount has shown them:"
            " they can go when it is mounted anew"
        )
    if report.unrepaired:
        note(f"{output.plural(report.unrepaired, 'block')} hold something damaged: vfs fsck --data")


def _record(report: Report, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "versions": report.versions,
        "expired": expired_records(report.expired),
        "log_lines": report.log_lines,
        "objects": report.objects,
        "object_bytes": report.object_bytes,
        "stored_bytes": report.stored_bytes,
        "kept_objects": report.kept_objects,
        "freed_bytes": report.freed_bytes,
        "rewritten_blocks": report.blocks_rewritten,
        "damaged_blocks": report.unrepaired,
        "pinned": report.pinned,
    }


def _count(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(
        f"--keep-{name}", type=click.IntRange(0, 1_000_000), metavar="N", default=0, help=what
    )


@click.command(
    cls=Command,
    examples=(
        ("The rules there are", "vfs retention"),
        (
            "Keep a version a day for a month, and one a week for a quarter",
            "vfs retention data --keep-daily 30 --keep-weekly 13",
        ),
        ("What that would remove now", "vfs gc --dry-run"),
        ("Keep the whole history again", "vfs retention data --clear"),
    ),
)
@click.argument(
    "target",
    metavar="[DATASET]",
    required=False,
    type=TargetType(revision=False),
    help="The data set.",
)
@_count("last", "The newest N versions.")
@_count("hourly", "The last version of each of N hours.")
@_count("daily", "The last version of each of N days.")
@_count("weekly", "The last version of each of N weeks.")
@_count("monthly", "The last version of each of N months.")
@_count("yearly", "The last version of each of N years.")
@click.option(
    "--keep-within",
    type=DurationType(),
    default=0,
    metavar="TIME",
    help="All versions up to so long before the newest: 12h, 30d, 8w, 1y.",
)
@click.option("--clear", is_flag=True, help="Remove the rules: the whole history is kept.")
@json_option
@click.pass_context
@pass_settings
def retention(
    settings: Settings,
    ctx: click.Context,
    /,
    target: Target | None,
    clear: bool,
    as_json: bool,
    keep_within: int,
    **counts: int,
) -> None:
    """Show or set which versions of a data set keep their content.

    Without rules, all of them do. With rules, 'vfs gc' lets go of the content of those versions in
    the history of each branch that no rule keeps. Hours, days, weeks, months and years are those of
    UTC, and only those count that have a version; of each the last version stays. Whatever the
    rules say, the newest version of each branch, tagged versions, and what a mounted branch is
    based on stay.

    Of a version whose content went, author, time, message and provenance stay: 'vfs log' shows
    them, and whoever asks for its files is told when they went, and why.

    The rules that are given replace all that there were. They take effect at the next 'vfs gc'.

    JSON: a list of data_set, last, hourly, daily, weekly, monthly, yearly, within_seconds.
    """
    from vfs.repo.gc import Rules, load_rules, save_rules

    numbers = {name.removeprefix("keep_"): count for name, count in counts.items()}
    rules = Rules(**numbers, within_s=keep_within)
    if target is None and (clear or not rules.is_empty):
        raise click.UsageError("rules are of a data set: name it", ctx)
    if clear and not rules.is_empty:
        raise click.UsageError("--clear and rules can't stand together", ctx)
    is_change = clear or not rules.is_empty
    with settings.repository(readonly=not is_change) as repo:
        if target is not None:
            repo.require_data_set(target.data_set)
            if is_change:
                save_rules(repo.store, target.data_set, None if clear else rules)
        found = load_rules(repo.store.settings)
        if target is not None:
            found = {name: row for name, row in found.items() if name == target.data_set}
    if as_json:
        output.write_json([_rules_record(name, row) for name, row in found.items()])
    elif found:
        output.write_table(("DATA SET", "KEEPS"), ((name, str(row)) for name, row in found.items()))
    else:
        note("the whole history is kept")


def _rules_record(data_set: str, rules: Rules) -> dict[str, Any]:
    record = {"data_set": data_set, **asdict(rules)}
    record["within_seconds"] = record.pop("within_s")
    return record
