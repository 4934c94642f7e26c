"""Times of the clock that come again, as crontab(5) has them. In UTC, so that no hour is twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES: Final[tuple[dict[str, int], ...]] = (
    {},
    {},
    {},
    {
        name: i
        for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
    },
    {name: i for i, name in enumerate("sun mon tue wed thu fri sat".split())},
)
_YEARS: Final = 5  # a leap day is at most eight years away, and a date that never comes is none


class Cron:
    """Minute, hour, day of the month, month, day of the week. Raises ValueError."""

    def __init__(self, text: str) -> None:
        self.text = text
        fields = _SHORT.get(text, text).split()
        if len(fields) != len(_RANGES):
            raise ValueError(f"'{text}' has {len(fields)} fields; crontab(5) has 5, or @daily")
        self._sets = [_members(field, number) for number, field in enumerate(fields)]
        self._sets[4] = {day % 7 for day in self._sets[4]}
        # Both days given: either will do, as crontab(5) says.
        self._either = "*" not in (fields[2][0], fields[4][0])

    def next(self, after_s: float) -> float | None:
        """Return the next time (s since 1970) after *after_s*; None where there is none soon."""
        minute = datetime.fromtimestamp(after_s, UTC).replace(second=0, microsecond=0)
        time = minute + timedelta(minutes=1)
        end = time + timedelta(days=_YEARS * 366)
        while time < end:
            if time.month not in self._sets[3] or not self._is_day(time):
                time = time.replace(hour=0, minute=0) + timedelta(days=1)
            elif time.hour not in self._sets[1]:
                time = time.replace(minute=0) + timedelta(hours=1)
            elif time.minute not in self._sets[0]:
                time += timedelta(minutes=1)
            else:
                return time.timestamp()
        return None

    def _is_day(self, time: datetime) -> bool:
        found = (time.day in self._sets[2], time.isoweekday() % 7 in self._sets[4])
        return any(found) if self._either else all(found)


def _members(field: str, number: int) -> set[int]:
    """Return the numbers that a field means."""
    low, high = _RANGES[number]
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _value(first, number)
            end = _value(last, number) if dash else (high if step else start)
        every = int(step) if step.isdecimal() else (0 if "/" in part else 1)
        if not (low <= start <= end <= high) or every < 1:
            raise ValueError(f"'{part}' can't stand in a cron time")
        found |= set(range(start, end + 1, every))
    return found


def _value(text: str, number: int) -> int:
    names = _NAMES[number]
    if text in names:
        return names[text]
    if not text.isdecimal():
        raise ValueError(f"'{text}' can't stand in a cron time")
    return int(text)
