"""What holds where nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_store() -> Path:
    """Return the store to use where none is named: $VFS_STORE, or the user's own."""
    named = os.environ.get("VFS_STORE")
    return Path(named) if named else Path("~/.local/share/vfs").expanduser()
