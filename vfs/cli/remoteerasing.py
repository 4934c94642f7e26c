"""What 'vfs erase --remote' does and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import note, warn
from vfs.cli.secrets import unlockable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from vfs.repo.erasing import Outcome
    from vfs.repo.repository import Repository


def erase_from_remotes(
    repo: Repository,
    names: Sequence[str],
    done: Outcome | None,
    progress: Callable[[], AbstractContextManager[Callable[[str, int], None]]],
) -> list[dict[str, Any]]:
    """Erase from remotes all that was erased from the store; return what that came to, as JSON.

    *done*: what was erased just now, if anything. *progress* is entered for each remote once it is
    open: before, a passphrase may be asked for.
    """
    from vfs.sync.erasing import erase_from_remote
    from vfs.sync.remotes import connected, find_remote

    contents = frozenset(one.oid for one in done.plan.contents) if done else frozenset()
    reached = []
    for name in names:
        place = unlockable(find_remote(repo.store, name))
        with connected(repo.store, place) as remote, progress() as on_progress:
            outcome = erase_from_remote(repo.store, remote, on_progress, contents=contents)
        reached.append(
            {
                "remote": name,
                "chunks": outcome.chunks,
                "packs": outcome.packs,
                "unknown_packs": outcome.unknown_packs,
            }
        )
    return reached


def write_remotes(repo: Repository, done: Sequence[dict[str, Any]]) -> None:
    """Say what was reached, and which remotes were not."""
    from vfs.sync.remotes import remote_places

    for one in done:
        chunks, packs = output.plural(one["chunks"], "chunk"), output.plural(one["packs"], "pack")
        click.echo(f"erased {chunks} from the remote {one['remote']}, which were in {packs}")
        if one["unknown_packs"]:
            warn(
                f"{output.plural(one['unknown_packs'], 'pack')} of unfinished pushes are there, "
                "and may hold some of it: vfs gc --remote removes them"
            )
    if done:
        note("not reached: copies that the service keeps itself (versions, backups), and clones")
    reached = {one["remote"] for one in done}
    for place in remote_places(repo.store):
        if place.name not in reached and place.url not in reached:
            warn(f"the remote {place.name} may have it still: vfs erase --remote {place.name}")
