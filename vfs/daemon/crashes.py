"""What to do about a worker that died: pure decisions, made from the deaths before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

FAILED_STARTS_MAX: Final = 8
CRASH_WINDOW_SECONDS: Final = 60.0
CRASHES_TO_BLAME_A_REQUEST: Final = 3
CRASHES_MAX: Final = 60
KILLS_PER_SECOND: Final = 30
_FIRST_DELAY_SECONDS: Final = 0.05
_LONGEST_DELAY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after a death."""

    resend: bool = True
    delay_seconds: float = 0.0  # until the next worker is forked
    give_up: bool = False


class CrashPolicy:
    """Replace what died, but never without an end.

    * Killed from outside (SIGKILL: an operator, the OOM killer): replaced, however often; more than
      30 a second are replaced with a pause.
    * Died before it was ready: 8 times in a row with growing pauses, about 5 s, then give up.
    * Died of itself at work: the third time within a minute the request it held is blamed and fails
      instead of being handed to the next worker; after 60 in a minute, give up.
    """

    def __init__(self) -> None:
        self._failed_starts = 0
        self._crashes: deque[float] = deque()
        self._kills: deque[float] = deque(maxlen=KILLS_PER_SECOND)

    def ready(self) -> None:
        """Note that a worker got as far as serving."""
        self._failed_starts = 0

    def died(self, now: float, *, killed: bool, was_ready: bool) -> Verdict:
        """Decide about a worker that died at *now* (seconds, monotonic)."""
        if killed:
            return self._killed(now)
        if not was_ready:
            self._failed_starts += 1
            return Verdict(
                delay_seconds=_growing(self._failed_starts),
                give_up=self._failed_starts >= FAILED_STARTS_MAX,
            )
        self._crashes.append(now)
        while now - self._crashes[0] > CRASH_WINDOW_SECONDS:
            self._crashes.popleft()
        return Verdict(
            resend=len(self._crashes) < CRASHES_TO_BLAME_A_REQUEST,
            give_up=len(self._crashes) >= CRASHES_MAX,
        )

    def _killed(self, now: float) -> Verdict:
        crowded = len(self._kills) == KILLS_PER_SECOND and now - self._kills[0] < 1
        self._kills.append(now)
        return Verdict(delay_seconds=0.25 if crowded else 0)


def _growing(count: int) -> float:
    return min(_FIRST_DELAY_SECONDS * (1 << (count - 1)), _LONGEST_DELAY_SECONDS)
