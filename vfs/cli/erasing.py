"""The command erase."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vfs.cli import output
from vfs.cli.branches import store_what_is_served
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.erased import done_record, plan_record, write_erased, write_plan
from vfs.cli.progress import count_progress
from vfs.cli.remoteerasing import erase_from_remotes, write_remotes
from vfs.cli.targets import RemoteType, TargetType
from vfs.errors import InvalidInput, NotADirectory, NotFound
from vfs.model.names import Target, parse_target

if TYPE_CHECKING:
    from vfs.daemon.pagecache import Place
    from vfs.repo.erasing import Outcome, Query
    from vfs.repo.erasing.versions import Branch
    from vfs.repo.repository import Repository

_HASH_DIGITS: Final = 64
_READ_BYTES: Final = 1 << 20
REASON_MAX: Final = 1000  # characters


@click.command(
    cls=Command,
    examples=(
        (
            "What would go, without doing it",
            "vfs erase data --path 'people/jane*' --reason 'request 17' --dry-run",
        ),
        ("Files of one person", "vfs erase data --path 'people/jane/**' --reason 'request 17'"),
        (
            "A file that is at hand, wherever it is",
            "vfs erase --content jane.jpg --reason 'request 17'",
        ),
        (
            "By the content that 'vfs ls --json' names, from all data sets",
            "vfs erase --content 3f0c... --reason 'request 17'",
        ),
        ("Go on after a crash", "vfs erase --resume"),
        ("All that was erased here, from a remote, too", "vfs erase --remote origin"),
        (
            "What was erased, and by whom",
            "vfs audit --json | jq 'map(select(.action == \"erase.end\"))'",
        ),
    ),
)
@click.argument(
    "target",
    metavar="[DATASET]",
    required=False,
    type=TargetType(revision=False),
    help="The data set. Without it, with --content: all.",
)
@click.option(
    "--path",
    "paths",
    metavar="PATTERN",
    multiple=True,
    help="Files at such paths, in any version: * and ? within a name, ** for any directories. What "
    "matches a directory matches all in it.",
)
@click.option(
    "--content",
    "contents",
    metavar="ID|FILE",
    multiple=True,
    help="Files with this content: an id, the BLAKE3 of it all, or a file that holds it.",
)
@click.option(
    "--reason", metavar="TEXT", help="Why: kept for ever, and shown to who reads such a file."
)
@click.option(
    "--shared",
    type=click.Choice(["keep", "erase"]),
    help="What becomes of bytes that other files have, too. Without it, nothing is erased then.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be erased.")
@click.option("--resume", is_flag=True, help="Finish an erase that was interrupted.")
@click.option(
    "--scrub/--no-scrub",
    default=True,
    help="Overwrite free space in the store's file, too. Without that, erased bytes can be left "
    "there until something else is stored, or until 'vfs gc --compact'.",
)
@click.option(
    "--remote",
    "remotes",
    metavar="REMOTE",
    multiple=True,
    type=RemoteType(),
    help="Erase from this remote, too (its name or URL); may be repeated. Alone: all that was "
    "erased here before.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
@pass_settings
def erase(
    settings: Settings,
    ctx: click.Context,
    /,
    target: Target | None,
    paths: tuple[str, ...],
    contents: tuple[str, ...],
    reason: str | None,
    shared: str | None,
    dry_run: bool,
    resume: bool,
    scrub: bool,
    remotes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Erase contents from every version.

    The bytes of all files that match are gone from every version of every branch and tag, from old
    ones, from what is not committed, and overwritten in the store. It can't be undone. All else
    stays as it is: versions keep their ids, and every other file its content. Names, sizes, times,
    attributes and the targets of symbolic links are part of the versions, and stay.

    Who reads an erased file gets an error (EIO in a mount) that says when and why. An import that
    brings the content again is refused, unless --allow-erased.

    Files are stored in pieces, and once for all who have them. What files have that do not match is
    listed: erase it for them, too, or keep it, by --shared.

    Killed at any moment, it goes on with --resume, as does the next erase.

    --remote erases from a remote what was erased here, at once: its packs are written anew without
    it, nobody's push brings it again, and who fetches is told that it was erased. Other clones keep
    what they have; their next fetch says so. Remotes that are not named are listed at the end.

    JSON: erased (false with --dry-run), audit (the line of the audit record), bytes, versions,
    contents, a list of content, size, places, more (places that are not named), kept_bytes,
    kept_for, erased_before; symlinks, others (files that lose bytes, with --shared
    erase; of several with the same bytes one), damaged,
    mounted (path and reason: where a mount may still show bytes), remotes, a list of remote,
    chunks (that it had), packs, unknown_packs (of unfinished pushes, which nobody can look into).

    Exit codes: 0 all of it is gone, or was kept by --shared keep; 1 it is not, or can't be done; 2
    the command line is wrong.
    """
    is_asked = bool(target or paths or contents or reason)
    if is_asked or not remotes:
        _check_usage(ctx, target, paths, contents, reason, resume=resume)
    query = _query(target, paths, contents, reason or "", shared) if is_asked else None
    with settings.repository() as repo:
        done = _finish_begun(settings, repo, scrub=scrub)
        if query is None:
            if done is None and not remotes:
                note("there is no erase to finish")
                return
        else:
            how = _How(dry_run=dry_run, scrub=scrub, yes=yes, as_json=as_json)
            done = _erase(settings, repo, query, how)
            if done is None:
                return
        left = [] if done is None else _drop_pages(repo, done)
        if done is not None and not as_json:
            write_erased(done, left)
        reached = erase_from_remotes(repo, remotes, done, count_progress)
        if as_json:
            record = {} if done is None else done_record(done, left)
            output.write_json({**record, "remotes": reached})
        else:
            write_remotes(repo, reached)
    if left or any(one["unknown_packs"] for one in reached) or (done and done.damaged):
        ctx.exit(1)


