"""Removing what nobody needs any more, and the rules by which versions come to be not needed.

How it can run beside everything else: docs/decisions/0005-gc.md.
"""

from vfs.repo.gc.collect import Collection, collect, preview
from vfs.repo.gc.report import Report
from vfs.repo.gc.retention import Rules, load_rules, save_rules

__all__ = ["Collection", "Report", "Rules", "collect", "load_rules", "preview", "save_rules"]
