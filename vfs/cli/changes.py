"""How differences between versions are written, and the options of all commands that do so."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from vfs.cli import output
from vfs.cli.browse import KINDS, entry_record
from vfs.cli.command import note

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.blobs import FileReader
    from vfs.repo.treediff import Difference, DifferenceKind, Summary
    from vfs.repo.trees import Nodes

Style = Literal["sizes", "name-status", "name-only", "stat", "patch", "json"]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What of the differences is wanted, and how they are written."""

    style: Style
    json: bool
    zero: bool
    exact: bool
    collapse: bool
    times: bool
    rename_limit: int
    letters: str  # of those that are wanted; none for all


def change_options(function: Function) -> Function:
    """Give a command the options of which `form_of` makes a Form."""
    for option in reversed(
        (
            click.option("-p", "--patch", is_flag=True, help="Show the lines that changed."),
            click.option("--stat", is_flag=True, help="Show only how much there is of each kind."),
            click.option("--name-status", is_flag=True, help="Show letters and paths, with a tab."),
            click.option("--name-only", is_flag=True, help="Show paths alone."),
            click.option("-z", "zero", is_flag=True, help="End with NUL, not newline: any name."),
            click.option("-b", "--bytes", "exact", is_flag=True, help="Show sizes in bytes."),
            click.option(
                "--collapse",
                is_flag=True,
                help="A directory that was added or deleted is one line, whatever it holds.",
            ),
            click.option(
                "--filter",
                "letters",
                metavar="LETTERS",
                default="",
                help="Only changes of these letters: AMmT, with --no-renames, are all to copy.",
            ),
            click.option("--ignore-times", is_flag=True, help="Another time alone is no change."),
            click.option("--no-renames", is_flag=True, help="Don't look for renames."),
            click.option(
                "--rename-limit",
                metavar="N",
                type=click.IntRange(min=1),
                default=50_000,
                show_default=True,
                help="Look for renames among N changes; where there are more, there are none.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts."),
        )
    ):
        function = option(function)
    return function


def form_of(ctx: click.Context, options: dict[str, Any]) -> Form:
    """Return what the options of `change_options` ask for."""
    named = [name for name in ("patch", "stat", "name_status", "name_only") if options[name]]
    if len(named) > 1 or (options["as_json"] and named not in ([], ["stat"])):
        both = [f"--{name.replace('_', '-')}" for name in (*named, *["json"] * options["as_json"])]
        raise click.UsageError(f"{both[0]} and {both[1]} can't stand together", ctx)
    style: Any = named[0].replace("_", "-") if named else "json" if options["as_json"] else "sizes"
    if options["zero"] and style not in ("name-status", "name-only"):
        raise click.UsageError("-z stands with --name-only or --name-status", ctx)
    if unknown := set(options["letters"]) - set("AMmDRT"):
        letter = output.printable(min(unknown))
        raise click.UsageError(f"--filter takes letters of AMmDRT, and '{letter}' is none", ctx)
    return Form(
        style=style,
        json=options["as_json"],
        zero=options["zero"],
        exact=options["exact"],
        collapse=options["collapse"],
        times=not options["ignore_times"],
        rename_limit=0 if options["no_renames"] else options["rename_limit"],
        letters=options["letters"],
    )


def wanted(nodes: Nodes, found: Iterator[Difference], form: Form) -> Iterator[Difference]:
    """Yield differences as *form* wants them: with renames, and with all that directories hold."""
    shown = _renamed(nodes, found, form)
    if form.letters:
        return (difference for difference in shown if difference.letter[0] in form.letters)
    return shown


def _renamed(nodes: Nodes, found: Iterator[Difference], form: Form) -> Iterator[Difference]:
    from vfs.repo.renames import with_renames
    from vfs.repo.treediff import expand

    if not form.rename_limit:
        for difference in found:
            yield from (difference,) if form.collapse else expand(nodes, difference)
        return
    yield from with_renames(
        nodes,
        found,
        limit=form.rename_limit,
        whole=form.collapse,
        times=form.times,
        cut=lambda: note(
            f"more than {form.rename_limit:,} changes: none is shown as a rename (--rename-limit)"
        ),
    )


def write(files: FileReader, found: Iterator[Difference], form: Form) -> None:
    """Write differences; *files* reads those of both versions."""
    if form.style == "stat":
        _write_stat(found, form)
    elif form.style == "json":
        output.write_json_list(map(record, found))
    elif form.style == "patch":
        from vfs.cli.patch import write_patch

        write_patch(files, found)
    elif form.zero:
        output.write_all_of(_zero_record(difference, form) for difference in found)
    else:
        output.write_lines(_line(difference, form) for difference in found)


