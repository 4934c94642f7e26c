"""Commands about the store as a whole: init, create, stats."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, DirectoryType, Settings, json_option, pass_settings
from vfs.cli.targets import TargetType

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.repo.stats import StoreStats


@click.command(
    cls=Command,
    examples=(
        ("Make the store that commands use by default", "vfs init"),
        ("Make one elsewhere, and use it", "vfs init /data/store; export VFS_STORE=/data/store"),
    ),
)
@click.argument(
    "path",
    required=False,
    type=DirectoryType(),
    help="Where to make it: a new or empty directory. Without it, where --store says.",
)
@pass_settings
def init(settings: Settings, /, path: Path | None) -> None:
    """Make a store.

    A store is a directory that holds data sets with all their versions. Everything in it is
    compressed, verified when it is read, and stored once however many versions share it. Several
    programs may use a store at once. It must be on a local disk.
    """
    from vfs.repo.repository import Repository

    where = path or settings.store
    with Repository.create(where) as repo:
        click.echo(f"made a store in {output.printable(str(repo.store.path))}")


@click.command(
    cls=Command,
    examples=(
        ("Make two data sets", "vfs create images labels"),
        ("Make one while importing its first version", "vfs import --create ./images images -m v1"),
    ),
)
@click.argument(
    "data_sets",
    metavar="NAME...",
    nargs=-1,
    required=True,
    type=TargetType(revision=False),
    help="The new data set: letters, digits, '.', '_' and '-'.",
)
@pass_settings
def create(settings: Settings, /, data_sets: tuple[Target, ...]) -> None:
    """Make data sets.

    A new data set is empty: its first version comes with 'vfs import'.
    """
    with settings.repository() as repo:
        for target in data_sets:
            repo.create_data_set(target.data_set)
            click.echo(f"made the data set {target.data_set}")


@click.command(
    cls=Command,
    examples=(
        ("What there is, and what is saved", "vfs stats"),
        ("Bytes on the disk, in a script", "vfs stats --json | jq .file_bytes"),
    ),
)
@json_option
@pass_settings
def stats(settings: Settings, /, as_json: bool) -> None:
    """Show what the store holds and saves.

    FILES and SIZE are those of the newest version, ALL VERSIONS is what all of them would take as
    copies. The second table leads from there to what the disk holds. The logical size, of all
    versions as copies, less what is saved by deduplication (equal content is stored once), less
    what is saved by compression (PART: of what is left by then) is the stored content. The disk
    also holds metadata (names, attributes, commits), an index and free pages.

    Content of no version, which an import stored before it failed or a deleted branch led to, makes
    "saved by deduplication" smaller. What is more than that stands in a row of its own, "in no
    version", and is to be added.

    JSON: versions, objects, logical_bytes (all versions), saved_by_deduplication, unique_bytes
    (each content once, that of no version too), saved_by_compression, stored_bytes,
    metadata_bytes, file_bytes (on the disk), and data_sets, a list of name, branches, tags,
    versions, files, bytes (of the newest version), logical_bytes.
    """
    from vfs.repo.stats import store_stats

    with settings.repository(readonly=True, cached=True) as repo:
        found = store_stats(repo)
    if as_json:
        output.write_json(_record(found))
        return
    if found.data_sets:
        output.write_table(
            ("DATA SET", ">VERSIONS", ">BRANCHES", ">TAGS", ">FILES", ">SIZE", ">ALL VERSIONS"),
            [
                (
                    one.name,
                    *(f"{n:,}" for n in (one.versions, one.branches, one.tags, one.files)),
                    output.size(one.bytes),
                    output.size(one.logical_bytes),
                )
                for one in found.data_sets
            ],
            cut=False,
        )
        click.echo()
    output.write_table(("STORE", ">SIZE", ">PART"), _savings(found), cut=False)


def _record(found: StoreStats) -> dict[str, Any]:
    return {
        "versions": found.versions,
        "objects": found.objects,
        "logical_bytes": found.logical_bytes,
        "saved_by_deduplication": found.saved_by_deduplication,
        "unique_bytes": found.unique_bytes,
        "saved_by_compression": found.saved_by_compression,
        "stored_bytes": found.stored_bytes,
        "metadata_bytes": found.metadata_bytes,
        "file_bytes": found.file_bytes,
        "data_sets": [asdict(data_set) for data_set in found.data_sets],
    }


def _savings(found: StoreStats) -> list[tuple[str, str, str]]:
    def part(count: int, whole: int) -> str:
        return f"{100 * count / whole:.1f} %" if whole else ""

    logical, unique = found.logical_bytes, found.unique_bytes
    saved, squeezed = found.saved_by_deduplication, found.saved_by_compression
    in_no_version = unique + saved - logical  # known only where it is more than what is saved
    rows = (
        (f"logical size, {output.plural(found.versions, 'version')}", logical, ""),
        ("saved by deduplication", saved, part(saved, logical)),
        *([("in no version", in_no_version, "")] if in_no_version else []),
        ("saved by compression", squeezed, part(squeezed, unique)),
        ("stored content", found.stored_bytes, part(found.stored_bytes, logical)),
        (f"metadata, {output.plural(found.objects, 'object')}", found.metadata_bytes, ""),
        ("on the disk", found.file_bytes, part(found.file_bytes, logical)),
    )
    return [(name, output.size(count), share) for name, count, share in rows]
