"""Versions whose content a rule lets go, as collections of stores and of remotes write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.cli import output
from vfs.clock import iso

if TYPE_CHECKING:
    from vfs.repo.gc.report import Expired


def expired_records(expired: Sequence[Expired]) -> list[dict[str, str]]:
    """Return them for JSON."""
    return [
        {
            "data_set": one.data_set,
            "commit": one.commit.hex(),
            "time": iso(one.time_ns, precise=True),
            "reason": one.reason,
        }
        for one in expired
    ]


def write_expired(expired: Sequence[Expired]) -> None:
    """Write a table of them, if there are any."""
    if not expired:
        return
    output.write_table(
        ("DATA SET", "COMMIT", "TIME", "EXPIRED BY"),
        [
            (
                one.data_set,
                one.commit.hex()[: output.ID_DIGITS],
                output.local_time(one.time_ns),
                one.reason,
            )
            for one in expired
        ],
    )