def _line(difference: Difference, form: Form) -> bytes:
    path = shown_path(difference.path, difference)
    if form.style == "name-only":
        return path
    if form.style == "name-status":
        old = difference.old_path
        parts = [
            difference.letter.encode(),
            *([] if old is None else [shown_path(old, difference)]),
        ]
        return b"\t".join((*parts, path))
    if difference.old_path is not None:
        path = shown_path(difference.old_path, difference) + b" -> " + path
    size = _growth(difference, form)
    return f"{difference.letter:<2} {size:>11}  ".encode() + path + _details(difference).encode()


def shown_path(path: bytes, difference: Difference) -> bytes:
    """Return a path for standard output; that of a directory ends with a slash."""
    return (output.name_bytes(path) or b".") + (b"/" if difference.is_dir else b"")


def _zero_record(difference: Difference, form: Form) -> bytes:
    slash = b"/" if difference.is_dir else b""
    parts = [(difference.path or b".") + slash]
    if form.style == "name-status":
        if difference.old_path is not None:
            parts.insert(0, difference.old_path + slash)
        parts.insert(0, difference.letter.encode())
    return b"\0".join(parts) + b"\0"


def _growth(difference: Difference, form: Form) -> str:
    """Return by how much the content grew; nothing where there is no other content."""
    if difference.kind == "renamed" or difference.letter == "m":
        return ""
    if difference.kind != "type changed" and difference.is_dir and not difference.whole:
        return ""
    from vfs.repo.treediff import Summary

    sums = Summary()
    sums.add(difference)
    return growth(sums.new_bytes - sums.old_bytes, exact=form.exact)


def growth(count: int, *, exact: bool = False) -> str:
    """Return a number of bytes with its sign."""
    text = f"{abs(count):,}" if exact else output.size(abs(count))
    return f"{'+' if count > 0 else '-' if count else ''}{text}"


def _details(difference: Difference) -> str:
    """Return what more there is to say in a line."""
    old, new = difference.old, difference.new
    if difference.whole and difference.kind != "renamed":
        from vfs.repo.treediff import Summary

        sums = Summary()
        sums.add(difference)
        return f"  ({output.plural(sums.files, 'file')})"
    if old is None or new is None:
        return ""
    if difference.kind == "type changed":
        return f"  ({KINDS[old.kind]} -> {KINDS[new.kind]})"
    changed = [_detail(aspect, old, new) for aspect in difference.aspects if aspect != "content"]
    if "content" in difference.aspects:
        changed = [text for text in changed if text != "time"]  # it follows from the other
    return f"  ({', '.join(changed)})" if changed else ""


def _detail(aspect: str, old: Entry, new: Entry) -> str:
    if aspect == "mode":
        return f"mode {stat.S_IMODE(old.mode):04o} -> {stat.S_IMODE(new.mode):04o}"
    if aspect == "owner":
        return f"owner {old.uid}:{old.gid} -> {new.uid}:{new.gid}"
    return aspect


def record(difference: Difference) -> dict[str, Any]:
    """Return a difference for JSON."""
    fields: dict[str, Any] = {
        **output.text_fields("path", difference.path or b"."),
        "kind": difference.kind,
        "directory": difference.is_dir,
        "changed": list(difference.aspects),
    }
    if difference.old_path is not None:
        fields |= output.text_fields("old_path", difference.old_path)
    for side, entry in (("old", difference.old), ("new", difference.new)):
        fields[side] = None if entry is None else _side(entry)
    return fields


def _side(entry: Entry) -> dict[str, Any]:
    facts = entry_record(b"", entry)
    del facts["path"]
    return facts


# summaries


def _write_stat(found: Iterable[Difference], form: Form) -> None:
    from vfs.repo.treediff import summarize

    sums = summarize(iter(found))
    if form.json:
        output.write_json(summary_record(sums))
        return
    for kind, one in sums.items():
        grown = growth(one.new_bytes - one.old_bytes, exact=form.exact)
        click.echo(
            f"{kind:<13} {output.plural(one.files, 'file'):>16} "
            f"{output.plural(one.directories, 'directory'):>18} {grown:>16}"
        )
    if len(sums) > 1:
        total = sum(one.new_bytes - one.old_bytes for one in sums.values())
        click.echo(f"{'together':<13} {'':>16} {'':>18} {growth(total, exact=form.exact):>16}")


def summary_record(sums: dict[DifferenceKind, Summary]) -> dict[str, Any]:
    """Return a summary for JSON."""
    return {
        kind: {
            "files": one.files,
            "directories": one.directories,
            "old_bytes": one.old_bytes,
            "new_bytes": one.new_bytes,
        }
        for kind, one in sums.items()
    }


def summary_line(sums: dict[DifferenceKind, Summary]) -> str:
    """Return a summary in a line."""
    if not sums:
        return "no changes"
    counts = [
        f"{one.files:,} {kind}"
        if one.files
        else f"{output.plural(one.directories, 'directory')} {kind}"
        for kind, one in sums.items()
    ]
    total = sum(one.new_bytes - one.old_bytes for one in sums.values())
    return f"{', '.join(counts)}; {growth(total)}"
