"""Checking a store: whether everything is there, fits together, and is what its names say.

`check_store` runs the check in a process of its own (`vfs.repo.fsck.worker`), as LMDB may end the
process that reads a damaged page, and tells what it found.
"""

from vfs.repo.fsck.api import check_store
from vfs.repo.fsck.report import Damage, Report

__all__ = ["Damage", "Report", "check_store"]
