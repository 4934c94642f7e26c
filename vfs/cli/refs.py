"""Commands about names of versions: tag and branch. The table of references is `vfs ls`'s too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.branches import store_what_is_served
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.targets import RefType, TargetType, find_commit
from vfs.clock import iso
from vfs.model.entry import directory_totals
from vfs.model.names import Target

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.store.refrows import Ref, RefKind

data_set_argument = click.argument(
    "target", metavar="DATASET", type=TargetType(revision=False), help="The data set."
)

COLUMNS = (">FILES", ">SIZE", "COMMIT", "TIME", "MESSAGE")


def ref_cells(repo: Repository, ref: Ref) -> tuple[str, ...]:
    """Return what COLUMNS name, of the version that *ref* stands for."""
    commit = repo.commit(ref.commit)
    totals = directory_totals(commit.root)
    return (
        f"{totals.files:,}",
        output.size(totals.bytes),
        ref.commit.hex()[: output.ID_DIGITS],
        output.local_time(commit.time_ns),
        commit.message.partition("\n")[0],
    )


def ref_record(repo: Repository, ref: Ref) -> dict[str, Any]:
    """Return a reference for JSON."""
    commit = repo.commit(ref.commit)
    totals = directory_totals(commit.root)
    return {
        "data_set": ref.data_set,
        "name": ref.name,
        "kind": ref.kind,
        "commit": ref.commit.hex(),
        "time": iso(commit.time_ns, precise=True),
        "updated": iso(ref.time_ns, precise=True),
        "files": totals.files,
        "bytes": totals.bytes,
        **output.text_fields("message", commit.message),
    }


def _list(repo: Repository, data_set: str, kind: RefKind, *, as_json: bool) -> None:
    refs = [ref for ref in repo.refs(data_set) if ref.kind == kind]
    if as_json:
        output.write_json([ref_record(repo, ref) for ref in refs])
    elif refs:
        rows = ((ref.name, *ref_cells(repo, ref)) for ref in refs)
        output.write_table((kind.upper(), *COLUMNS), rows)
    else:
        note(f"{data_set} has no {kind}")


def _delete(
    repo: Repository, data_set: str, kind: RefKind, name: str, *, force: bool = False
) -> None:
    ids = {ref.name: ref.commit.hex()[: output.ID_DIGITS] for ref in repo.refs(data_set)}
    if kind == "branch":
        from vfs.repo.branches import delete_branch

        delete_branch(repo, data_set, name, force=force)
    else:
        repo.delete_ref(data_set, name, kind=kind)
    was = ids[name]
    click.echo(f"deleted the {kind} {data_set}@{name}, which was {was}")
    revision = f"--from {was}" if kind == "branch" else was
    note(f"to bring it back: vfs {kind} {data_set} {name} {revision}")


def _move(repo: Repository, data_set: str, name: str, revision: str) -> None:
    from vfs.repo.branches import move_branch

    commit, _ = find_commit(repo, Target(data_set, revision))
    old, new = move_branch(repo, data_set, name, commit)
    _report("moved", new)
    was = old.commit.hex()[: output.ID_DIGITS]
    note(f"to move it back: vfs branch {data_set} {name} --move-to {was}")


def _report(verb: str, ref: Ref) -> None:
    short = ref.commit.hex()[: output.ID_DIGITS]
    click.echo(f"{verb} the {ref.kind} {ref.data_set}@{ref.name}: {short}")


def _check_usage(ctx: click.Context, name: str | None, **options: Any) -> None:
    given = [f"--{option.replace('_', '-')}" for option, value in options.items() if value]
    if name is None and given:
        raise click.UsageError(f"{given[0]} needs a name", ctx)
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} can't stand together", ctx)


@click.command(
    cls=Command,
    examples=(
        ("List the tags of a data set", "vfs tag data"),
        ("Call the newest version v3", "vfs tag data v3"),
        ("Call the version before it v2", "vfs tag data v2 main~1"),
        ("Let a tag name another version", "vfs tag data stable v3 --force"),
        ("Delete a tag; the version itself stays", "vfs tag data stable --delete"),
        ("The commit behind a tag, in a script", "vfs tag data --json | jq -r '.[0].commit'"),
    ),
)
@data_set_argument
@click.argument("name", required=False, type=RefType("tag"), help="The tag to make or delete.")
@click.argument(
    "revision",
    required=False,
    type=RefType("branch", "tag"),
    help="The version to name. [default: main]",
)
@click.option("-f", "--force", is_flag=True, help="Move a tag that exists.")
@click.option("-d", "--delete", is_flag=True, help="Delete the tag. No version is deleted.")
@json_option
@click.pass_context
@pass_settings
def tag(
    settings: Settings,
    /,
    ctx: click.Context,
    target: Target,
    name: str | None,
    revision: str | None,
    force: bool,
    delete: bool,
    as_json: bool,
) -> None:
    """List, make or delete tags.

    A tag is a name for one version, and stays with it: it moves only with --force. Who moved it,
    when and from where is logged. data@TAG names the version in every command and in the mount.
    """
    _check_usage(ctx, name, force=force, delete=delete)
    with settings.repository(readonly=name is None, cached=True) as repo:
        if name is None:
            _list(repo, target.data_set, "tag", as_json=as_json)
        elif delete:
            _delete(repo, target.data_set, "tag", name)
        else:
            commit, _ = find_commit(repo, Target(target.data_set, revision or ""))
            made = repo.set_tag(target.data_set, name, commit, force=force, why="vfs tag")
            _report("set", made)


@click.command(
    cls=Command,
    examples=(
        ("List the branches of a data set", "vfs branch data"),
        ("Start a branch from the newest version", "vfs branch data experiment"),
        ("Start one from a tag", "vfs branch data repair --from v2"),
        ("Import into it", "vfs import ./repaired data@repair -m 'Repaired'"),
        ("Give it another name", "vfs branch data --rename repair repaired"),
        ("Let main name v2 again, and take it from there", "vfs branch data main --move-to v2"),
        ("Delete it", "vfs branch data repair --delete"),
    ),
)
@data_set_argument
@click.argument(
    "name", required=False, type=RefType("branch"), help="The branch to make or change."
)
@click.argument("new_name", metavar="[NEW]", required=False, help="With --rename: its new name.")
@click.option(
    "--from",
    "start",
    metavar="REVISION",
    type=RefType("branch", "tag"),
    help="The version to start from. [default: main]",
)
@click.option("--rename", is_flag=True, help="Call the branch NAME NEW. Its new log says so.")
@click.option(
    "--move-to",
    metavar="REVISION",
    type=RefType("branch", "tag"),
    help="Let the branch name another version. What it named is in its reflog.",
)
@click.option(
    "-d",
    "--delete",
    is_flag=True,
    help="Delete the branch, unless it has changes that are not committed. Its log stays.",
)
@click.option("-f", "--force", is_flag=True, help="With --delete: with all that is not committed.")
@json_option
@click.pass_context
@pass_settings
def branch(
    settings: Settings,
    /,
    ctx: click.Context,
    target: Target,
    name: str | None,
    new_name: str | None,
    start: str | None,
    rename: bool,
    move_to: str | None,
    delete: bool,
    force: bool,
    as_json: bool,
) -> None:
    """List, make, rename, move or delete branches.

    A branch names the newest of a line of versions, and moves on with each import into it and each
    commit of what was written to it. Making one takes no time and no space, however large the data
    set. One with changes that are not committed is not renamed, moved or deleted.
    """
    _check_usage(ctx, name, **{"from": start}, rename=rename, move_to=move_to, delete=delete)
    if force and not delete:
        raise click.UsageError("--force stands with --delete", ctx)
    if rename != (new_name is not None):
        raise click.UsageError("--rename takes two names: the branch's, and its new one", ctx)
    if delete or rename or move_to:
        store_what_is_served(settings, Target(target.data_set, name or ""))
    with settings.repository(readonly=name is None, cached=True) as repo:
        if name is None:
            _list(repo, target.data_set, "branch", as_json=as_json)
        elif delete:
            _delete(repo, target.data_set, "branch", name, force=force)
        elif new_name is not None:
            from vfs.repo.branches import rename_branch

            _report(f"renamed {name}:", rename_branch(repo, target.data_set, name, new_name))
        elif move_to is not None:
            _move(repo, target.data_set, name, move_to)
        else:
            commit, _ = find_commit(repo, Target(target.data_set, start or ""))
            made = repo.set_branch(target.data_set, name, commit, expected=None, why="vfs branch")
            _report("made", made)
