"""Writing versions out of the store: as a directory, or as a tar archive."""

from vfs.repo.exporter.api import ExportOptions, ExportResult
from vfs.repo.exporter.run import export_directory
from vfs.repo.exporter.tar import export_tar

__all__ = ["ExportOptions", "ExportResult", "export_directory", "export_tar"]
