"""Rules of retention: which versions of a branch's history keep their content.

They are those of restic's `forget`: for each period the newest version of each of the last n
periods that have any. Periods are in UTC, so that all who share a store agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vfs.clock import NS, now_ns
from vfs.errors import StoreError
from vfs.repo import identity

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.canonical import JSON
    from vfs.store.environment import Txn
    from vfs.store.settings import Settings
    from vfs.store.store import Store

PREFIX: Final = "retention:"

_PERIODS: Final[dict[str, Callable[[datetime], tuple[int, ...]]]] = {
    "hourly": lambda when: (when.year, when.month, when.day, when.hour),
    "daily": lambda when: (when.year, when.month, when.day),
    "weekly": lambda when: when.isocalendar()[:2],
    "monthly": lambda when: (when.year, when.month),
    "yearly": lambda when: (when.year,),
}


class Candidate(NamedTuple):
    """A version that rules are asked about."""

    time_ns: int
    id: ObjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the history of each branch of a data set keeps. A version that one rule keeps stays."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_s: int = 0  # seconds before the newest version

    def __str__(self) -> str:
        counts = asdict(self)
        del counts["within_s"]
        parts = [f"{name} {count}" for name, count in counts.items() if count]
        if self.within_s:
            parts.append(f"within {self.within_s / 86400:g} d")
        return ", ".join(parts)

    @property
    def is_empty(self) -> bool:
        """Say whether they would keep nothing."""
        return not any(asdict(self).values())

    def kept(self, history: Iterable[Candidate]) -> set[ObjectId]:
        """Return which versions of a branch's history stay."""
        newest_first = sorted(history, reverse=True)
        if not newest_first:
            return set()
        since_ns = newest_first[0].time_ns - self.within_s * NS
        kept = {one.id for one in newest_first[: self.last]}
        kept.update(one.id for one in newest_first if self.within_s and one.time_ns >= since_ns)
        for name, period in _PERIODS.items():
            left: int = getattr(self, name)
            last: tuple[int, ...] = ()
            for one in newest_first:
                if not left:
                    break
                this = period(datetime.fromtimestamp(one.time_ns // NS, UTC))
                if this != last:
                    last = this
                    left -= 1
                    kept.add(one.id)
        return kept


_NAMES: Final = frozenset(field.name for field in fields(Rules))
_MAX: Final = 1 << 40


def load_rules(settings: Settings) -> dict[str, Rules]:
    """Return the rules by data set. Raises StoreError, CorruptObject for a row that can't be."""
    rows = ((name.removeprefix(PREFIX), row) for name, row in settings.items(PREFIX))
    return {name: _rules(name, row) for name, row in rows}


def save_rules(store: Store, data_set: str, rules: Rules | None) -> None:
    """Set the rules of a data set; with None there are none, and all of its history stays."""
    row = {name: count for name, count in asdict(rules).items() if count} if rules else {}
    time_ns, who = now_ns(), identity.who()

    def change(txn: Txn) -> None:
        if row:
            store.settings.put_in(txn, PREFIX + data_set, row)
        else:
            store.settings.delete_in(txn, PREFIX + data_set)
        facts: dict[str, JSON] = {"data_set": data_set, "rules": row}
        store.audit.append_in(txn, "retention.set", facts, time_ns=time_ns, who=who)

    store.change(change)


def _rules(data_set: str, row: dict[str, Any]) -> Rules:
    if row.keys() <= _NAMES and all(type(n) is int and 0 < n <= _MAX for n in row.values()):
        rules = Rules(**row)
        if not rules.is_empty:
            return rules
    raise StoreError(
        f"the rules of retention of '{data_set}' are damaged, or of a later vfs",
        hint=f"set them again: vfs retention {data_set}",
    )
