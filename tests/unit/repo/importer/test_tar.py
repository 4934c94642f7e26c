from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.support.import_trees import Tree, tree_in_store, tree_on_disk
from vfs.errors import InvalidInput
from vfs.model.entry import Extra
from vfs.repo.importer.tarattrs import BadAttribute, acl_from_text
from vfs.repo.repository import Repository

from .conftest import Import, root_of

TAR = shutil.which("tar")
needs_tar = pytest.mark.skipif(TAR is None, reason="there is no tar(1)")


@pytest.fixture
def tree(source: Path) -> Path:
    (source / "dir/inner").mkdir(parents=True)
    (source / "dir/file").write_bytes(b"some text\n" * 3000)
    (source / "dir/inner/big").write_bytes(os.urandom(3 << 20))
    (source / "empty").touch()
    (source / "link").symlink_to("dir/file")
    os.link(source / "dir/file", source / "hard")
    os.mkfifo(source / "fifo")
    long = source / ("d" * 120) / ("e" * 120)
    long.mkdir(parents=True)
    (long / ("n" * 200)).write_bytes(b"long")
    (source / "long link").symlink_to("t" * 300)
    (source / os.fsdecode(b"\xffodd")).write_bytes(b"odd")
    (source / "dir").chmod(0o2750)
    os.utime(source / "empty", ns=(0, 1_111_111_111_222_333_444))
    return source


def pack(tree: Path, archive: Path, *options: str) -> Path:
    assert TAR is not None
    subprocess.run([TAR, *options, "-C", tree, "-cf", archive, "."], check=True)
    return archive


def to_the_second(tree: Tree) -> Tree:
    for attributes in tree.values():
        attributes["mtime_ns"] -= attributes["mtime_ns"] % 10**9
    return tree


@needs_tar
def test_a_pax_archive_is_as_the_directory(
    repo: Repository, tree: Path, run: Import, tmp_path: Path
) -> None:
    options = ["--format=pax", "--pax-option=delete=atime,delete=ctime"]
    try:
        os.setxattr(tree / "dir/file", "user.x", b"\0binary\n=")
        os.setxattr(tree / "dir", "user.d", b"1")
        options.append("--xattrs")
    except OSError:
        pass
    archive = pack(tree, tmp_path / "a.tar", *options)
    result = run(archive)
    assert tree_in_store(repo, root_of(repo)) == tree_on_disk(tree)
    assert not run(archive).changed
    assert not run(tree).changed  # the very same version
    assert result.files == sum(1 for p in tree.rglob("*") if p.is_symlink() or not p.is_dir())


@needs_tar
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "ustar", "v7"])
def test_other_formats(
    repo: Repository, tree: Path, run: Import, tmp_path: Path, form: str
) -> None:
    if form in ("ustar", "v7"):
        shutil.rmtree(tree / ("d" * 120))
        (tree / "long link").unlink()
    if form == "v7":
        (tree / "fifo").unlink()
    run(pack(tree, tmp_path / "a.tar", f"--format={form}"))
    assert tree_in_store(repo, root_of(repo)) == to_the_second(tree_on_disk(tree))


@needs_tar
@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=oldgnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
)
@pytest.mark.parametrize("pieces", [1, 40])
def test_sparse_members(
    repo: Repository, source: Path, run: Import, tmp_path: Path, options: list[str], pieces: int
) -> None:
    with (source / "sparse").open("wb") as file:
        for piece in range(pieces):
            file.seek((piece + 1) << 20)
            file.write(b"data %d" % piece)
        file.truncate((pieces + 5) << 20)
    with (source / "hole").open("wb") as file:
        file.truncate(1 << 20)
    run(pack(source, tmp_path / "a.tar", "--sparse", *options))
    assert to_the_second(tree_in_store(repo, root_of(repo))) == to_the_second(tree_on_disk(source))
    extra = Extra.decode(repo.entry_at(root_of(repo), (b"sparse",)).extra)
    assert extra.holes > (pieces + 3) << 20


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "xz in two streams": lambda data: lzma.compress(data[:5000]) + lzma.compress(data[5000:]),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "zstd in two frames": lambda data: (
        zstandard.ZstdCompressor().compress(data[:5000])
        + zstandard.ZstdCompressor().compress(data[5000:])
    ),
}


