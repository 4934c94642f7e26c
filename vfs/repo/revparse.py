"""What stands behind the `@`: a revision as a person types it, parsed. Knows no repository.

- `main`, `v3`, `5f0c1a`, `latest`: a branch, a tag, the start of a commit id, main's head
- `{2026-11-01}`, `{yesterday}`: main as it was then, by the time of its commits
- `main@{2026-11-01T10:00Z}`: a branch or tag as it was then, by its log
- `main@{1}`: a branch or tag as it was one update before, by its log; `{1}` is `main@{1}`
- `X~2`, `X^`, `X^2`: the second ancestor, the first parent, the second parent of X
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from vfs.clock import NS
from vfs.errors import InvalidName
from vfs.model.names import DEFAULT_BRANCH

HEX_MIN_DIGITS: Final = 4
STEP_MAX: Final = 1_000_000
TEXT_MAX: Final = 255

_REVISION: Final = re.compile(
    r"(?P<base>[A-Za-z0-9._-]*)(?P<at>@)?(\{(?P<when>[^{}]*)\})?(?P<steps>([~^][0-9]*)*)"
)
_STEP: Final = re.compile(r"([~^])([0-9]*)")
_AGO: Final = re.compile(r"(\d{1,6}|an?) (second|minute|hour|day|week|month|year)s? ago")
_NTH: Final = re.compile(r"[0-9]{1,6}")  # a day has eight digits


@dataclass(frozen=True, slots=True)
class Step:
    """`~n`: n first parents up; `^n`: the n-th parent."""

    kind: Literal["~", "^"]
    count: int


@dataclass(frozen=True, slots=True)
class Revision:
    """A parsed revision."""

    base: str
    when_ns: int | None  # as it was at this time ...
    by_log: bool  # ... by the reference's log, not by the time of commits
    steps: tuple[Step, ...]
    updates_ago: int | None = None  # as it was so many updates of the reference before

    @property
    def is_plain(self) -> bool:
        """Say whether this is a bare name or id."""
        return self.when_ns is None and self.updates_ago is None and not self.steps


def parse_revision(text: str, now: datetime | None = None) -> Revision:
    """Return what *text* means. Raises InvalidName."""
    match = _REVISION.fullmatch(text) if len(text) <= TEXT_MAX else None
    if match is None or bool(match["at"]) > bool(match["when"] is not None):
        raise InvalidName(
            f"'{text}' is not a revision",
            hint="a branch, a tag, a commit id, X~n, X^n, {2026-11-01}, main@{yesterday}, main@{1}",
        )
    when = match["when"]
    if when is not None and match["base"] and not match["at"]:
        raise InvalidName(f"'{text}' is not a revision", hint=f"{match['base']}@{{{when}}}?")
    steps = []
    for kind, digits in _STEP.findall(match["steps"]):
        count = int(digits or 1)
        if count > STEP_MAX:
            raise InvalidName(f"'{text}' goes further back than {STEP_MAX} versions")
        steps.append(Step(kind, count))
    updates_ago = int(when) if when is not None and _NTH.fullmatch(when) else None
    when_ns = None if when is None or updates_ago is not None else parse_time(when, now)
    base, by_log = match["base"] or DEFAULT_BRANCH, bool(match["at"])
    return Revision(base, when_ns, by_log, tuple(steps), updates_ago)


def parse_time(text: str, now: datetime | None = None) -> int:
    """Return the moment that *text* names, in nanoseconds. Raises InvalidName.

    ISO 8601 (UTC unless it says otherwise), `now`, `today`, `yesterday`, or `3 days ago`, also
    written `3.days.ago` or `3_days_ago`. A day alone means its end, so that what was made on that
    day is in it.
    """
    now = now or datetime.now(UTC)
    words = text.strip().lower().replace("_", " ")
    try:
        if match := _AGO.fullmatch(words.replace(".", " ")):
            moment = _ago(now, 1 if match[1].startswith("a") else int(match[1]), match[2])
        elif words == "now":
            moment = now
        elif words in ("today", "yesterday"):
            moment = _end_of_day(now - timedelta(days=words == "yesterday"))
        else:
            moment = datetime.fromisoformat(words.upper())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            if re.fullmatch(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}|[0-9]{4}-?w[0-9]{2}(-?[0-9])?", words):
                moment = _end_of_day(moment)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidName(
            f"'{text}' is not a time",
            hint="2026-11-01, 2026-11-01T10:00Z, yesterday, '3 days ago'",
        ) from None
    return (since.days * 86400 + since.seconds) * NS + since.microseconds * 1000


def _ago(now: datetime, count: int, unit: str) -> datetime:
    """Return the moment *count* units before. Raises ValueError, OverflowError."""
    if unit not in ("month", "year"):
        return now - timedelta(**{unit + "s": count})
    months = now.year * 12 + now.month - 1 - count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    import calendar  # noqa: PLC0415 - seldom needed

    day = min(now.day, calendar.monthrange(year, month)[1])
    return now.replace(year=year, month=month, day=day)


def _end_of_day(moment: datetime) -> datetime:
    return moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
