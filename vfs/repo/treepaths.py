"""Changing what stands at paths below a root: each directory on the way is changed by itself."""

from __future__ import annotations

from collections.abc import Mapping

from vfs.errors import NotADirectory, NotFound
from vfs.model.entry import Entry, directory_entry
from vfs.repo.trees import Nodes, TreeBuilder, edit_tree, find, with_tree
from vfs.store.ingest import Ingest
from vfs.store.reader import Reader

Path = tuple[bytes, ...]


def edit_paths(
    reader: Reader, ingest: Ingest, root: Entry, edits: Mapping[Path, Entry | None]
) -> Entry:
    """Return the root entry with *edits* applied: entries by path, None to remove one.

    Directories on the way are made where they are missing (with the attributes of what is put
    below, mode 0755). Raises NotADirectory when a path goes through something else, NotFound when
    what is to be removed is not there. All of *root* must be flushed.
    """
    if () in edits:
        entry = edits[()]
        if entry is None or not entry.is_dir or len(edits) > 1:
            raise NotADirectory("the root of a version is a directory, and is set alone")
        return entry._replace(name=b"")
    nodes = Nodes(reader)
    below: dict[bytes, dict[Path, Entry | None]] = {}
    here: dict[bytes, Entry | None] = {}
    for path, entry in edits.items():
        if len(path) == 1:
            here[path[0]] = None if entry is None else entry._replace(name=path[0])
        else:
            below.setdefault(path[0], {})[path[1:]] = entry
    for name in (name for name, entry in here.items() if entry is None):
        if find(nodes, root.content, name) is None:
            raise NotFound(f"there is no {name!r} to remove")
    for name, inner in below.items():
        if name in here:
            raise NotADirectory(f"{name!r} can't be replaced and changed at once")
        place = find(nodes, root.content, name)
        child = place.entry if place else _new_directory(ingest, name, inner)
        if not child.is_dir:
            raise NotADirectory(f"'{name.decode('utf-8', 'backslashreplace')}' is not a directory")
        here[name] = edit_paths(reader, ingest, child, inner)
    tree, totals = edit_tree(reader, ingest, root.content, here)
    return with_tree(root, tree, totals)


def _new_directory(ingest: Ingest, name: bytes, edits: Mapping[Path, Entry | None]) -> Entry:
    like = next((entry for entry in edits.values() if entry is not None), None)
    if like is None:
        raise NotFound(f"there is no {name!r} to remove anything from")
    tree, totals = TreeBuilder(ingest).finish()
    ingest.flush()  # what is put below reads it
    return directory_entry(name, tree, totals, uid=like.uid, gid=like.gid, mtime_ns=like.mtime_ns)
