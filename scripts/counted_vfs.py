"""The command `vfs`, which notes each LMDB transaction: a byte, r or w, in the file $TRANSACTIONS.

All processes that a mount forks append to the same file, so its length is their number.
"""

from __future__ import annotations

import os
from functools import wraps

from vfs.cli.main import main
from vfs.store.environment import Environment


def note_transactions(fd: int) -> None:
    """Have every transaction of this process, and of those that it forks, noted in *fd*."""
    begin = Environment.begin

    @wraps(begin)
    def noted(self: Environment, *, write: bool, hold: bool = False) -> object:
        os.write(fd, b"w" if write else b"r")
        return begin(self, write=write, hold=hold)

    Environment.begin = noted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    note_transactions(os.open(os.environ["TRANSACTIONS"], os.O_WRONLY | os.O_APPEND))
    main()