def _check_usage(
    ctx: click.Context,
    target: Target | None,
    paths: tuple[str, ...],
    contents: tuple[str, ...],
    reason: str | None,
    *,
    resume: bool,
) -> None:
    if resume:
        if target or paths or contents or reason:
            raise click.UsageError("--resume stands alone: what was begun is known", ctx)
        return
    if not paths and not contents:
        raise click.UsageError("say what to erase, by --path or --content", ctx)
    if paths and target is None:
        raise click.UsageError("--path needs a data set", ctx)
    if not reason or not reason.strip():
        raise click.UsageError("--reason is missing: it is kept for whoever asks later", ctx)
    if len(reason) > REASON_MAX:
        raise click.UsageError(f"the reason has more than {REASON_MAX:,} characters", ctx)


def _query(
    target: Target | None,
    paths: tuple[str, ...],
    contents: tuple[str, ...],
    reason: str,
    shared: Any,
) -> Query:
    from vfs.repo.erasing import Query

    return Query(
        reason=reason,
        data_set=None if target is None else target.data_set,
        paths=paths,
        hashes=dict(map(_hash, contents)),
        shared=shared or "refuse",
    )


def _hash(content: str) -> tuple[bytes, int | None]:
    """Return the hash of a content, and its size where that is known."""
    from blake3 import blake3

    path = Path(content)
    if not path.is_file():
        if len(content) == _HASH_DIGITS:
            try:
                return bytes.fromhex(content), None
            except ValueError:
                pass
        raise InvalidInput(f"'{content}' is neither a file nor the id of a content")
    hasher = blake3()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
    if not path.stat().st_size:
        raise InvalidInput(f"'{content}' is empty: there is nothing to erase")
    return hasher.digest(), path.stat().st_size


def _finish_begun(settings: Settings, repo: Repository, *, scrub: bool) -> Outcome | None:
    """Finish an erase that was interrupted, whoever began it."""
    from vfs.repo.erasing import resume

    _store_branches(settings, repo)
    with count_progress() as on_progress:
        done = resume(repo, on_progress, scrub=scrub)
    if done is not None:
        note(f"finished the erase of line {done.number} of the audit record")
    return done


class _How(NamedTuple):
    """What was asked for, beside what to erase."""

    dry_run: bool
    scrub: bool
    yes: bool
    as_json: bool


def _erase(settings: Settings, repo: Repository, query: Query, how: _How) -> Outcome | None:
    """Plan, ask, and do it; None where there is nothing to do."""
    from vfs.daemon import owners
    from vfs.repo.erasing import carry_out, check, make_plan

    with count_progress() as on_progress:
        plan = make_plan(repo, query, on_progress)
    if how.dry_run and how.as_json:
        output.write_json(plan_record(plan))
        return None
    if not how.as_json:
        write_plan(plan)
    if not plan.contents and not plan.branches:
        raise NotFound("no file matches")
    if how.dry_run:
        return None

    def is_served(branch: Branch) -> bool:
        return owners.find(settings.store, branch.data_set, branch.name) is not None

    check(plan, is_served)
    if not how.yes and sys.stdin.isatty():
        click.confirm("erase this for ever?", abort=True, err=True)
    elif not how.yes:
        raise InvalidInput("nobody is there to confirm it", hint="say --yes")
    with ExitStack() as owning:
        for branch in plan.branches:
            place = settings.store, branch.data_set, branch.name, "(vfs erase)"
            owning.enter_context(owners.owned(*place))
        on_progress = owning.enter_context(count_progress())
        return carry_out(repo, plan, on_progress, scrub=how.scrub)


def _store_branches(settings: Settings, repo: Repository) -> None:
    """Have the store know all that was written to mounted branches until now."""
    for ref in repo.all_refs():
        if ref.kind == "branch":
            store_what_is_served(settings, Target(ref.data_set, ref.name))


def _drop_pages(repo: Repository, done: Outcome) -> list[tuple[str, str]]:
    """Have the kernel forget what mounts have shown; return where it may not have."""
    from vfs.daemon.pagecache import Place, drop
    from vfs.repo.erasing import gone_at

    offsets = gone_at(repo, done.plan)
    places = (Place(*shown, offsets[shown.content]) for shown in done.plan.shown)
    left = drop(repo.store.path.resolve(), places, partial(_shows, repo))
    return [(one.path, one.reason) for one in left]


def _shows(repo: Repository, mounted: str, place: Place) -> bool:
    """Say whether data@REVISION has the content of a place at the same path."""
    target = parse_target(mounted)
    if target.data_set != place.data_set:
        return False
    if target.revision == place.revision:
        return True
    try:
        root = repo.commit(repo.resolve(target.data_set, target.revision).commit).root
        return repo.entry_at(root, tuple(place.path.split(b"/"))).content == place.content
    except (NotFound, NotADirectory):
        return False
