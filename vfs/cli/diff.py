"""The command diff: two versions, or a branch and what it has not committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

import click

from vfs.cli import changes, output
from vfs.cli.branches import store_what_is_served
from vfs.cli.command import Settings, fail, pass_settings
from vfs.cli.targets import PathsCommand, TargetType, find_commit
from vfs.errors import NotFound, VfsError
from vfs.model.names import DEFAULT_BRANCH, Target

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import Difference
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes
    from vfs.repo.uncommitted import PassingObjects
    from vfs.store.objects import ObjectSource

EXIT_DIFFERENT: Final = 1
_COPY: Final = "vfs diff -z --name-only --filter AMmT --no-renames data@v1 data@v3"
EXIT_TROUBLE: Final = 2  # with --exit-code, as diff(1)


@click.command(
    cls=PathsCommand,
    examples=(
        ("What changed from v1 to v3", "vfs diff data@v1 data@v3"),
        ("Since v3, below two directories", "vfs diff data@v3 -- labels images/train"),
        ("The lines that changed in one file", "vfs diff -p data@v1 data@v3 -- labels.csv"),
        ("How much changed", "vfs diff --stat data@v1 data@v3"),
        ("What the branch main has not committed", "vfs diff --uncommitted data"),
        ("All of the branch exp against v3, committed or not", "vfs diff -u data@v3 data@exp"),
        ("Whether two directories are the same", "vfs diff -q data@v1:train data@v3:train"),
        ("What to copy to have v3 as well", f"{_COPY} > list"),
        ("Copy it", "rsync -a0 --files-from=list /mnt/data@v3 copy"),
    ),
)
@click.argument(
    "old",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="The old version, or a directory or file in it.",
)
@click.argument(
    "new",
    metavar="[DATASET[@REVISION][:PATH]]",
    required=False,
    type=TargetType(path=True),
    help="The new one. [default: the same of main]",
)
@click.option(
    "-u",
    "--uncommitted",
    is_flag=True,
    help="Take branches as they are now, with what is not committed. One branch alone is compared "
    "with its last version. data@main~0 is a branch's last version, always.",
)
@click.option("-R", "--reverse", is_flag=True, help="Exchange the old and the new one.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs, 2 on an error.")
@click.option("-q", "--quiet", is_flag=True, help="Write nothing, and exit as with --exit-code.")
@changes.change_options
@click.pass_context
@pass_settings
def diff(
    settings: Settings,
    ctx: click.Context,
    /,
    old: Target,
    new: Target | None,
    uncommitted: bool,
    reverse: bool,
    exit_code: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Show what differs between two versions.

    A line for each path: a letter, by how much it grew, the path, and what attributes changed.
    The letters: A added, D deleted, M modified, m only attributes (mode, owner, extended
    attributes, hard links, time), T of another type, R renamed with the same content, Rm with
    other attributes too. A directory has a / at its end. It takes as long as there is much that
    differs, whatever the size of the versions. Behind -- stand paths; only they are compared.

    Without --uncommitted, data@main is the last version of main, as everywhere.

    -p writes a patch for git apply, or patch -p1. Files that are not text, or larger than 16 MiB,
    are named in it without their lines; what git does not keep (owners, times, most modes) and
    directories are not in it.

    Exit codes: 0 also where there are differences, but with --exit-code 1 then, and 2 on an error.

    JSON: a list of path, kind, directory, changed (content, mode, owner, xattrs, links, time),
    old_path (where it was renamed), old and new (what vfs ls --json has, or null). With --stat:
    files, directories, old_bytes and new_bytes by kind.
    """
    form = changes.form_of(ctx, options)
    try:
        with settings.repository(readonly=True, cached=True) as repo:
            counting = _Counting()
            comparison = _Comparison(settings, repo, uncommitted=uncommitted)
            with comparison:
                nodes, found = comparison.run(old, new, ctx.meta["vfs.paths"], form, reverse)
                if form.letters or not quiet:
                    found = changes.wanted(nodes, found, form)
                if quiet:
                    counting.any = next(found, None) is not None
                else:
                    changes.write(comparison.files, counting.counted(found), form)
    except VfsError as error:
        if not (exit_code or quiet) or settings.debug:
            raise
        fail(str(error), hint=error.hint)
        ctx.exit(EXIT_TROUBLE)
    if (exit_code or quiet) and counting.any:
        ctx.exit(EXIT_DIFFERENT)


