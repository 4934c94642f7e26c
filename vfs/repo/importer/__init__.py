"""Importing directories, tar archives and files. What may be used from outside is named here."""

from vfs.repo.importer.api import (
    SILENT,
    ImportOptions,
    ImportResult,
    Problem,
    Progress,
)
from vfs.repo.importer.run import import_source

__all__ = [
    "SILENT",
    "ImportOptions",
    "ImportResult",
    "Problem",
    "Progress",
    "import_source",
]
