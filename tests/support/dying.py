"""For children of crash tests: ending the process at one of its writes to the store."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from vfs.store.environment import Environment

EXIT_CODE = 9


def die_at_write(nth: int, when: str) -> None:
    """End this process at its *nth* write from now on, "before" or "after" it."""
    write = Environment.write
    left = nth

    def counted(self: Environment, change: Callable[[Any], Any]) -> Any:
        nonlocal left
        left -= 1
        if not left and when == "before":
            os._exit(EXIT_CODE)
        result = write(self, change)
        if not left:
            os._exit(EXIT_CODE)
        return result

    Environment.write = counted  # type: ignore[method-assign]
