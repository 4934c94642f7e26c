"""Trees for tests: hypothesis strategies for entries, and directories from plain Python values."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from hypothesis import strategies as st

from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.entry import FLAG_BLOB, Entry, Extra, Link, Totals, directory_entry
from vfs.repo.blobs import BlobBuilder
from vfs.repo.trees import TreeBuilder

MTIME_NS = 1_700_000_000_123_456_789
SPECIAL = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)

IDS = st.binary(min_size=32, max_size=32).filter(any).map(ObjectId)


def _is_name(raw: bytes) -> bool:
    return raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw


NAMES = st.one_of(
    st.text("ab.é", min_size=1, max_size=4).map(str.encode),
    st.binary(min_size=1, max_size=12),
    st.binary(min_size=250, max_size=255),
).filter(_is_name)

TOTALS = st.builds(Totals, U32, st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 2**62))
XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name),
    st.binary(max_size=60),
    max_size=4,
).map(lambda attributes: tuple(sorted(attributes.items())))
EXTRAS = st.builds(
    Extra,
    totals=st.none() | TOTALS,
    link=st.none() | st.builds(Link, st.binary(min_size=8, max_size=8), U32),
    rdev=U64,
    holes=U64,
    target=st.binary(max_size=40),
    xattrs=XATTRS,
)


@st.composite
def entries(draw: st.DrawFn, names: st.SearchStrategy[bytes] = NAMES) -> Entry:
    """Any entry that can be in a directory."""
    kind = draw(st.sampled_from((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, *SPECIAL)))
    size, content, flags, extra = 0, NO_CONTENT, 0, Extra(xattrs=draw(XATTRS))
    if kind == stat.S_IFREG:
        size = draw(st.sampled_from((0, 1, 4096, 2**63 - 1)))
        if size:
            content, flags = draw(IDS), draw(st.sampled_from((0, FLAG_BLOB)))
    elif kind == stat.S_IFDIR:
        content, extra = draw(IDS), Extra(totals=draw(TOTALS), xattrs=extra.xattrs)
    elif kind == stat.S_IFLNK:
        extra = Extra(target=draw(st.binary(min_size=1, max_size=40)))
        size = len(extra.target)
    mode = kind | draw(st.integers(0, 0o7777))
    return Entry(
        draw(names), mode, draw(U32), draw(U32), draw(I64), size, content, flags, extra.encode()
    )


def by_name(*rows: Entry) -> dict[bytes, Entry]:
    return {entry.name: entry for entry in rows}


DIRECTORIES = st.lists(entries(), max_size=30).map(lambda rows: by_name(*rows))
"""The entries of one directory, by name."""


def file(name: bytes, seed: int = 0, *, size: int = 4096, mode: int = 0o644) -> Entry:
    """An entry of a regular file whose content nobody reads."""
    content = object_id(b"%d" % seed) if size else NO_CONTENT
    return Entry(name, stat.S_IFREG | mode, 1, 2, MTIME_NS, size, content, 0, b"")


# Whole trees: a file's bytes, an entry as it is, or a directory.
Tree: TypeAlias = "Mapping[bytes, bytes | Entry | Tree]"


def store_file(objects: object, name: bytes, data: bytes, *, chunk: int = 100_000) -> Entry:
    """Store *data* and return an entry for it."""
    blob = BlobBuilder(objects)  # type: ignore[arg-type]
    for at in range(0, len(data), chunk):
        piece = data[at : at + chunk]
        (oid,) = objects.add_chunks([piece])  # type: ignore[attr-defined]
        blob.add(oid, len(piece))
    content, flags, size, holes = blob.finish()
    extra = Extra(holes=holes).encode()
    return Entry(name, stat.S_IFREG | 0o644, 1, 2, MTIME_NS, size, content, flags, extra)


def store_tree(objects: object, name: bytes, tree: Tree) -> Entry:
    """Store *tree* and return the entry of its directory."""
    builder = TreeBuilder(objects)  # type: ignore[arg-type]
    for child, value in sorted(tree.items()):
        if isinstance(value, Entry):
            builder.add(value._replace(name=child))
        elif isinstance(value, bytes):
            builder.add(store_file(objects, child, value))
        else:
            builder.add(store_tree(objects, child, value))
    content, totals = builder.finish()
    return directory_entry(name, content, totals, uid=1, gid=2, mtime_ns=MTIME_NS)


def directories(
    tree: Tree, path: tuple[bytes, ...] = ()
) -> Iterator[tuple[tuple[bytes, ...], Tree]]:
    """Yield all directories with their paths, in preorder: the first is the root."""
    yield path, tree
    for name, value in sorted(tree.items()):
        if isinstance(value, Mapping):
            yield from directories(value, (*path, name))


FILES = st.sampled_from((b"", b"same", b"same as well")) | st.binary(max_size=20)
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, FILES, max_size=4),
    lambda trees: st.dictionaries(NAMES, FILES | trees, max_size=6),
    max_leaves=12,
)
