"""Any bytes that claim to be an archive are either imported or refused; nothing else happens."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vfs.errors import InvalidInput
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.importer.decompress import Exact
from vfs.repo.importer.tarformat import TarReader
from vfs.repo.repository import Repository

NAMES = st.text("ab/.\0é", min_size=1, max_size=8)
KINDS = st.sampled_from([*(bytes([c]) for c in b"01234567SLKxgDVM?"), b"\0"])


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=draw(st.sampled_from([0, 1, 2]))) as archive:
        for _ in range(draw(st.integers(1, 5))):
            member = tarfile.TarInfo(draw(NAMES))
            member.type = draw(KINDS)
            member.linkname = draw(NAMES)
            content = draw(st.binary(max_size=600))
            member.size = len(content)
            headers = draw(
                st.dictionaries(
                    st.sampled_from(
                        ["path", "size", "mtime", "uid", "GNU.sparse.major", "GNU.sparse.map",
                         "GNU.sparse.size", "GNU.sparse.realsize", "SCHILY.acl.access",
                         "SCHILY.xattr.user.a", "LIBARCHIVE.xattr.user.b"]
                    ),
                    st.text("0123456789.,-+:ra/=", max_size=12),
                    max_size=3,
                )
            )  # fmt: skip
            member.pax_headers = headers
            archive.addfile(member, io.BytesIO(content))
    data = bytearray(buffer.getvalue())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def fix_sums(data: bytes) -> bytes:
    """Make every block's checksum right, so that what is behind it is looked at."""
    fixed = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        header = fixed[at : at + 512]
        if any(header) and header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(fixed)


@given(archives())
def test_the_reader_raises_nothing_else(data: bytes) -> None:
    stream = Exact(io.BytesIO(fix_sums(data)), "a")
    try:
        for member in TarReader(stream, "a").members():
            stream.skip(member.stored)
    except InvalidInput:
        pass


@given(archives())
def test_an_import_raises_nothing_else(data: bytes) -> None:
    with (
        tempfile.TemporaryDirectory() as base,
        Repository.create(Path(base) / "store") as repo,
    ):
        repo.create_data_set("data")
        try:
            import_source(
                repo, io.BytesIO(fix_sums(data)), parse_target("data"), ImportOptions(message="")
            )
        except InvalidInput:
            assert not repo.refs("data")
