"""Commands that bring what other versions have into a branch: merge, cherry-pick, revert."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vfs.cli import output
from vfs.cli.branches import store_what_is_served
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.outcomes import report
from vfs.cli.targets import TargetType
from vfs.model.names import DEFAULT_BRANCH, Target

if TYPE_CHECKING:
    from vfs.repo.merge import Order, Outcome, Source
    from vfs.repo.repository import Repository

Function = TypeVar("Function", bound=Callable[..., Any])


def version_options(function: Function) -> Function:
    """Give a command the options of all that make a version of a branch from others."""
    for option in reversed(
        (
            click.option("-m", "--message", metavar="TEXT", help="What the new version is."),
            click.option("--author", metavar="TEXT", help="Who made it."),
            click.option(
                "--dry-run", is_flag=True, help="Say what would happen, and change nothing."
            ),
            json_option,
        )
    ):
        function = option(function)
    return function


def _conflict_options(function: Function) -> Function:
    """Give a command the options that settle conflicts."""
    for option in reversed(
        (
            _side_option("ours", "the branch"),
            _side_option("theirs", "the other version"),
            click.option(
                "--keep-both",
                is_flag=True,
                help="Settle all others by keeping both files, as NAME~BRANCH and NAME~OTHER.",
            ),
        )
    ):
        function = option(function)
    return function


def _side_option(name: str, whose: str) -> Callable[[Function], Function]:
    return click.option(
        f"--{name}",
        name,
        metavar="[PATTERN]",
        multiple=True,
        is_flag=False,
        flag_value="*",
        help=f"Settle conflicts as {whose} has it: those at paths like PATTERN and below, or all: "
        "without one, at the end of the line.",
    )


def order_of(target: Target, options: dict[str, Any]) -> Order:
    """Return what is to be done to the branch *target*."""
    from vfs.repo.merge import Order
    from vfs.repo.merge.conflicts import Rules

    return Order(
        data_set=target.data_set,
        branch=target.revision or DEFAULT_BRANCH,
        message=options["message"],
        author=options["author"],
        dry_run=options["dry_run"],
        command=("vfs", *sys.argv[1:]),
        rules=Rules(
            ours=options.get("ours", ()),
            theirs=options.get("theirs", ()),
            keep_both=options.get("keep_both", False),
        ),
        too_many=lambda: note("too many changes to look for renames among: none is taken for one"),
    )


def source_of(repo: Repository, target: Target, branch: Target) -> Source:
    """Return the version that *target* names, to be brought into *branch*."""
    from vfs.repo.merge import Source

    found = repo.resolve(target.data_set, target.revision)
    by_name = found.kind in ("branch", "tag")
    short = found.name if by_name else found.commit.hex()[: output.ID_DIGITS]
    name = f"{target.data_set}@{short}"
    label = short if target.data_set == branch.data_set else name
    return Source(commit=found.commit, name=name, label=label)


@click.command(
    cls=Command,
    examples=(
        ("Bring what was done in the branch exp into main", "vfs merge data@exp into data@main"),
        ("See first what that would do", "vfs merge data@exp into data@main --dry-run"),
        (
            "Where both changed labels, take those of exp",
            "vfs merge data@exp into data --theirs labels",
        ),
        ("Whatever conflicts stays as main has it", "vfs merge data@exp into data@main --ours"),
        ("Keep both files where both changed one", "vfs merge data@exp into data --keep-both"),
        (
            "The paths that conflict, in a script",
            "vfs merge data@exp into data --json | jq .conflicts",
        ),
    ),
)
@click.argument(
    "source", metavar="DATASET@REVISION", type=TargetType(), help="The version to merge."
)
@click.argument(
    "word",
    metavar="into",
    required=False,
    type=click.Choice(["into"]),
    help="The word, before the branch.",
)
@click.argument(
    "target",
    metavar="DATASET[@BRANCH]",
    required=False,
    type=TargetType(),
    help="The branch that gets a new version.",
)
@click.option(
    "--into",
    metavar="DATASET[@BRANCH]",
    type=TargetType(),
    help="The same, as an option.",
)
@click.option("--no-ff", is_flag=True, help="Make a version also where the branch could be moved.")
@click.option("--ff-only", is_flag=True, help="Only move the branch, or do nothing.")
@click.option(
    "--allow-unrelated", is_flag=True, help="Merge also where no version is common to both."
)
@_conflict_options
@version_options
@click.pass_context
@pass_settings
def merge(
    settings: Settings,
    ctx: click.Context,
    /,
    source: Target,
    word: str | None,
    target: Target | None,
    into: Target | None,
    no_ff: bool,
    ff_only: bool,
    allow_unrelated: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Merge a version into a branch.

    What was changed in either since they parted is in the new version, which has both as parents.
    Files are compared whole, but for mode, owner and each extended attribute, which merge by
    themselves. A file that was renamed in one and changed in the other is renamed and changed. It
    takes as long as there is much that changed, whatever the size of the versions. Where the branch
    is an ancestor of the version, it only moves there.

    A path that both changed, each in its own way, is a conflict. Conflicts are listed, and nothing
    is done (exit code 1), unless --ours, --theirs or --keep-both settles all of them.

    A mounted branch shows the new version at once. One with uncommitted changes is left alone.

    JSON: data_set, branch, action (nothing, fast-forward, commit or conflicts), commit (or null),
    changes (files, directories, old_bytes and new_bytes by kind), and conflicts, a list of path,
    kind (what the branch did, /, what the other version did), fields, settled (ours, theirs, both
    or null), base, ours and theirs (what vfs ls --json has, or null), ours_path, theirs_path.
    """
    if (target is None) == (into is None) or (word is None) != (target is None):
        raise click.UsageError("name a branch: vfs merge DATASET@REVISION into DATASET@BRANCH", ctx)
    if no_ff and ff_only:
        raise click.UsageError("--no-ff and --ff-only can't stand together", ctx)
    from vfs.repo.merge import merge as merge_versions

    branch = target or into
    assert branch is not None
    store_what_is_served(settings, branch)
    with settings.repository(cached=True) as repo, repo.store.writers.announce():
        done = merge_versions(
            repo,
            order_of(branch, options),
            source_of(repo, source, branch),
            fast_forward="never" if no_ff else "only" if ff_only else "if possible",
            allow_unrelated=allow_unrelated,
        )
    report(ctx, branch, done, as_json=as_json)


