"""Arguments that name data sets, revisions and paths, and their completion from the store.

Completion never fails: without a store, or with a damaged one, there is nothing to offer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli.command import Command, Settings
from vfs.errors import InvalidName, VfsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.model.names import Target
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path

SCANNED_MAX: Final = 20_000  # entries looked at to complete a name: some 0.1 s
OFFERED_MAX: Final = 500


class TargetType(click.ParamType["Target"]):
    """`data[@REVISION][:PATH]`, or a part of it."""

    name = "target"

    def __init__(self, *, revision: bool = True, path: bool = False) -> None:
        self.revision = revision
        self.path = path

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Target:
        """Parse *value*; what can't be a target is a usage error."""
        from vfs.model.names import Target, parse_target

        if isinstance(value, Target):
            return value
        try:
            target = parse_target(value)
        except InvalidName as error:
            self.fail(f"{error}; {error.hint}" if error.hint else str(error), param, ctx)
        if target.path and not self.path:
            self.fail(f"'{value}' has a path, and none can stand here", param, ctx)
        if target.revision and not self.revision:
            self.fail(f"'{value}' has a revision, and only a data set can stand here", param, ctx)
        return target

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer data sets, then behind '@' revisions, then behind ':' paths."""
        from click.shell_completion import CompletionItem

        found: list[str] = []
        with suppress(VfsError, OSError), _repository(ctx) as repo:
            candidates = islice(self._candidates(repo, incomplete), OFFERED_MAX)
            # One by one, so that what was found before an error is offered.
            # Names that a shell's line can't hold are left out.
            found.extend(n for n in candidates if n.startswith(incomplete) and n.isprintable())
        return [CompletionItem(name) for name in found]

    def _candidates(self, repo: Repository, incomplete: str) -> Iterator[str]:
        data_set, at, revision = incomplete.partition("@")
        if ":" in (revision if at else data_set):
            if self.path:
                yield from _paths(repo, incomplete)
            return
        if at:
            yield from _revisions(repo, data_set)
            return
        names = [name for name in repo.data_sets() if name.startswith(incomplete)]
        yield from names
        if self.revision and len(names) == 1:
            yield from _revisions(repo, names[0])


class RefType(click.ParamType[str]):
    """The name of a branch or tag, or any revision, of the data set that stands before it."""

    name = "revision"

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer the references of the data set on the command line."""
        from click.shell_completion import CompletionItem

        target = ctx.params.get("target")
        # Behind an option that still lacks its value, click leaves all arguments unparsed.
        data_set = target.data_set if target else next(iter(ctx.args), "")
        found: list[str] = []
        with suppress(VfsError, OSError), _repository(ctx) as repo:
            found = [ref.name for ref in repo.refs(data_set) if ref.kind in self.kinds]
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


class RemoteType(click.ParamType[str]):
    """A remote's name, a URL, or a bundle's file."""

    name = "remote"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer the remotes that have a name."""
        from click.shell_completion import CompletionItem

        from vfs.sync.remotes import remote_places

        found: list[str] = []
        with suppress(VfsError, OSError), _repository(ctx) as repo:
            found = [place.name for place in remote_places(repo.store)]
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def remote_option(what: str) -> Callable[[Any], Any]:
    """Add --remote, with a name or URL or without; *what* is done to it."""
    return click.option(
        "--remote",
        "where",
        metavar="[REMOTE]",
        is_flag=False,
        flag_value="",
        type=RemoteType(),
        help=f"{what} a remote instead: its name or URL. [default: origin, or the only one]",
    )


def _repository(ctx: click.Context) -> Any:
    settings = ctx.find_object(Settings) or Settings()
    return settings.repository(readonly=True, cached=True)


def _revisions(repo: Repository, data_set: str) -> Iterator[str]:
    for ref in repo.refs(data_set):
        yield f"{data_set}@{ref.name}"
    yield f"{data_set}@latest"


def _paths(repo: Repository, incomplete: str) -> Iterator[str]:
    from vfs.model.names import Target, parse_target

    target = parse_target(incomplete)
    version = str(Target(target.data_set, target.revision))
    path = incomplete[len(version) + 1 :]
    directory = f"{version}:{path[: path.rfind('/') + 1]}"
    _, commit = find_commit(repo, target)
    entry = repo.entry_at(commit.root, parse_target(directory).path)
    for child in islice(repo.entries(entry.content), SCANNED_MAX):
        name = directory + os.fsdecode(child.name) + ("/" if child.is_dir else "")
        if name.startswith(incomplete):
            yield name


def find_commit(repo: Repository, target: Target) -> tuple[ObjectId, Commit]:
    """Return the commit that *target*'s revision stands for."""
    resolved = repo.resolve(target.data_set, target.revision)
    return resolved.commit, repo.commit(resolved.commit)


class EntryPathType(click.ParamType["Path"]):
    """A path in a branch."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the names on the way from the root."""
        from vfs.model.names import check_entry_name

        try:
            parts = os.fsencode(value).split(b"/")
            return tuple(check_entry_name(part) for part in parts if part not in (b"", b"."))
        except (InvalidName, UnicodeEncodeError) as error:
            self.fail(str(error), param, ctx)


class PathsCommand(Command):
    """A command that takes paths behind `--`: in `ctx.meta["vfs.paths"]`, as tuples of names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the paths away before click sees them, to whom they could be any argument."""
        paths: list[str] = []
        if "--" in args:
            at = args.index("--")
            args, paths = args[:at], args[at + 1 :]
        convert = EntryPathType().convert
        ctx.meta["vfs.paths"] = tuple(convert(path, None, ctx) for path in paths)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what stands in the synopsis."""
        return [*super().collect_usage_pieces(ctx), "[-- PATH...]"]


branch_argument = click.argument(
    "target",
    metavar="DATASET[@BRANCH]",
    type=TargetType(),
    help="The branch; main where none is named.",
)
