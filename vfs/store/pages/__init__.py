"""LMDB's own pages, read from the data file without LMDB: whether they are what it takes them for.

LMDB trusts its pages, and what it finds damaged may end the process. This reader trusts nothing,
and reads with pread(2): a file that is cut short, or a disk that fails, is an error and no signal.
It knows LMDB 0.9 (format version 1) as a store uses it: no duplicates, no tables in tables.
"""

from vfs.store.pages.layout import DamagedPage, PageFile, Snapshot, Tree
from vfs.store.pages.walk import OnProgress, Page, Walk

__all__ = ["DamagedPage", "OnProgress", "Page", "PageFile", "Snapshot", "Tree", "Walk"]
