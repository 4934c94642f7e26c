"""The commands log and reflog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, pass_settings
from vfs.cli.targets import PathsCommand, TargetType, branch_argument
from vfs.cli.versions import changes_of, commit_record, commit_text, line_text, refs_by_commit
from vfs.clock import iso
from vfs.model.names import DEFAULT_BRANCH

if TYPE_CHECKING:
    from vfs.cli.versions import Facts
    from vfs.model.commit import Commit
    from vfs.model.names import Target
    from vfs.repo.history import Filter, Version
    from vfs.store.refrows import RefUpdate


class TimeType(click.ParamType[int]):
    """A moment, as revisions have it in braces."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return nanoseconds."""
        from vfs.errors import InvalidName
        from vfs.repo.revparse import parse_time

        if isinstance(value, int):
            return value
        try:
            return parse_time(value)
        except InvalidName as error:
            self.fail(f"{error}; {error.hint}", param, ctx)


class PatternType(click.ParamType["Callable[[str], bool]"]):
    """A regular expression; upper and lower case are the same."""

    name = "pattern"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Callable[[str], bool]:
        """Return what says whether a text matches."""
        import re

        try:
            pattern = re.compile(value, re.IGNORECASE)
        except re.error as error:
            self.fail(f"'{value}' is no regular expression: {error}", param, ctx)
        return lambda text: pattern.search(text) is not None


