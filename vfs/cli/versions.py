"""How commands show one version: as lines for people, and as JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.clock import iso
from vfs.model.entry import directory_totals

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import DifferenceKind, Summary
    from vfs.store.pruned import Pruned
    from vfs.store.refrows import Ref

Sums = dict["DifferenceKind", "Summary"]
Facts = tuple["ObjectId", "Commit", "list[Ref]", "Sums | None", "Pruned | None"]
"""What functions here are given of a version: also how much it changed, if that is counted, and why
its content went, if it did."""


def refs_by_commit(repo: Repository, data_set: str) -> defaultdict[ObjectId, list[Ref]]:
    """Return the branches and tags of a data set by what they name."""
    refs: defaultdict[ObjectId, list[Ref]] = defaultdict(list)
    for ref in repo.refs(data_set):
        refs[ref.commit].append(ref)
    return refs


def changes_of(repo: Repository, commit: Commit) -> Sums:
    """Return how much a version changed against its first parent."""
    from vfs.repo.renames import with_renames
    from vfs.repo.treediff import differences, summarize

    parents = repo.whole_parents(commit)
    old = repo.commit(parents[0]).root if parents else None
    found = differences(repo.nodes, old, commit.root)
    return summarize(with_renames(repo.nodes, found, whole=True))


def commit_record(
    oid: ObjectId,
    commit: Commit,
    refs: list[Ref],
    sums: Sums | None = None,
    pruned: Pruned | None = None,
) -> dict[str, Any]:
    """Return a version for JSON, with what it changed if that is counted."""
    from vfs.cli.changes import summary_record

    totals = directory_totals(commit.root)
    return {
        "commit": oid.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "refs": [{"name": ref.name, "kind": ref.kind} for ref in refs],
        "time": iso(commit.time_ns, precise=True),
        **output.text_fields("author", commit.author),
        **output.text_fields("message", commit.message),
        "files": totals.files,
        "directories": totals.dirs,
        "bytes": totals.bytes,
        "provenance": output.json_safe(dict(commit.provenance)),
        **({} if sums is None else {"changes": summary_record(sums)}),
        **({} if pruned is None else {"pruned": _pruned_record(pruned)}),
    }


def _pruned_record(pruned: Pruned) -> dict[str, str]:
    return {"time": iso(pruned.time_ns, precise=True), "reason": pruned.reason}


def _names(refs: list[Ref]) -> str:
    # Tags and branches are told apart by colour on a terminal, and by the word everywhere.
    return ", ".join(
        click.style(ref.name, fg="green", bold=True)
        if ref.kind == "branch"
        else click.style(f"tag: {ref.name}", fg="yellow", bold=True)
        for ref in refs
    )


def commit_text(
    oid: ObjectId,
    commit: Commit,
    refs: list[Ref],
    sums: Sums | None = None,
    pruned: Pruned | None = None,
) -> list[str]:
    """Return a version for people, as lines."""
    totals = directory_totals(commit.root)
    names = f" ({_names(refs)})" if refs else ""
    lines = [click.style(f"commit {oid.hex()}", fg="yellow") + names]
    if len(commit.parents) > 1:
        lines.append("Merge:  " + " ".join(p.hex()[: output.ID_DIGITS] for p in commit.parents))
    lines += [
        f"Author: {output.printable(commit.author)}",
        f"Date:   {output.local_time(commit.time_ns)}",
        f"Holds:  {output.plural(totals.files, 'file')}, {output.size(totals.bytes)}",
    ]
    if pruned is not None:
        when = output.local_time(pruned.time_ns)
        lines.append(f"Gone:   its content, {when}: {output.printable(pruned.reason)}")
    if sums is not None:
        from vfs.cli.changes import summary_line

        lines.append(f"Change: {summary_line(sums)}")
    message = [f"    {output.printable(line)}".rstrip() for line in commit.message.splitlines()]
    return [*lines, "", *message, ""]


def line_text(
    oid: ObjectId, commit: Commit, refs: list[Ref], sums: Sums | None, pruned: Pruned | None
) -> str:
    """Return a version for people, as one line."""
    short = click.style(oid.hex()[: output.ID_DIGITS], fg="yellow")
    names = f" ({_names(refs)})" if refs else ""
    subject = output.printable(commit.message.partition("\n")[0])
    line = f"{short} {output.local_time(commit.time_ns)}{names} {subject}"
    if sums is not None:
        from vfs.cli.changes import summary_line

        line += f"  [{summary_line(sums)}]"
    return line if pruned is None else f"{line}  [its content was removed]"
