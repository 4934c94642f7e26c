"""Comparing versions with the directories they were imported from, attribute by attribute."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vfs.model.entry import Entry, Extra
from vfs.repo.importer.inode import keeps_xattr
from vfs.repo.repository import Repository

Tree = dict[bytes, dict[str, Any]]


def tree_on_disk(root: Path, *, skip: frozenset[bytes] = frozenset()) -> Tree:
    """Return all attributes of everything below *root*, by relative path; b"" is the root."""
    tree: Tree = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    base = os.fsencode(root)
    for path in _paths(base, b"", skip):
        full = base + b"/" + path if path else base
        st = os.lstat(full)
        tree[path] = _attributes(full, st)
        if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
            inodes.setdefault((st.st_dev, st.st_ino), []).append(path)
    for names in inodes.values():
        if len(names) > 1:
            for path in names:
                tree[path]["links"] = sorted(names)
    return tree


def _paths(base: bytes, path: bytes, skip: frozenset[bytes]) -> Iterator[bytes]:
    yield path
    for name in sorted(os.listdir(base + b"/" + path)):
        inner = path + b"/" + name if path else name
        if inner in skip:
            continue
        if stat.S_ISDIR(os.lstat(base + b"/" + inner).st_mode):
            yield from _paths(base, inner, skip)
        else:
            yield inner


def _attributes(full: bytes, st: os.stat_result) -> dict[str, Any]:
    xattrs = {}
    with suppress(OSError):  # a file system without any
        for name in filter(keeps_xattr, os.listxattr(full, follow_symlinks=False)):
            xattrs[os.fsencode(name)] = os.getxattr(full, name, follow_symlinks=False)
    found: dict[str, Any] = {
        "mode": st.st_mode,
        "uid": st.st_uid,
        "gid": st.st_gid,
        "mtime_ns": st.st_mtime_ns,
        "xattrs": xattrs,
        "links": [],
    }
    if stat.S_ISREG(st.st_mode):
        with open(full, "rb") as file:
            found["content"] = hashlib.file_digest(file, "sha256").hexdigest()
        found["size"] = st.st_size
    elif stat.S_ISLNK(st.st_mode):
        found["target"] = os.readlink(full)
    elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        found["rdev"] = st.st_rdev
    return found


def tree_in_store(repo: Repository, root: Entry) -> Tree:
    """Return the same of the version with *root*."""
    tree: Tree = {}
    groups: dict[bytes, tuple[int, list[bytes]]] = {}
    for path, entry in entries_below(repo, root):
        tree[path] = _stored_attributes(repo, entry)
        link = Extra.decode(entry.extra).link
        if link is not None:
            groups.setdefault(link.group, (link.nlink, []))[1].append(path)
    for nlink, names in groups.values():
        assert nlink == len(names) > 1, (nlink, names)
        for path in names:
            tree[path]["links"] = sorted(names)
    return tree


def entries_below(repo: Repository, root: Entry) -> Iterator[tuple[bytes, Entry]]:
    """Yield *root* and all entries below it with their paths, in walk order."""
    waiting = [(b"", root)]
    while waiting:
        path, entry = waiting.pop()
        yield path, entry
        if entry.is_dir:
            below = list(repo.entries(entry.content))
            prefix = path + b"/" if path else b""
            waiting.extend((prefix + inner.name, inner) for inner in reversed(below))


def _stored_attributes(repo: Repository, entry: Entry) -> dict[str, Any]:
    extra = Extra.decode(entry.extra)
    found: dict[str, Any] = {
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime_ns": entry.mtime_ns,
        "xattrs": dict(extra.xattrs),
        "links": [],
    }
    if entry.is_file:
        digest = hashlib.sha256()
        for part in repo.read_file(entry):
            digest.update(part)
        found["content"] = digest.hexdigest()
        found["size"] = entry.size
    elif stat.S_ISLNK(entry.mode):
        found["target"] = extra.target
        assert entry.size == len(extra.target)
    elif extra.rdev:
        found["rdev"] = extra.rdev
    return found
