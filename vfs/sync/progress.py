"""How far a transfer is, for whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Any thread may call it."""

    def total(self, files: int, bytes_: int) -> None:
        """There are so many objects and bytes in all, as far as is known."""

    def advance(self, files: int, bytes_: int) -> None:
        """So many more objects and bytes were transferred."""


class Silent:
    """Shows nothing."""

    def total(self, files: int, bytes_: int) -> None:
        """Show nothing."""

    def advance(self, files: int, bytes_: int) -> None:
        """Show nothing."""


SILENT = Silent()
