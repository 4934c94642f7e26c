"""The names of a store's tables, and what each leads from and to. Bytes: docs/format.md."""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    "meta",  # format, uuid, secret
    "objects",  # object id -> location
    "blocks",  # block number -> BLOCK_BYTES of the stored objects, one behind the other
    "leaves",  # leaf number -> id of the tree leaf
    "numbers",  # inode number -> leaf number, index
    "collisions",  # identity -> the inode number it got instead of its own
    "data_sets",  # name -> when it was made
    "refs",  # data set, name -> where it points
    "ref_log",  # data set, name, slot -> one update of a reference
    "slots",  # slot -> a root that the hub shows
    "commits",  # commit id -> slot
    "overlays",  # data set, branch -> what its overlay is relative to
    "overlay_inodes",  # overlay, inode -> all that it knows of it
    "overlay_names",  # overlay, directory, name -> inode, or a whiteout
    "overlay_links",  # overlay, inode, directory, name -> nothing: the names of hard links
    "overlay_patches",  # overlay, inode, page -> bytes on top of its content
    "overlay_changes",  # overlay, inode or name -> the write that changed it, until a commit
    "overlay_orphans",  # overlay, inode -> nothing: open, but without a name
    "overlay_trees",  # overlay, directory -> what it was committed as
    "pruned",  # commit id -> when and why its content was removed
    "births",  # last leaf number of a run -> the first, and the commit that brought them
    "audit",  # number -> what was done to references and contents, chained by hashes
    "erased",  # object id -> which line of the audit says why its bytes are gone
    "settings",  # name -> JSON: retention, when to collect garbage
    "unpushed",  # object id -> nothing: in a remote's cache, what the remote may not have
)
OVERLAY_TABLES: Final = tuple(name for name in TABLES if name.startswith("overlay"))
LATER_TABLES: Final = (
    *OVERLAY_TABLES,
    "pruned",
    "births",
    "audit",
    "erased",
    "settings",
    "unpushed",
)
"""Stores of the first release lack these; they get them when they are opened to be written."""
