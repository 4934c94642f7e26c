"""Time, in integer nanoseconds since 1970 (UTC)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

NS: Final = 1_000_000_000


def now_ns() -> int:
    """Return the current time."""
    return time.time_ns()


def iso(time_ns: int, *, precise: bool = False) -> str:
    """Return *time_ns* as ISO 8601 in UTC: to the second, or with all nine decimals."""
    seconds, nanos = divmod(time_ns, NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}Z" if precise else f"{text}Z"
