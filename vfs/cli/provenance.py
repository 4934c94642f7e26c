"""The command provenance: what a version was made from, and what was made from it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.targets import TargetType
from vfs.errors import NotSupported

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.names import Target
    from vfs.run.lineage import Lineage, Source, Step, Use

COMMAND_MAX: Final = 60  # characters of a command, in a line
DOT_SECONDS: Final = 120


@click.command(
    cls=Command,
    examples=(
        ("What the newest results were made from", "vfs provenance results@main"),
        ("What one file was made from", "vfs provenance models@v2:model.pt"),
        ("Which models saw this record", "vfs provenance --reverse data@v3:images/0042.jpg"),
        ("Draw it", "vfs provenance models@v2 --svg models.svg"),
        ("All that was recorded, in a script", "vfs provenance models@v2 --json | jq .versions"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="A version, or a file or directory in it.",
)
@click.option("--reverse", is_flag=True, help="Show what was made from it, in all data sets.")
@json_option
@click.option("--dot", is_flag=True, help="Write a graph in the language of graphviz.")
@click.option(
    "--svg",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the graph into a file, with graphviz.",
)
@click.pass_context
@pass_settings
def provenance(
    settings: Settings,
    ctx: click.Context,
    /,
    target: Target,
    reverse: bool,
    as_json: bool,
    dot: bool,
    svg: Path | None,
) -> None:
    """Show what a version was made from, or what was made from it.

    A version, or a path in it, was made by the versions that brought what it holds now. For each
    that vfs run has made, its inputs are shown, the versions that brought what those held, and so
    on.

    With --reverse: the runs that had it as an input, the runs that had what those made, and so on.
    Of a path, all runs count that had the same file at this path, in whichever version; those with
    a ledger (vfs run --ledger) only if they read it.

    JSON: data_set, commit, path, made_by or used_by, and versions: by id, what each is, and for
    those of runs the whole record (see docs/provenance.md).
    """
    if as_json + dot + (svg is not None) > 1:
        raise click.UsageError("--json, --dot and --svg can't stand together", ctx)
    from vfs.run.lineage import made_from, made_of

    with settings.repository(readonly=True, cached=True) as repo:
        found = repo.resolve(target.data_set, target.revision).commit
        if reverse:
            lineage = made_of(repo, target.data_set, found, target.path)
        else:
            lineage = made_from(repo, found, target.path)
    if as_json:
        output.write_json(_document(target, found, lineage, reverse=reverse))
    elif dot or svg is not None:
        text = "\n".join(_dot_lines(target, found, lineage))
        if svg is None:
            click.echo(text)
        else:
            _draw(text, svg)
    else:
        _write_tree(target, found, lineage, reverse=reverse)


def _short(oid: ObjectId) -> str:
    return oid.hex()[: output.ID_DIGITS]


def _label(oid: ObjectId, step: Step) -> str:
    """Return a line about a version: its name, what made it, and when."""
    record = step.commit.provenance
    kind = str(record.get("kind", "?"))
    what = step.commit.message.partition("\n")[0]
    if kind in ("run", "pipeline"):
        words: Any = record.get("command", ())
        what = shlex.join(words)
    time = output.local_time(step.commit.time_ns)
    name = f"{step.data_set}@{_short(oid)}"
    return output.printable(f"{name}  {kind}  {time}  {_cut(what)}")


def _cut(text: str) -> str:
    return text if len(text) <= COMMAND_MAX else text[: COMMAND_MAX - 3] + "..."


def _input_label(facts: Any) -> str:
    path = f":{facts['path']}" if facts["path"] else ""
    name = f"{facts['data_set']}@{facts['revision']}{path}"
    read = facts.get("read")
    count = f", {read['files']:,} of {read['of']:,} files read" if read else ""
    return output.printable(
        f"{facts['name']}: {name} ({facts['commit'][: output.ID_DIGITS]}{count})"
    )


Node = Callable[[], tuple[str, "list[Node]"]]
"""Gives its line and the nodes below it, when its turn has come."""


def _write_tree(target: Target, found: ObjectId, lineage: Lineage, *, reverse: bool) -> None:
    click.echo(f"{output.printable(str(target))} ({_short(found)})")
    tree = _Tree(lineage)
    top = tree.uses(lineage.used_by) if reverse else tree.versions(lineage.made_by)
    for line in _drawn(top):
        click.echo(line)
    if reverse and not lineage.used_by:
        note("no run had it as an input")


class _Tree:
    """The nodes of a lineage; what was shown once is not unfolded again."""

    def __init__(self, lineage: Lineage) -> None:
        self._steps = lineage.steps
        self._seen: set[ObjectId] = set()

    def versions(self, ids: Sequence[ObjectId]) -> list[Node]:
        """Return a node for each version, with its inputs."""
        return [partial(self._version, oid, "") for oid in ids]

    def uses(self, uses: Sequence[Use]) -> list[Node]:
        """Return a node for each run, with what used what it made."""
        nodes: list[Node] = []
        for use in uses:
            how = f"as {use.name}" + (", read" if use.read else "")
            nodes.append(partial(self._version, use.run, f"  ({how})"))
        return nodes

    def _version(self, oid: ObjectId, suffix: str) -> tuple[str, list[Node]]:
        step = self._steps[oid]
        label = _label(oid, step) + suffix
        if oid in self._seen:
            return f"{label}  (see above)", []
        self._seen.add(oid)
        sources: list[Node] = [partial(self._source, source) for source in step.sources]
        return label, sources + self.uses(step.used_by)

    def _source(self, source: Source) -> tuple[str, list[Node]]:
        return _input_label(source.facts), self.versions(source.made_by)


def _drawn(nodes: list[Node]) -> Iterator[str]:
    """Yield the lines of a tree, however deep."""
    stack = [("", nodes)]
    while stack:
        indent, rest = stack[-1]
        if not rest:
            stack.pop()
            continue
        label, below = rest.pop(0)()
        yield f"{indent}{'├─' if rest else '└─'} {label}"
        stack.append((indent + ("│  " if rest else "   "), below))


def _document(target: Target, found: ObjectId, lineage: Lineage, *, reverse: bool) -> Any:
    top: dict[str, Any] = {
        "data_set": target.data_set,
        "commit": found.hex(),
        **output.text_fields("path", b"/".join(target.path)),
    }
    if reverse:
        top["used_by"] = [_use(use) for use in lineage.used_by]
    else:
        top["made_by"] = [oid.hex() for oid in lineage.made_by]
    top["versions"] = {
        oid.hex(): _step_document(step, reverse=reverse) for oid, step in lineage.steps.items()
    }
    return output.json_safe(top)


def _step_document(step: Step, *, reverse: bool) -> dict[str, Any]:
    from vfs.clock import iso

    document: dict[str, Any] = {
        "data_set": step.data_set,
        "time": iso(step.commit.time_ns, precise=True),
        "author": step.commit.author,
        "message": step.commit.message,
        "provenance": dict(step.commit.provenance),
    }
    if reverse:
        document["used_by"] = [_use(use) for use in step.used_by]
    else:
        document["inputs"] = [
            {**source.facts, "made_by": [oid.hex() for oid in source.made_by]}
            for source in step.sources
        ]
    return document


def _use(use: Use) -> dict[str, Any]:
    return {"commit": use.run.hex(), "name": use.name, "read": use.read}


def _dot_lines(target: Target, found: ObjectId, lineage: Lineage) -> Iterator[str]:
    """Yield the lines of a graph in which arrows lead from what something was made of to it."""
    top = "target"
    yield "digraph provenance {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    yield f"  {top} [label={_quoted(f'{target} ({_short(found)})')}, style=bold];"
    for oid, step in lineage.steps.items():
        yield f'  "{oid.hex()}" [label={_quoted(_label(oid, step))}];'
        for number, source in enumerate(step.sources):
            name = f"{oid.hex()}-{number}"
            label = _quoted(_input_label(source.facts))
            yield f'  "{name}" [label={label}, shape=ellipse];'
            yield f'  "{name}" -> "{oid.hex()}";'
            for maker in source.made_by:
                yield f'  "{maker.hex()}" -> "{name}";'
        for use in step.used_by:
            yield f'  "{oid.hex()}" -> "{use.run.hex()}" [label={_quoted(use.name)}];'
    for maker in lineage.made_by:
        yield f'  "{maker.hex()}" -> {top};'
    for use in lineage.used_by:
        yield f'  {top} -> "{use.run.hex()}" [label={_quoted(use.name)}];'
    yield "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _draw(text: str, to: Path) -> None:
    dot = shutil.which("dot")
    if dot is None:
        raise NotSupported(
            "there is no program 'dot' to draw with",
            hint="install graphviz (apt install graphviz), or take --dot elsewhere",
        )
    done = subprocess.run(
        [dot, "-Tsvg", "-o", str(to)],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=DOT_SECONDS,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise NotSupported(f"dot can't draw it: {reason}")
