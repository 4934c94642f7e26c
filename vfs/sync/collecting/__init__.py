"""Removing from a remote what nobody needs, while others push to it and read from it.

In two phases with a time between them: docs/decisions/0006-remote-gc.md.
"""

from vfs.sync.collecting.phases import Options, collect, preview
from vfs.sync.collecting.report import Report

__all__ = ["Options", "Report", "collect", "preview"]
