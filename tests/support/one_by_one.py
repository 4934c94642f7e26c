"""The command vfs, for which each object of a remote is a request of its own.

So that not all of a small remote comes with the first thing that is asked for.
"""

from __future__ import annotations

from vfs.cli.main import main
from vfs.remote import objects

objects.WINDOW_BYTES = 1  # type: ignore[misc]

if __name__ == "__main__":
    main()