@click.command(
    cls=PathsCommand,
    examples=(
        ("All versions on the branch main, newest first", "vfs log data"),
        ("The last three up to v2, a line each", "vfs log data@v2 -n 3 --oneline"),
        ("Those in which a file, or anything in a directory, changed", "vfs log data -- labels"),
        ("How much changed in those of last week", "vfs log data --since '7 days ago' --stat"),
        ("Somebody's versions, by their messages", "vfs log data --author ada --grep 'fix|repair'"),
        ("How branches came and went", "vfs log data --graph --oneline"),
        ("The newest version's id, in a script", "vfs log data -n 1 --json | jq -r .commit"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION]",
    type=TargetType(),
    help="Where to start. [default revision: main]",
)
@click.option(
    "-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="Show N versions."
)
@click.option("--since", metavar="TIME", type=TimeType(), help="Leave out what is older.")
@click.option("--until", metavar="TIME", type=TimeType(), help="Leave out what is newer.")
@click.option("--author", metavar="REGEX", type=PatternType(), help="Only those by such authors.")
@click.option("--grep", metavar="REGEX", type=PatternType(), help="Only with such messages.")
@click.option("--graph", is_flag=True, help="Draw which version came from which.")
@click.option("--stat", is_flag=True, help="Show how much each changed.")
@click.option("--oneline", is_flag=True, help="Show each version on one line.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one line for each version.")
@click.pass_context
@pass_settings
def log(
    settings: Settings,
    ctx: click.Context,
    /,
    target: Target,
    limit: int | None,
    graph: bool,
    stat: bool,
    oneline: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Show the versions of a data set.

    Starts at a revision and follows the versions it was made from, newest first. "Holds" counts the
    files of a version, in all its directories, and their bytes. With paths behind --, only versions
    in which something changed there; where a merge has there what one of its parents has, only that
    one is followed.

    A TIME is 2026-11-01, 2026-11-01T10:00Z, yesterday or '3 days ago'. A REGEX is one of Python's,
    found anywhere, in upper or lower case. --stat counts against the first parent.

    JSON: commit, parents, refs, time (UTC), author, message, files, directories, bytes, and
    provenance, which is the command, the source and the machine that made the version; with --stat
    changes, which has files, directories, old_bytes and new_bytes by kind; and of a version whose
    content was removed ('vfs retention') pruned, which has time and reason.
    """
    from vfs.repo.history import history

    if graph and as_json:
        raise click.UsageError("--graph and --json can't stand together", ctx)
    with settings.repository(readonly=True, cached=True) as repo:
        refs = refs_by_commit(repo, target.data_set)
        wanted = _filter(ctx.meta["vfs.paths"], filters)
        pruned_will_do = not wanted.paths and not stat
        start = repo.resolve(target.data_set, target.revision, pruned=pruned_will_do).commit
        found = _limited(_some(history(repo, start, wanted), wanted), limit)

        def facts(version: Version) -> Facts:
            oid, commit = version.id, version.commit
            pruned = repo.store.pruned.get(oid)
            sums = changes_of(repo, commit) if stat and pruned is None else None
            return oid, commit, refs[oid], sums, pruned

        def lines(version: Version) -> list[str]:
            return [line_text(*facts(version))] if oneline else commit_text(*facts(version))

        if graph:
            _write_graph(found, lines)
            return
        for version in found:
            if not version.shown:
                continue
            if as_json:
                output.write_json(commit_record(*facts(version)), indent=None)
            else:
                for line in lines(version):
                    click.echo(line)


def _filter(paths: tuple[tuple[bytes, ...], ...], filters: dict[str, Any]) -> Filter:
    from vfs.repo.history import Filter

    matches: list[Callable[[Commit], bool]] = []
    if author := filters["author"]:
        matches.append(lambda commit: author(commit.author))
    if grep := filters["grep"]:
        matches.append(lambda commit: grep(commit.message))
    return Filter(
        paths=() if () in paths else paths,
        since_ns=filters["since"],
        until_ns=filters["until"],
        matches=matches,
    )


def _some(found: Iterator[Version], wanted: Filter) -> Iterator[Version]:
    """Yield versions. Raises NotFound where paths were asked for that none of all has."""
    any_shown = False
    for version in found:
        any_shown = any_shown or version.shown
        yield version
    everything = wanted.since_ns is wanted.until_ns is None and not wanted.matches
    if wanted.paths and everything and not any_shown:
        from vfs.errors import NotFound

        shown = " or ".join(f"'{output.path_text(b'/'.join(path))}'" for path in wanted.paths)
        raise NotFound(f"no version had {shown}")


def _limited(found: Iterator[Version], limit: int | None) -> Iterator[Version]:
    """Yield versions up to the last one that is to be shown."""
    left = limit
    for version in found:
        yield version
        if version.shown and left is not None:
            left -= 1
            if not left:
                return


def _write_graph(found: Iterator[Version], lines_of: Callable[[Version], list[str]]) -> None:
    from itertools import zip_longest

    from vfs.cli.graph import Graph

    graph = Graph()
    for version in found:
        rows = graph.rows(version.id, version.parents, shown=version.shown)
        if not version.shown and not any("\\" in row or "/" in row for row in rows):
            continue
        lines = lines_of(version) if version.shown else []
        width = max(map(len, rows), default=0)
        padding = graph.padding()
        for row, line in zip_longest(rows, lines):
            drawn = (padding if row is None else row).ljust(width)
            click.echo(f"{drawn} {line or ''}".rstrip())


@click.command(
    cls=Command,
    examples=(
        ("Where the branch main was, newest first", "vfs reflog data"),
        ("Who moved a tag, when and why", "vfs reflog data@stable"),
        (
            "Make a branch of what main was before the last change",
            "vfs branch data rescue --from $(vfs reflog data --json | jq -r '.[0].old')",
        ),
    ),
)
@branch_argument
@json_option
@pass_settings
def reflog(settings: Settings, /, target: Target, as_json: bool) -> None:
    """Show how a branch or tag moved.

    A line for each time it was made, moved or deleted, newest first: the version it named from then
    on, the time, who did it and why. The log of what was deleted stays. data@{2026-11-23} and
    data@main@{yesterday} are read from it.

    JSON: a list of old and new (commits, or null), time (UTC), kind (branch or tag), who, why.
    """
    name = target.revision or DEFAULT_BRANCH
    with settings.repository(readonly=True, cached=True) as repo:
        updates = repo.reflog(target.data_set, name)
        if not updates:
            from vfs.errors import NotFound
            from vfs.repo.revisions import near_misses

            known = [ref.name for ref in repo.refs(target.data_set)]
            raise NotFound(
                f"'{target.data_set}' never had a branch or tag '{output.printable(name)}'",
                hint=near_misses(name, known),
            )
    if as_json:
        output.write_json([_update_record(update) for update in updates])
        return
    for update in updates:
        short = "deleted     " if update.new is None else update.new.hex()[: output.ID_DIGITS]
        who, why = output.printable(update.who), output.printable(update.why)
        click.echo(
            f"{click.style(short, fg='yellow')} {output.local_time(update.time_ns)} {who}: {why}"
        )


def _update_record(update: RefUpdate) -> dict[str, Any]:
    return {
        "old": update.old and update.old.hex(),
        "new": update.new and update.new.hex(),
        "time": iso(update.time_ns, precise=True),
        "kind": update.kind,
        **output.text_fields("who", update.who),
        **output.text_fields("why", update.why),
    }
