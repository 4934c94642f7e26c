"""The command fsck."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.progress import stage_progress
from vfs.cli.secrets import unlockable
from vfs.cli.targets import remote_option

if TYPE_CHECKING:
    from vfs.repo.fsck import Damage, Report
    from vfs.repo.repair import Repair
    from vfs.repo.repair.sources import Source
    from vfs.repo.stages import OnStage


@click.command(
    cls=Command,
    examples=(
        ("Whether all that the store's versions need is there, and fits together", "vfs fsck"),
        ("The same, and every byte of content", "vfs fsck --data"),
        (
            "The paths that are damaged, in a script",
            "vfs fsck --json | jq -r '.damages[].places[]'",
        ),
        (
            "Mend what is damaged, with what a backup and another copy of the store have",
            "vfs fsck --repair --from /backups/store.vfsbackup --from /mnt/old/store",
        ),
        ("And with what a remote has", "vfs fsck --repair --from origin"),
        ("Whether a remote is whole, every byte of it", "vfs fsck --remote origin --data"),
    ),
)
@click.option("--data", is_flag=True, help="Read and verify all content, too.")
@click.option("--repair", is_flag=True, help="Mend what can be mended, and check again.")
@click.option(
    "--from",
    "copies",
    metavar="COPY",
    multiple=True,
    help="With --repair: another store, a backup, or a remote (its name or URL) to take lost "
    "content from; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="With --repair: only say what would be done.")
@remote_option("Check")
@json_option
@click.pass_context
@pass_settings
def fsck(
    settings: Settings,
    ctx: click.Context,
    /,
    data: bool,
    as_json: bool,
    *,
    repair: bool,
    copies: tuple[str, ...],
    dry_run: bool,
    where: str | None,
) -> None:
    """Check the store, or a remote.

    Follows every reference to all that it leads to: log, versions, directories, files' lists of
    chunks, inode numbers, and what was written to branches and not committed. Everything has to be
    there, to be well-formed, and to be what its sums, sizes and names say. Whether the bytes of
    files are what they were is found out with --data alone, as that reads the whole store.

    The store may be in use meanwhile: it is checked as it was when the check began, and nothing has
    to wait. Without --repair nothing is changed.

    Each damage is a line: the versions and paths that it touches, as data@revision:path, and what
    is wrong. Of many places twenty are named, four of a
    version. Objects that no version needs, such as an interrupted
    import leaves, are no damage while they are sound.

    --repair reads all content (--data), and then puts right what can be proved: content that is
    damaged or missing is stored again from a COPY, by its hash, whatever store that is of; branches
    and tags become what their logs say; the tables of inode numbers are made from the directories.
    What nothing proves stays as it is and is listed, as are changes that were not committed. Each
    thing done is a line. Where LMDB's own pages are damaged nothing is done: restore a backup.

    --remote follows all references of a remote in the same way, with all their records, and checks
    that its packs and their indexes fit together; no copy of the data is needed here. A remote is
    not mended: push to a new one, from a store that has what is lost.

    JSON: clean, damages, a list of kind (lmdb, table, object, tree, commit, reference, number,
    overlay, remote), message, places, more (places that are not named), object (its id, or null),
    and untold (damages that are not in the list, of more than 10,000); counts, of what was looked
    at; with --repair, repaired, a list of lines, and all else of the check afterwards.

    Exit codes: 0 nothing is damaged, 1 something is, or there is no store; 2 the command line is
    wrong.
    """
    from vfs.repo.fsck import check_store

    if not repair and (copies or dry_run):
        raise click.UsageError("--from and --dry-run belong to --repair")
    if where is not None and repair:
        raise click.UsageError("a remote is not repaired: push to a new one", ctx)
    begun = time.monotonic()
    done = None
    with stage_progress() as on_stage:
        if where is not None:
            report = _check_remote(settings, where, on_stage, data=data)
        elif repair:
            mended = _repair(settings.store, copies, dry_run, on_stage)
            report, done = mended.report, mended.done
        else:
            report = check_store(settings.store, data=data, on_stage=on_stage)
    if as_json:
        output.write_json(_record(report) | ({} if done is None else {"repaired": done}))
    else:
        verb = "would repair" if dry_run else "repaired"
        output.write_lines(f"{verb}: {output.printable(line)}".encode() for line in done or ())
        output.write_lines(_line(damage).encode() for damage in report.damages)
        note(_summary(report, time.monotonic() - begun, data=data or repair))
    if not report.is_clean:
        ctx.exit(1)


def _repair(
    store: Path, copies: tuple[str, ...], dry_run: bool, on_stage: OnStage | None
) -> Repair:
    """Repair from what *copies* are: stores and backups that are there, else remotes."""
    from vfs.remote.urls import is_bundle
    from vfs.repo.repair import repair_store

    local = [copy for copy in copies if Path(copy).exists() and not is_bundle(copy)]
    remote = [copy for copy in copies if copy not in local]
    for copy in remote:
        if "/" in copy and "://" not in copy and not is_bundle(copy):
            raise click.UsageError(f"there is no store and no backup at {copy}")
    with ExitStack() as opened:
        others: list[Source] = []
        if remote:
            from vfs.sync.remotes import repair_source

            others = [
                opened.enter_context(repair_source(store, where, unlockable)) for where in remote
            ]
        paths = [Path(copy) for copy in local]
        return repair_store(store, paths, others, dry_run=dry_run, on_stage=on_stage)


def _check_remote(
    settings: Settings, where: str, on_stage: OnStage | None, *, data: bool
) -> Report:
    import tempfile

    from vfs.sync.fsck import check_remote
    from vfs.sync.push import untracked
    from vfs.sync.remotes import connected, find_remote

    with settings.repository(readonly=True) as repo, tempfile.TemporaryDirectory() as temporary:
        place = unlockable(find_remote(repo.store, where or None))
        seen = [untracked(one) for one in repo.store.tracking.all(place.name)]
        with connected(repo.store, place) as remote:
            return check_remote(remote, Path(temporary), data=data, seen=seen, on_stage=on_stage)


def _record(report: Report) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "damages": [output.json_safe(damage.record()) for damage in report.damages],
        "untold": report.untold,
        "counts": report.counts,
    }


def _line(damage: Damage) -> str:
    places = ", ".join(map(output.printable, damage.places))
    more = f" and {output.plural(damage.more, 'more place')}" if damage.more else ""
    where = places + more or ("in no version" if damage.object else "the store")
    return f"{where}: {output.printable(damage.message)}"


def _summary(report: Report, duration: float, *, data: bool) -> str:
    counts = report.counts
    checked = ", ".join(
        output.plural(counts.get(f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s", 0), noun)
        for noun in ("version", "entry", "object")
    )
    found = len(report.damages) + report.untold
    verdict = "no damage" if not found else output.plural(found, "damage")
    if erased := counts.get("erased objects", 0):
        verdict += f", {output.plural(erased, 'object')} erased on purpose"
    if loose := counts.get("packs without an index", 0):
        verdict += f", {output.plural(loose, 'pack')} without an index (vfs gc --remote)"
    if pending := counts.get("erased objects not yet overwritten", 0):
        verdict += f" ({pending:,} not yet overwritten: vfs erase --resume)"
    less = "" if data else " (content was not read: --data)"
    return f"checked {checked} in {output.seconds(duration)}: {verdict}{less}"