class Trickle(io.RawIOBase):
    """A pipe that gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        return self._data.readinto(view[:777])


def archive_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("cut_short", [False, True])
def test_compressed_and_from_a_stream(
    repo: Repository, run: Import, compression: str, cut_short: bool
) -> None:
    content = os.urandom(100_000)
    packed = COMPRESSORS[compression](archive_of(file=content))
    if cut_short:
        with pytest.raises(InvalidInput):
            run(io.BytesIO(packed[: len(packed) * 2 // 3]))
        return
    run(io.BufferedReader(Trickle(packed)))
    entry = repo.entry_at(root_of(repo), (b"file",))
    assert b"".join(repo.read_file(entry)) == content


def build(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def info(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **more: object
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    for key, value in more.items():
        setattr(member, key, value)
    return member


def stored(repo: Repository) -> dict[bytes, bytes]:
    tree: dict[bytes, bytes] = {}

    def walk(prefix: bytes, content: object) -> None:
        for entry in repo.entries(content):  # type: ignore[arg-type]
            if entry.is_dir:
                walk(prefix + entry.name + b"/", entry.content)
            else:
                tree[prefix + entry.name] = b"".join(repo.read_file(entry))

    walk(b"", root_of(repo).content)
    return tree


def test_out_of_order_and_repeated(repo: Repository, run: Import) -> None:
    run(
        build(
            (info("z/late"), b"1"),
            (info("a"), b"old"),
            (info("./z", tarfile.DIRTYPE, mode=0o700), b""),
            (info("b//c"), b"2"),
            (info("a"), b"new"),
            (info("link", tarfile.LNKTYPE, "a"), b""),
            (info("a"), b"newest"),
            (info("."[:1], tarfile.DIRTYPE, mode=0o711, uid=5), b""),
        )
    )
    assert stored(repo) == {b"a": b"newest", b"b/c": b"2", b"link": b"new", b"z/late": b"1"}
    root = root_of(repo)
    assert (root.mode & 0o7777, root.uid) == (0o711, 5)
    assert repo.entry_at(root, (b"z",)).mode & 0o7777 == 0o700
    assert repo.entry_at(root, (b"b",)).mode & 0o7777 == 0o755
    assert not repo.entry_at(root, (b"link",)).extra  # its other name was replaced


def test_times_and_ids_of_pax(repo: Repository, run: Import) -> None:
    member = info("f", pax_headers={"mtime": "-1.5", "uid": "3000000000"})
    run(build((member, b"")))
    entry = repo.entry_at(root_of(repo), (b"f",))
    assert (entry.mtime_ns, entry.uid) == (-1_500_000_000, 3_000_000_000)


def test_xattrs_and_acls_of_pax(repo: Repository, run: Import) -> None:
    headers = {
        "SCHILY.xattr.user.a": "text",
        "LIBARCHIVE.xattr.user.b%20c": "AAEC",
        "SCHILY.xattr.security.selinux": "left out",
        "SCHILY.acl.access": "user::rw-,user:1000:r--,group::r--,mask::r--,other::---",
        "SCHILY.acl.default": "user::rwx\ngroup::r-x\nother::r-x\n",
    }
    result = run(build((info("f", pax_headers=headers), b"")))
    extra = Extra.decode(repo.entry_at(root_of(repo), (b"f",)).extra)
    xattrs = dict(extra.xattrs)
    assert xattrs[b"user.a"] == b"text"
    assert xattrs[b"user.b c"] == b"\0\1\2"
    assert b"security.selinux" not in xattrs
    assert len(xattrs[b"system.posix_acl_access"]) == 4 + 5 * 8
    assert len(xattrs[b"system.posix_acl_default"]) == 4 + 3 * 8
    assert not result.notes


def test_empty_values_of_pax(repo: Repository, run: Import) -> None:
    headers = {
        "SCHILY.xattr.user.empty": "",
        "LIBARCHIVE.xattr.user.void": "",
        "SCHILY.xattr.security.capability": "",  # the kernel has no empty one
        "SCHILY.acl.access": "",
        "SCHILY.acl.default": "",  # GNU tar's, of a directory with an access ACL alone
        "linkpath": "",
    }
    result = run(build((info("d", tarfile.DIRTYPE, pax_headers=headers), b"")))
    extra = Extra.decode(repo.entry_at(root_of(repo), (b"d",)).extra)
    assert extra.xattrs == ((b"user.empty", b""), (b"user.void", b""))
    assert not result.notes


@needs_tar
def test_an_empty_attribute_is_as_in_the_directory(
    repo: Repository, source: Path, run: Import, tmp_path: Path
) -> None:
    (source / "file").touch()
    try:
        os.setxattr(source / "file", "user.empty", b"")
    except OSError:
        pytest.skip("this file system has no attributes")
    options = ["--format=pax", "--pax-option=delete=atime,delete=ctime", "--xattrs"]
    run(pack(source, tmp_path / "a.tar", *options))
    assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def test_an_acl_of_an_unknown_user_is_noted(run: Import) -> None:
    acl = "user::rw-,user:no-such-user-here:r--,group::r--,mask::r--,other::---"
    result = run(build((info("f", pax_headers={"SCHILY.acl.access": acl}), b"")))
    assert "no-such-user-here" in result.notes[0].reason


def test_acl_text() -> None:
    plain = acl_from_text(b"user::rw-,group::r--,other::r--", is_default=False)
    assert plain == b""
    named = b"u::rwx,u:lisa:r-x:77,g::---,mask:rwx,other:r--"
    assert acl_from_text(named, is_default=False)[4:].hex() == (
        "01000700ffffffff020005004d00000004000000ffffffff"
        "10000700ffffffff20000400ffffffff"
    )  # fmt: skip
    for bad in (b"user::rwx,mask::rwx,other::r--,user:1:r--", b"what::rwx", b"user::abc", b"user"):
        with pytest.raises(BadAttribute):
            acl_from_text(bad, is_default=True)


def test_a_header_with_a_sum_of_signed_bytes(repo: Repository, run: Import, tmp_path: Path) -> None:
    header = bytearray(archive_of(f=b"")[:512])
    header[0] = 0xE9
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % (sum(header) - 256)
    archive = tmp_path / "old.tar"
    archive.write_bytes(bytes(header) + bytes(1024))
    run(archive)
    assert stored(repo) == {b"\xe9": b""}


def test_into_a_path(repo: Repository, run: Import) -> None:
    run(build((info("f"), b"1")), "data:a/b")
    assert stored(repo) == {b"a/b/f": b"1"}


def test_an_empty_archive(repo: Repository, run: Import, tmp_path: Path) -> None:
    run(build((info("f"), b"1")))
    run(build())
    assert stored(repo) == {}
    archive = tmp_path / "empty.tar"
    archive.write_bytes(build().getvalue())
    assert not run(archive).changed


@needs_tar
def test_git_archive_style_global_header(repo: Repository, run: Import) -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "abc"}
    ) as archive:
        archive.addfile(tarfile.TarInfo("f"))
    buffer.seek(0)
    run(buffer)
    assert stored(repo) == {b"f": b""}
