"""One entry, three-way: what each side changed of it is taken, field by field.

Fields: content (of a file with its size and holes; target; device), mode, owner, and each extended
attribute. A POSIX ACL says what the mode's group bits mean, so these two are one field. Times and
link counts follow from what else is done, and never clash.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

from vfs.model.entry import Entry, Extra
from vfs.repo.treediff import aspects

Side = Literal["ours", "theirs"]

_ACL: Final = b"system.posix_acl_access"
_ABSENT: Final = object()
_INCIDENTAL: Final = frozenset(("time", "links"))


class MergedEntry(NamedTuple):
    """An entry, and the fields that both sides changed, each in its own way."""

    entry: Entry
    clashes: tuple[str, ...]


def is_changed(old: Entry, new: Entry) -> bool:
    """Say whether an entry is another one, apart from times, link counts and what is below it."""
    return old.kind != new.kind or not _INCIDENTAL.issuperset(aspects(old, new))


def merge_entries(
    base: Entry | None, ours: Entry, theirs: Entry, *, favor: Side = "ours"
) -> MergedEntry:
    """Merge two entries of one type; *base* is of it as well, or None where both are new.

    Where both sides changed a field, *favor*'s is taken, and the field is named. What directories
    hold is ours.
    """
    entries: dict[Side, Entry] = {"ours": ours, "theirs": theirs}
    extras = {side: Extra.decode(entry.extra) for side, entry in entries.items()}
    clashes: list[str] = []

    def taken(field: str, was: Any, mine: Any, others: Any) -> Side:
        """Return whose value of a field is taken."""
        if others in (mine, was):
            return "ours"
        if mine == was:
            return "theirs"
        clashes.append(field)
        return favor

    def compared(field: str, value: Any) -> Side:
        was = _ABSENT if base is None else value(base, Extra.decode(base.extra))
        return taken(field, was, *(value(entries[side], extras[side]) for side in entries))

    content = "ours" if ours.is_dir else compared("content", _content)
    mode = compared("mode", _permissions)
    owner = compared("owner", lambda entry, _: (entry.uid, entry.gid))
    xattrs = {name: value for name, value in extras[mode].xattrs if name == _ACL}
    had, mine, others = (
        dict(() if extra is None else extra.xattrs)
        for extra in (base and Extra.decode(base.extra), *extras.values())
    )
    for name in (had.keys() | mine.keys() | others.keys()) - {_ACL}:
        values = {"ours": mine.get(name), "theirs": others.get(name)}
        value = values[taken("xattrs", had.get(name), *values.values())]
        if value is not None:
            xattrs[name] = value
    link = compared("links", lambda _, extra: extra.link) if base else "ours"
    return MergedEntry(
        entries[content]._replace(
            mode=entries[mode].mode,
            uid=entries[owner].uid,
            gid=entries[owner].gid,
            mtime_ns=_time(base, ours, theirs, entries[content]),
            extra=replace(
                extras[content],
                totals=extras["ours"].totals,
                link=extras[link].link,
                xattrs=tuple(sorted(xattrs.items())),
            ).encode(),
        ),
        tuple(dict.fromkeys(field for field in clashes if field not in _INCIDENTAL)),
    )


def _content(entry: Entry, extra: Extra) -> object:
    return entry.content, entry.flags, entry.size, extra.holes, extra.target, extra.rdev


def _permissions(entry: Entry, extra: Extra) -> object:
    return entry.mode, dict(extra.xattrs).get(_ACL)


def _time(base: Entry | None, ours: Entry, theirs: Entry, content: Entry) -> int:
    """Return the time that goes with the content; the later one, where both have it."""
    if not ours.is_dir and _content(ours, Extra.decode(ours.extra)) != _content(
        theirs, Extra.decode(theirs.extra)
    ):
        return content.mtime_ns
    if base is not None and base.mtime_ns in (ours.mtime_ns, theirs.mtime_ns):
        return ours.mtime_ns if theirs.mtime_ns == base.mtime_ns else theirs.mtime_ns
    return max(ours.mtime_ns, theirs.mtime_ns)
