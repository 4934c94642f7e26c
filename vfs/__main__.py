"""`python -m vfs` is the command `vfs`."""

from __future__ import annotations

from vfs.cli.main import main

if __name__ == "__main__":
    main()
