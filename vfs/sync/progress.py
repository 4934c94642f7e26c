"""How far a transfer is, for whoever shows it."""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """Is told how far a transfer is. By any thread."""

    def advance(self, objects: int, bytes_: int, /) -> None:
        """Take what was transferred since the last call."""


class Silent:
    """Progress that nobody sees."""

    def advance(self, objects: int, bytes_: int, /) -> None:
        """Do nothing."""


SILENT: Final = Silent()
