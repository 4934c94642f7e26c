"""The commands show and who: one version, and which version a file is from."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import changes, output
from vfs.cli.browse import KINDS, entry_record
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.targets import PathsCommand, TargetType, find_commit
from vfs.cli.versions import commit_record, commit_text, refs_by_commit
from vfs.clock import iso
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra, directory_totals

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.model.names import Target
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import Difference


@click.command(
    cls=PathsCommand,
    examples=(
        ("The newest version, and what it changed", "vfs show data"),
        ("The lines that v3 changed below a directory", "vfs show -p data@v3 -- labels"),
        ("How much v3 changed", "vfs show --stat data@v3"),
        ("All that is kept of a file", "vfs show data@v3:images/1.png"),
        ("The source that v3 was imported from", "vfs show data@v3 --json | jq .provenance"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="The version, or a file or directory in it.",
)
@changes.change_options
@click.pass_context
@pass_settings
def show(settings: Settings, ctx: click.Context, /, target: Target, **options: Any) -> None:
    """Show a version and what it changed, or a file.

    Of a version: what vfs log says of it, and its changes against its first parent, written as
    vfs diff writes them. Of a file or directory in it: type, mode, owner, size, time, content,
    attributes, and the version that made it what it is.

    JSON: of a version what vfs log --json has, and changes, a list as vfs diff --json has it (with
    --stat: numbers by kind). Of a file what vfs ls --json has, xattrs (Base64), and introduced,
    the version that made it what it is: commit, author, time.
    """
    form = changes.form_of(ctx, options)
    with settings.repository(readonly=True, cached=True) as repo:
        oid, commit = find_commit(repo, target)
        if target.path:
            _show_entry(repo, oid, commit, target, as_json=form.json)
            return
        refs = refs_by_commit(repo, target.data_set)[oid]
        found = _changes(repo, commit, ctx.meta["vfs.paths"], form)
        if form.json:
            record = commit_record(oid, commit, refs)
            if form.style == "stat":
                from vfs.repo.treediff import summarize

                record["changes"] = changes.summary_record(summarize(found))
            else:
                record["changes"] = list(map(changes.record, found))
            output.write_json(record)
            return
        for line in commit_text(oid, commit, refs):
            click.echo(line)
        if len(commit.parents) > 1:
            first = commit.parents[0].hex()[: output.ID_DIGITS]
            note(f"changes against the first parent, {first}")
        from vfs.repo.blobs import FileReader

        changes.write(FileReader(repo.reader), found, form)


def _changes(
    repo: Repository, commit: Commit, paths: tuple[tuple[bytes, ...], ...], form: changes.Form
) -> Iterator[Difference]:
    from vfs.cli.diff import at_paths
    from vfs.repo.treediff import differences

    # The first version is compared with a directory in which there is nothing.
    empty = commit.root._replace(content=NO_CONTENT)
    parents = repo.whole_parents(commit)
    old = repo.commit(parents[0]).root if parents else empty
    if paths:
        found = at_paths(repo.nodes, (old, commit.root), paths, times=form.times)
    else:
        found = differences(repo.nodes, old, commit.root, times=form.times)
    return changes.wanted(repo.nodes, found, form)


def _show_entry(
    repo: Repository, oid: ObjectId, commit: Commit, target: Target, *, as_json: bool
) -> None:
    entry = repo.entry_at(commit.root, target.path)
    introduced = _introduced(repo, oid, target)
    if as_json:
        import base64

        record = entry_record(b"/".join(target.path), entry)
        record["xattrs"] = [
            {**output.text_fields("name", name), "value": base64.b64encode(value).decode()}
            for name, value in Extra.decode(entry.extra).xattrs
        ]
        record["introduced"] = _version_record(repo, introduced)
        output.write_json(record)
        return
    record = entry_record(b"/".join(target.path), entry)
    for title, text in _facts(record, entry):
        click.echo(f"{title + ':':<12}{text}")
    click.echo(f"{'Introduced:':<12}{_version_text(repo, introduced)}")


def _facts(record: dict[str, Any], entry: Entry) -> Iterator[tuple[str, str]]:
    extra = Extra.decode(entry.extra)
    yield "Path", output.printable(record["path"])
    yield "Kind", KINDS[entry.kind]
    yield "Mode", f"{stat.S_IMODE(entry.mode):04o} ({stat.filemode(entry.mode)})"
    yield "Owner", f"{entry.uid}:{entry.gid}"
    yield "Size", f"{output.size(record['size'])} ({record['size']:,} bytes)"
    if entry.is_dir:
        totals = directory_totals(entry)
        below = output.plural(totals.dirs - 1, "directory")
        yield "Holds", f"{output.plural(totals.files, 'file')}, {below}"
    yield "Modified", output.local_time(entry.mtime_ns)
    if "content" in record:
        yield "Content", record["content"]
    if extra.holes:
        yield "Holes", f"{extra.holes:,} bytes"
    if extra.target:
        yield "Target", output.path_text(extra.target)
    if "device" in record:
        yield "Device", "{}, {}".format(*record["device"])
    if extra.link:
        yield "Links", str(extra.link.nlink)
    for name, value in extra.xattrs:
        yield "Attribute", f"{output.path_text(name)} ({len(value)} bytes)"


def _introduced(repo: Repository, oid: ObjectId, target: Target) -> ObjectId:
    """Return the version that made the entry at a path what it is."""
    from vfs.repo.history import Filter, history

    for version in history(repo, oid, Filter(paths=[target.path])):
        if version.shown:
            return version.id
    return oid


def _version_record(repo: Repository, oid: ObjectId) -> dict[str, Any]:
    commit = repo.commit(oid)
    return {
        "commit": oid.hex(),
        **output.text_fields("author", commit.author),
        "time": iso(commit.time_ns, precise=True),
    }


def _version_text(repo: Repository, oid: ObjectId) -> str:
    commit = repo.commit(oid)
    when = output.local_time(commit.time_ns)
    return f"{oid.hex()[: output.ID_DIGITS]} {when} {output.printable(commit.author)}"


@click.command(
    cls=Command,
    examples=(
        ("The version that each entry of the root is from", "vfs who data"),
        ("Of a directory in v3", "vfs who data@v3:images"),
        ("Of one file", "vfs who data@v3:images/1.png"),
        ("Of all files below", "vfs who -r data@v3:images"),
        (
            "How many files each author put there",
            "vfs who -r data --json | jq -r '.[].author' | sort | uniq -c",
        ),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="A version, or a directory or file in it.",
)
@click.option("-r", "--recursive", is_flag=True, help="Show all files below, not directories.")
@json_option
@pass_settings
def who(settings: Settings, /, target: Target, recursive: bool, as_json: bool) -> None:
    """Show which version each file is from.

    For each entry of a directory: the version that made it what it is now (its content, its mode,
    owner, time and attributes), when, and by whom. Of a directory it is the last version in which
    anything below it changed.

    JSON: a list of path, commit, author, time (UTC).
    """
    with settings.repository(readonly=True, cached=True) as repo:
        oid, commit = find_commit(repo, target)
        top = repo.entry_at(commit.root, target.path)
        found = _who(repo, oid, target, top, recursive=recursive)
        if as_json:
            output.write_json_list(
                {**output.text_fields("path", path), **_version_record(repo, by)}
                for path, by in found
            )
            return
        texts: dict[ObjectId, bytes] = {}
        output.write_lines(_who_line(repo, path, by, texts) for path, by in found)


def _who_line(repo: Repository, path: bytes, by: ObjectId, texts: dict[ObjectId, bytes]) -> bytes:
    text = texts.get(by)
    if text is None:
        text = texts[by] = _version_text(repo, by).encode("utf-8", "backslashreplace")
    return text + b"  " + output.name_bytes(path)


def _who(
    repo: Repository, oid: ObjectId, target: Target, top: Entry, *, recursive: bool
) -> Iterator[tuple[bytes, ObjectId]]:
    """Yield paths and the versions that they are from."""
    if not top.is_dir:
        yield b"/".join(target.path), _introduced(repo, oid, target)
        return
    from vfs.repo.treediff import all_pairs
    from vfs.repo.who import Introductions

    introductions = Introductions(repo, oid, target.path, recursive=recursive)
    if not recursive:
        for entry in repo.entries(top.content):
            yield entry.name + b"/" * entry.is_dir, introductions.of(entry.name)
        return
    for path, _, below in all_pairs(repo.nodes, NO_CONTENT, top.content):
        if below is not None and not below.is_dir:
            yield path, introductions.of(path)
