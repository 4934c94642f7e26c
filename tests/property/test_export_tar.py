"""Any tree is the same after a journey through an archive."""

from __future__ import annotations

import io
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import NAMES, store_tree
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra
from vfs.model.names import parse_target
from vfs.repo.exporter import export_tar
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

XATTRS = st.dictionaries(
    st.sampled_from((b"user.a", b"user.=%", b"user.\xff\xfe", b"trusted.t", b"user.a%3Db")),
    st.binary(max_size=30),
    max_size=2,
).map(lambda found: tuple(sorted(found.items())))
IDS = st.sampled_from((0, 1, 0o7777777, 0o10000000, 2**32 - 2))
TIMES = st.sampled_from((0, 1, -1, -(10**9), 10**18 + 5, -(2**62), 2**63 - 1))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """An entry without content."""
    kind = draw(
        st.sampled_from((stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK))
    )
    target = draw(st.binary(min_size=1, max_size=200)) if kind == stat.S_IFLNK else b""
    target = target.replace(b"\0", b"/")
    rdev = draw(st.sampled_from((0, 259, 0xFFF00))) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
    extra = Extra(target=target, rdev=rdev, xattrs=draw(XATTRS)).encode()
    mode = kind | draw(st.integers(0, 0o7777))
    return Entry(b"?", mode, draw(IDS), draw(IDS), draw(TIMES), len(target), NO_CONTENT, 0, extra)


TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=700) | entries(), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.binary(max_size=20) | entries() | inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60)
@given(TREES)
def test_there_and_back(tree: Mapping[bytes, object]) -> None:
    with tempfile.TemporaryDirectory() as base, Repository.create(Path(base) / "store") as repo:
        with repo.store.ingest() as ingest:
            root = store_tree(ingest, b"", tree)  # type: ignore[arg-type]
        buffer = io.BytesIO()
        export_tar(repo, root, buffer.write)
        buffer.seek(0)
        repo.create_data_set("data")
        result = import_source(repo, buffer, parse_target("data"), ImportOptions(message="t"))
        assert result.notes == ()
        assert repo.commit(result.commit).root == root