class _Counting:
    """Notices whether there was anything."""

    any = False

    def counted(self, found: Iterator[Difference]) -> Iterator[Difference]:
        """Yield *found*."""
        for difference in found:
            self.any = True
            yield difference


class _Comparison:
    """Two sides, where they come from, and what reads them."""

    def __init__(self, settings: Settings, repo: Repository, *, uncommitted: bool) -> None:
        from vfs.repo.blobs import FileReader

        self._settings = settings
        self._repo = repo
        self._passing: PassingObjects | None = None
        self._objects: ObjectSource = repo.reader
        if uncommitted:
            from vfs.repo.uncommitted import PassingObjects

            self._objects = self._passing = PassingObjects(repo.reader)
        self.files = FileReader(self._objects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._passing is not None:
            self._passing.close()

    def run(
        self,
        old: Target,
        new: Target | None,
        paths: tuple[Path, ...],
        form: changes.Form,
        reverse: bool,
    ) -> tuple[Nodes, Iterator[Difference]]:
        """Return what reads the trees of both sides, and how they differ."""
        from vfs.repo.trees import Nodes

        if self._passing is not None and new is None:
            if not self._is_branch(old):
                raise NotFound(
                    f"'{old}' is no branch, and has nothing that is not committed",
                    hint="name a branch, or two versions",
                )
            roots = self._live(old)
        else:
            new = new or Target(old.data_set, "", old.path)
            roots = self._root(old), self._root(new)
        nodes = Nodes(self._objects)
        tops = self._tops(nodes, roots, (old, new or old))
        if reverse:
            tops = tops[1], tops[0]
        return nodes, self._found(nodes, tops, paths, form)

    def _found(
        self, nodes: Nodes, tops: tuple[Entry, Entry], paths: tuple[Path, ...], form: changes.Form
    ) -> Iterator[Difference]:
        from vfs.repo.treediff import differences

        if not paths:
            top = b"" if tops[0].is_dir and tops[1].is_dir else tops[1].name
            return differences(nodes, *tops, top, times=form.times)
        return at_paths(nodes, tops, paths, times=form.times)

    def _tops(
        self, nodes: Nodes, roots: tuple[Entry, Entry], targets: tuple[Target, Target]
    ) -> tuple[Entry, Entry]:
        from vfs.repo.history import entry_or_none

        tops = []
        for root, target in zip(roots, targets, strict=True):
            entry = entry_or_none(nodes, root, target.path)
            if entry is None:
                raise NotFound(f"there is no '{output.printable(str(target))}'")
            tops.append(entry)
        return tops[0], tops[1]

    def _root(self, target: Target) -> Entry:
        if self._passing is not None and self._is_branch(target):
            return self._live(target)[1]
        return find_commit(self._repo, target)[1].root

    def _is_branch(self, target: Target) -> bool:
        branches = [ref.name for ref in self._repo.refs(target.data_set) if ref.kind == "branch"]
        return (target.revision or DEFAULT_BRANCH) in (branches or [DEFAULT_BRANCH])

    def _live(self, target: Target) -> tuple[Entry, Entry]:
        from vfs.repo.uncommitted import uncommitted_root

        assert self._passing is not None
        store_what_is_served(self._settings, target)
        branch = target.revision or DEFAULT_BRANCH
        return uncommitted_root(self._repo, target.data_set, branch, self._passing)


def at_paths(
    nodes: Nodes, roots: tuple[Entry, Entry], paths: tuple[Path, ...], *, times: bool
) -> Iterator[Difference]:
    """Yield what differs at *paths* and below. Raises NotFound for one that neither side has."""
    from vfs.repo.history import entry_or_none
    from vfs.repo.treediff import differences

    sides: list[tuple[Path, Entry | None, Entry | None]] = []
    for path in _outermost(paths):
        old, new = (entry_or_none(nodes, root, path) for root in roots)
        if old is None and new is None:
            shown = output.path_text(b"/".join(path))
            raise NotFound(f"there is no '{shown}' in either version")
        sides.append((path, old, new))
    return (
        difference
        for path, old, new in sides
        for difference in differences(nodes, old, new, b"/".join(path), times=times)
    )


def _outermost(paths: tuple[Path, ...]) -> list[Path]:
    """Return *paths* sorted, without those below others."""
    found: list[Path] = []
    for path in sorted(paths):
        if not found or path[: len(found[-1])] != found[-1]:
            found.append(path)
    return found
