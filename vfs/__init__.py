"""vfs: versions of data sets, shown as plain files."""

__version__ = "0.1.0"
