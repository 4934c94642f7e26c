"""How far something long is that goes over a store, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Stage(NamedTuple):
    """What is being done, and how much of it is."""

    name: str
    done: int = 0
    total: int = 0  # 0 where nobody knows
    is_bytes: bool = False


OnStage = Callable[[Stage], None]