on_option = click.option(
    "--on",
    "target",
    metavar="DATASET[@BRANCH]",
    type=TargetType(),
    help="The branch that gets the new version. [default: main]",
)


@click.command(
    name="cherry-pick",
    cls=Command,
    examples=(
        ("Do in main what was done in a version of exp", "vfs cherry-pick data@5f0c1a --on data"),
        ("The last two versions of exp", "vfs cherry-pick data@exp~1 data@exp --on data@main"),
    ),
)
@click.argument(
    "sources",
    metavar="DATASET@REVISION...",
    nargs=-1,
    required=True,
    type=TargetType(),
    help="The versions, in the order in which they are to come.",
)
@on_option
@_conflict_options
@version_options
@click.pass_context
@pass_settings
def cherry_pick(
    settings: Settings,
    ctx: click.Context,
    /,
    sources: tuple[Target, ...],
    target: Target | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make again on a branch what versions changed.

    Each version's changes, against its first parent, become a new version of the branch, with the
    same message and author. All of them appear at once. Conflicts are those of vfs merge.

    JSON: as vfs merge --json.
    """
    from vfs.repo.merge import cherry_pick as pick_versions

    _replay(settings, ctx, pick_versions, sources, target, options, as_json=as_json)


@click.command(
    cls=Command,
    examples=(
        ("Undo the newest version of main", "vfs revert data@main"),
        ("Undo an older one, and keep what came after it", "vfs revert data@v3 --on data@main"),
        ("What that would change", "vfs revert data@v3 --on data@main --dry-run"),
    ),
)
@click.argument(
    "sources",
    metavar="DATASET@REVISION...",
    nargs=-1,
    required=True,
    type=TargetType(),
    help="The versions to undo, in the order in which they are to be undone.",
)
@on_option
@_conflict_options
@version_options
@click.pass_context
@pass_settings
def revert(
    settings: Settings,
    ctx: click.Context,
    /,
    sources: tuple[Target, ...],
    target: Target | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Undo on a branch what versions changed.

    Makes a new version in which what a version changed, against its first parent, is as it was
    before. Nothing is deleted: the version stays in the log. Conflicts, with what was changed
    later, are those of vfs merge.

    JSON: as vfs merge --json.
    """
    from vfs.repo.merge import revert as revert_versions

    _replay(settings, ctx, revert_versions, sources, target, options, as_json=as_json)


def _replay(
    settings: Settings,
    ctx: click.Context,
    function: Callable[[Repository, Order, list[Source]], Outcome],
    sources: tuple[Target, ...],
    target: Target | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    branch = target or Target(sources[0].data_set)
    store_what_is_served(settings, branch)
    with settings.repository(cached=True) as repo, repo.store.writers.announce():
        versions = [source_of(repo, source, branch) for source in sources]
        done = function(repo, order_of(branch, options), versions)
    report(ctx, branch, done, as_json=as_json)
