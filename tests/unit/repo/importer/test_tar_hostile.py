"""Archives made to do harm: refused, the member named, nothing committed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from vfs.errors import InvalidInput, NotFound
from vfs.repo.repository import Repository

from .conftest import Import
from .test_tar import archive_of, build, info, stored


@pytest.fixture
def refuse(repo: Repository, run: Import):  # type: ignore[no-untyped-def]
    def refuse(archive: io.BytesIO | bytes, *words: str) -> None:
        stream = io.BytesIO(archive) if isinstance(archive, bytes) else archive
        with pytest.raises(InvalidInput) as caught:
            run(stream)
        for word in words:
            assert word in str(caught.value)
        with pytest.raises(NotFound):
            repo.resolve("data")

    return refuse


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("a/../../b", "impossible"),
        ("..", "impossible"),
        ("n" * 256, "255"),
        ("a/" * 40_000 + "b", "bytes"),
    ],
)
def test_names_that_lead_out(refuse, name: str, word: str) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info(name), b"x")), word, name[:50])


def test_a_name_with_nul(refuse) -> None:  # type: ignore[no-untyped-def]
    archive = build((info("good", pax_headers={"path": "a\0b"}), b"")).getvalue()
    refuse(archive, "impossible")


@pytest.mark.parametrize("target", ["../x", "/etc/passwd", "missing", "later", "dir", "dir/no"])
def test_hard_links_to_elsewhere(refuse, target: str) -> None:  # type: ignore[no-untyped-def]
    refuse(
        build(
            (info("dir", tarfile.DIRTYPE), b""),
            (info("bad", tarfile.LNKTYPE, target), b""),
            (info("later"), b""),
        ),
        "'bad'",
    )


def test_a_file_through_a_symlink(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(
        build((info("s", tarfile.SYMTYPE, "/tmp"), b""), (info("s/file"), b"x")),
        "'s/file'", "no directory",
    )  # fmt: skip


def test_below_a_file(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info("f"), b"x"), (info("f/g/h"), b"x")), "'f/g/h'")


def test_a_file_where_a_directory_is(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info("d/f"), b"x"), (info("d"), b"x")), "'d'")


def test_a_directory_where_a_file_is(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info("d"), b"x"), (info("d", tarfile.DIRTYPE), b"")), "'d/'")


def test_a_file_without_a_name(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info("./"), b"x")))


def test_a_symlink_without_a_target(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(build((info("s", tarfile.SYMTYPE, ""), b"")), "'s'")
    refuse(build((info("s", tarfile.SYMTYPE, "t" * 4096), b"")), "'s'")


@pytest.mark.parametrize("keep", [100, 512, 700, 512 + 512, 3000])
def test_truncated(refuse, keep: int) -> None:  # type: ignore[no-untyped-def]
    refuse(archive_of(a=b"x" * 2000, b=b"y")[:keep])


def test_no_archive_at_all(refuse) -> None:  # type: ignore[no-untyped-def]
    refuse(b"")
    refuse(b"just some text " * 100)
    refuse(gzip.compress(b"text"))


def patched(archive: bytes, at: int, field: bytes) -> bytes:
    """Change a field of the first header, and its checksum."""
    header = bytearray(archive[:512])
    header[at : at + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + archive[512:]


@pytest.mark.parametrize(
    ("at", "field"),
    [
        (124, b"77777777777\0"),  # 8 GiB
        (124, b"\xff" * 12),  # below zero
        (124, b"\x80" + b"\x7f" * 11),
        (124, b"zzzzzzzzzzz\0"),
        (136, b"\x80" + b"\x7f" * 11),
        (108, b"\xff" * 8),
        (156, b"?"),
        (156, b"M"),
        (156, b"S"),
    ],
)
def test_lying_headers(refuse, at: int, field: bytes) -> None:  # type: ignore[no-untyped-def]
    archive = archive_of(a=b"x" * 2000)
    if field == b"S":
        archive = patched(archive, 386, b"00000000001\0" + b"77777777777\0")
    refuse(patched(archive, at, field))


def test_a_wrong_checksum(refuse) -> None:  # type: ignore[no-untyped-def]
    archive = bytearray(archive_of(a=b""))
    archive[0] ^= 1
    refuse(bytes(archive), "damaged")


def test_a_header_that_was_wiped(refuse) -> None:  # type: ignore[no-untyped-def]
    archive = archive_of(a=b"", b=b"")
    refuse(bytes(512) + archive[512:], "byte 0", "wiped")
    refuse(archive[:512] + bytes(512) + archive[512:], "byte 512", "wiped")


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["a.tar.{}", "download"])
def test_a_damaged_compressed_file_is_no_plain_file(
    repo: Repository, run: Import, tmp_path: Path, packer: str, name: str
) -> None:
    run(build((info("kept"), b"1")))
    path = tmp_path / name.format(packer)
    packed = PACKERS[packer](archive_of(a=os.urandom(50_000)))
    path.write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(InvalidInput, match=r"truncated|damaged"):
        run(path)
    assert stored(repo) == {b"kept": b"1"}
    run(path, format="file")
    assert list(stored(repo)) == [os.fsencode(path.name)]


@pytest.mark.parametrize(
    "name", ["a.tar", "A.TAR", "a.tar.gz", "a.tar.lz4", "a.tgz", "a.tbz2", "a.txz", "a.tzst"]
)
@pytest.mark.parametrize("content", ["empty", "text", "header", "packed"])
def test_what_is_named_as_a_tar_has_to_be_one(
    repo: Repository, run: Import, tmp_path: Path, name: str, content: str
) -> None:
    damaged = archive_of(a=b"x" * 2000)
    damaged = damaged[:500] + b"oops" + damaged[504:]
    path = tmp_path / name
    path.write_bytes(
        {
            "empty": b"",
            "text": b"just some text " * 100,
            "header": damaged,
            "packed": gzip.compress(b"text" * 1000),
        }[content]
    )
    with pytest.raises(InvalidInput, match="tar archive") as caught:
        run(path)
    assert "--format file" in caught.value.hint
    with pytest.raises(NotFound):
        repo.resolve("data")
    run(path, format="file")
    assert list(stored(repo)) == [os.fsencode(name)]


@pytest.mark.parametrize("name", ["tar", "a.tar.gz.asc", "star", "a.targz", "notes.gz"])
def test_other_names_are_files(repo: Repository, run: Import, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"just some text " * 100, gzip.compress(b"text" * 1000)):
        path.write_bytes(content)
        run(path)
        assert stored(repo) == {os.fsencode(name): content}


class Endless(io.RawIOBase):
    """A header, then zeros (or `x`) without end."""

    def __init__(self, head: bytes, filler: bytes) -> None:
        self._head, self._filler = head, filler
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        part = self._head[: len(view)] or self._filler * len(view)
        self._head = self._head[len(view) :]
        view[: len(part)] = part
        self.given += len(part)
        assert self.given < 100 << 20, "more was read than any bound allows"
        return len(part)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_bomb_in_a_header(refuse, kind: bytes) -> None:  # type: ignore[no-untyped-def]
    head = patched(archive_of(a=b"")[:512], 124, b"37777777777\0")
    head = patched(head, 156, kind)
    refuse(io.BufferedReader(Endless(head, b"x")), "extended header")


def test_endless_padding_is_not_read(repo: Repository, run: Import) -> None:
    stream = io.BufferedReader(Endless(archive_of(a=b""), b"\0"))
    assert run(stream).changed


def test_endless_sparse_headers(refuse) -> None:  # type: ignore[no-untyped-def]
    head = patched(archive_of(a=b"")[:512], 156, b"S")
    head = patched(head, 386, b"00000000000\0" + b"00000000000\0")
    head = patched(head, 482, b"\x01")
    refuse(io.BufferedReader(Endless(head, b"0")), "too many holes")


@pytest.mark.parametrize(
    "header",
    [
        b"99999 path=a\n",
        b"x path=a\n",
        b"12 path=a\n",
        b"8 pathx\n",
        b"20 mtime=not a time\n",
        b"12 size=-11\n",
        b"31 uid=99999999999999999999999\n",
    ],
)
def test_malformed_pax_headers(refuse, header: bytes) -> None:  # type: ignore[no-untyped-def]
    head = archive_of(a=header)
    refuse(patched(head, 156, b"x")[: 512 + 512] + archive_of(b=b""))


@pytest.mark.parametrize(
    "text",
    [
        b"1\n0\n99999999\n",
        b"2\n512\n10\n0\n10\n",
        b"99999999999\n",
        b"x\n",
        b"1\n-5\n3\n",
        b"1\n" + b"9" * 100 + b"\n",
    ],
)
def test_lying_sparse_maps(refuse, text: bytes) -> None:  # type: ignore[no-untyped-def]
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "100000",
    }
    refuse(build((info("x", pax_headers=headers), text.ljust(1024, b"\0"))), "'s'")


@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_headers_without_end(refuse, kind: bytes) -> None:  # type: ignore[no-untyped-def]
    def header(number: int) -> bytes:
        record = b"510 %0504d=\n" % number  # all of it in the key
        return patched(archive_of(a=record), 156, kind)[:1024]

    headers = b"".join(header(number) for number in range(5000))
    refuse(headers + archive_of(b=b""), "headers")


def test_notes_are_short(run: Import) -> None:
    key = "LIBARCHIVE.xattr.user." + "k" * 500_000
    result = run(build((info("a", pax_headers={key: "!"}), b"")))
    assert len(result.notes) == 1
    assert len(result.notes[0].reason) < 1000


def test_a_pax_size_beyond_all(refuse) -> None:  # type: ignore[no-untyped-def]
    record = b"%d size=99999999999999999999\n" % 29
    head = archive_of(a=record)
    refuse(patched(head, 156, b"x")[:1024] + archive_of(b=b""), "size")


def test_a_gzip_with_a_wrong_sum(refuse) -> None:  # type: ignore[no-untyped-def]
    packed = gzip.compress(archive_of(a=b"x" * 1000))
    refuse(packed[:-8] + struct.pack("<II", 1, 2))


def test_a_zstd_with_a_wrong_sum(refuse) -> None:  # type: ignore[no-untyped-def]
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(archive_of(a=b"x" * 1000))
    refuse(packed[:-1] + bytes((packed[-1] ^ 1,)), "damaged")


def test_a_zstd_that_takes_too_much_memory(refuse) -> None:  # type: ignore[no-untyped-def]
    window = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packing = zstandard.ZstdCompressor(compression_params=window).compressobj()
    refuse(packing.compress(archive_of(a=b"x" * 1000)) + packing.flush(), "damaged", "memory")
