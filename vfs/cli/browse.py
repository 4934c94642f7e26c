"""Commands that look into versions without a mount: ls and cat."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.targets import TargetType, find_commit
from vfs.clock import NS, iso
from vfs.errors import Erased, IsADirectory, NotSupported
from vfs.model.entry import Entry, Extra, directory_totals

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.repo.repository import Repository

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@click.command(
    cls=Command,
    examples=(
        ("All data sets, with their branches and tags", "vfs ls"),
        ("The files of the newest version", "vfs ls data"),
        ("A directory of v3, with modes, sizes and times", "vfs ls -l data@v3:images"),
        ("All files of v3, with their paths", "vfs ls -R data@v3"),
        ("The ten largest", "vfs ls -R --json data@v3 | jq -r 'sort_by(-.size)[:10][].path'"),
    ),
)
@click.argument(
    "target",
    metavar="[DATASET[@REVISION][:PATH]]",
    required=False,
    type=TargetType(path=True),
    help="A version, or a directory or file in it. Without it, the data sets are listed.",
)
@click.option("-l", "--long", is_flag=True, help="Show mode, links, owner, size and time.")
@click.option("-R", "--recursive", is_flag=True, help="List directories within too, as paths.")
@click.option("-b", "--bytes", "exact", is_flag=True, help="With -l: sizes in bytes.")
@json_option
@pass_settings
def ls(
    settings: Settings,
    /,
    target: Target | None,
    long: bool,
    recursive: bool,
    exact: bool,
    as_json: bool,
) -> None:
    r"""List data sets, or the files of a version.

    Names that hold control characters or are not UTF-8 are escaped (\xff) on a terminal, and
    written as they are to a pipe or file. The size of a directory is that of all files below it.

    JSON: a list. Of files: path, kind, mode (octal), uid, gid, size (bytes; of a directory all
    files below it), mtime (UTC), links, and where it applies content (the id: equal ids, equal
    content), target (of a symbolic link), device, files (of a directory: how many are below it).
    A name that is not UTF-8 has U+FFFD for the odd bytes, and the exact bytes in path_base64.
    """
    with settings.repository(readonly=True, cached=True) as repo:
        if target is None:
            _list_data_sets(repo, as_json=as_json)
            return
        found = _walk(repo, target, recursive=recursive)
        if as_json:
            output.write_json_list(entry_record(path, entry) for path, entry in found)
        else:
            output.write_lines(_lines(found, long=long, exact=exact))


def _lines(found: Iterable[tuple[bytes, Entry]], *, long: bool, exact: bool) -> Iterator[bytes]:
    for path, entry in found:
        line = _styled(output.name_bytes(path), entry)
        yield _details(entry, exact=exact) + line + _arrow(entry) if long else line


def _list_data_sets(repo: Repository, *, as_json: bool) -> None:
    from vfs.cli.refs import COLUMNS, ref_cells, ref_record

    listed = [(name, repo.refs(name)) for name in repo.data_sets()]
    if as_json:
        output.write_json(
            [{"name": n, "refs": [ref_record(repo, ref) for ref in refs]} for n, refs in listed]
        )
        return
    if not listed:
        note("the store holds no data set; 'vfs create NAME' makes one")
        return
    rows = []
    for name, refs in listed:
        rows += [(f"{name}@{ref.name}", ref.kind, *ref_cells(repo, ref)) for ref in refs]
        if not refs:
            rows.append((name, "empty", "", "", "", "", ""))
    output.write_table(("VERSION", "KIND", *COLUMNS), rows)


def _walk(repo: Repository, target: Target, *, recursive: bool) -> Iterator[tuple[bytes, Entry]]:
    """Yield paths below *target* with their entries, in the order of their names."""
    _, commit = find_commit(repo, target)
    top = repo.entry_at(commit.root, target.path)
    if not top.is_dir:
        yield b"/".join(target.path), top
        return
    # An explicit stack: a tree may be deeper than Python's recursion goes.
    stack = [(b"", repo.entries(top.content))]
    while stack:
        prefix, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        yield prefix + entry.name, entry
        if recursive and entry.is_dir:
            stack.append((prefix + entry.name + b"/", repo.entries(entry.content)))


def entry_record(path: bytes, entry: Entry) -> dict[str, Any]:
    """Return an entry for JSON."""
    extra = Extra.decode(entry.extra)
    record: dict[str, Any] = {
        **output.text_fields("path", path),
        "kind": KINDS[entry.kind],
        "mode": f"{stat.S_IMODE(entry.mode):04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": _size(entry),
        "mtime": iso_or_seconds(entry.mtime_ns),
        "links": _links(extra),
    }
    if any(entry.content):
        record["content"] = entry.content.hex()
    if extra.target:
        record.update(output.text_fields("target", extra.target))
    if extra.totals is not None:
        record["files"] = extra.totals.files
    if entry.kind in (stat.S_IFCHR, stat.S_IFBLK):
        record["device"] = [os.major(extra.rdev), os.minor(extra.rdev)]
    return record


def iso_or_seconds(time_ns: int) -> str:
    """Return a time in UTC with its nanoseconds; "@<seconds>" for a year beyond 9999."""
    try:
        return iso(time_ns, precise=True)
    except (ValueError, OverflowError, OSError):
        seconds, nanos = divmod(time_ns, NS)
        return f"@{seconds}.{nanos:09d}"


def _size(entry: Entry) -> int:
    return directory_totals(entry).bytes if entry.is_dir else entry.size


def _links(extra: Extra) -> int:
    if extra.totals is not None:
        return 2 + extra.totals.subdirs
    return extra.link.nlink if extra.link is not None else 1


def _details(entry: Entry, *, exact: bool) -> bytes:
    extra = Extra.decode(entry.extra)
    if entry.kind in (stat.S_IFCHR, stat.S_IFBLK):
        amount = f"{os.major(extra.rdev)}, {os.minor(extra.rdev)}"
    else:
        amount = str(_size(entry)) if exact else output.size(_size(entry))
    return (
        f"{stat.filemode(entry.mode)} {_links(extra):>3} {_user(entry.uid):<8} "
        f"{_group(entry.gid):<8} {amount:>{12 if exact else 8}} "
        f"{output.local_time(entry.mtime_ns)} "
    ).encode()


def _arrow(entry: Entry) -> bytes:
    target = Extra.decode(entry.extra).target
    return b" -> " + output.name_bytes(target) if target else b""


def _styled(name: bytes, entry: Entry) -> bytes:
    ctx = click.get_current_context()
    if ctx.color is False or not sys.stdout.isatty():
        return name
    code = {stat.S_IFDIR: b"1;34", stat.S_IFLNK: b"36", stat.S_IFREG: b""}.get(entry.kind, b"33")
    if entry.is_file and entry.mode & 0o111:
        code = b"32"
    return b"\x1b[" + code + b"m" + name + b"\x1b[0m" if code else name


@cache
def _user(uid: int) -> str:
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def _group(gid: int) -> str:
    from grp import getgrgid

    try:
        return getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@click.command(
    cls=Command,
    examples=(
        ("A file of v3", "vfs cat data@v3:README"),
        ("The same file in two versions", "diff <(vfs cat data@v1:a.csv) <(vfs cat data@v2:a.csv)"),
        ("Several files, one after the other", "vfs cat data:part-1.csv data:part-2.csv > all.csv"),
    ),
)
@click.argument(
    "targets",
    metavar="DATASET[@REVISION]:PATH...",
    nargs=-1,
    required=True,
    type=TargetType(path=True),
    help="The file.",
)
@pass_settings
def cat(settings: Settings, /, targets: tuple[Target, ...]) -> None:
    """Write the content of files.

    Writes the bytes of files to standard output, one file after the other. Every byte was verified
    before it is written. Symbolic links are not followed.
    """
    with settings.repository(readonly=True, cached=True) as repo:
        for target in targets:
            _, commit = find_commit(repo, target)
            entry = repo.entry_at(commit.root, target.path)
            _check_is_content(target, entry)
            try:
                for data in repo.read_file(entry):
                    output.write_all(data)
            except Erased as error:
                raise Erased(f"'{target}' can't be read: {error}") from None


def _check_is_content(target: Target, entry: Entry) -> None:
    if entry.is_file:
        return
    if entry.is_dir:
        raise IsADirectory(f"'{target}' is a directory", hint=f"vfs ls '{target}' lists it")
    if link := Extra.decode(entry.extra).target:
        raise NotSupported(
            f"'{target}' is a symbolic link to '{os.fsdecode(link)}'",
            hint="name the file itself, or use a mount, where links are followed",
        )
    raise NotSupported(f"'{target}' is a {KINDS[entry.kind]}, and has no content")
