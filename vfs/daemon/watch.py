"""The child that watches which branches a store has, and tells its parent of each change."""

from __future__ import annotations

import json
import logging
import os
import signal
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from vfs.model.names import DEFAULT_BRANCH
from vfs.store.store import Store

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
"""A look costs some 50 us: 0.02 % of a core."""

LOOK: Final = signal.SIGUSR1


@dataclass(frozen=True, slots=True)
class Row:
    """A branch; the commit it is at in hex, or "" where its data set has none yet."""

    data_set: str
    branch: str
    head: str


def watch(path: Path, rows_to: int) -> None:
    """Write a line with all branches to *rows_to* now, and whenever they changed; never returns.

    LOOK has it look at once.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {LOOK})
    with Store.open(path, readonly=True, partial=True) as store:
        seen: object = None
        while True:
            now = (store.refs.newest_slot(), store.refs.data_sets())
            if now != seen:
                line = json.dumps([astuple(row) for row in _rows(store, now[1])])
                _write_all(rows_to, line.encode("ascii") + b"\n")
                seen = now
            signal.sigtimedwait({LOOK}, POLL_SECONDS)


def _rows(store: Store, data_sets: list[str]) -> list[Row]:
    refs = store.refs.all()
    begun = {ref.data_set for ref in refs}
    return [
        *(Row(ref.data_set, ref.name, ref.commit.hex()) for ref in refs if ref.kind == "branch"),
        *(Row(name, DEFAULT_BRANCH, "") for name in data_sets if name not in begun),
    ]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def parse_rows(line: bytes) -> list[Row]:
    """Return the rows of one line."""
    return [Row(*fields) for fields in json.loads(line)]
