"""An archive of a version: what tar, bsdtar, tarfile and import read in it, and its bytes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.export_source import ACL, DEFAULT_ACL
from tests.support.full_store import remove
from tests.support.import_trees import entries_below, tree_in_store, tree_on_disk
from tests.support.trees import MTIME_NS, store_tree
from vfs.errors import CorruptObject, InvalidInput
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra
from vfs.model.names import parse_target
from vfs.repo.exporter import export_tar
from vfs.repo.exporter.tarformat import member
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.importer.tarattrs import acl_from_text, acl_to_text
from vfs.repo.repository import Repository

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for owners and devices")


@pytest.fixture
def archive(repo: Repository, root: Entry, tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar"
    with path.open("wb") as file:
        export_tar(repo, root, file.write)
    return path


def unpacked(archive: Path, *command: str) -> dict[bytes, dict[str, object]]:
    out = archive.parent / "unpacked"
    out.mkdir()
    done = subprocess.run([*command, "-f", archive, "-C", out], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return tree_on_disk(out)


def without_socket(repo: Repository, root: Entry) -> dict[bytes, dict[str, object]]:
    tree = tree_in_store(repo, root)
    del tree[b"socket"]
    return tree


@AS_ROOT
def test_gnu_tar_unpacks_all_of_it(repo: Repository, root: Entry, archive: Path) -> None:
    command = ("tar", "-xp", "--xattrs", "--xattrs-include=*", "--acls", "--same-owner")
    command += ("--warning=no-timestamp",)  # of the future, and of 1969
    assert unpacked(archive, *command) == without_socket(repo, root)
    out = archive.parent / "unpacked"
    assert (out / "sparse").stat().st_blocks * 512 <= 300_000
    assert (out / "only a hole").stat().st_blocks == 0


@AS_ROOT
@pytest.mark.skipif(shutil.which("bsdtar") is None, reason="there is no bsdtar")
def test_libarchive_unpacks_all_of_it(repo: Repository, root: Entry, archive: Path) -> None:
    there = unpacked(archive, "bsdtar", "-xp", "--xattrs", "--acls")
    wanted = without_socket(repo, root)
    for tree in (there, wanted):
        del tree[b""]["mtime_ns"]  # it leaves "." alone
        del tree[b"empty"]["mtime_ns"]  # -1.5 s it takes for -1 s + 0.5 s
        small = tree[b"small"]["xattrs"]
        assert isinstance(small, dict)
        for name in [name for name in small if b"odd" in name]:
            del small[name]  # "%3D" in a name is GNU tar's way to write "="
    assert there == wanted


def test_tarfile_reads_it(repo: Repository, root: Entry, archive: Path) -> None:
    with tarfile.open(archive) as opened:
        members = {os.fsencode(one.name).removeprefix(b"./"): one for one in opened}
        for path, entry in entries_below(repo, root):
            if path in (b"", b"socket"):
                continue
            found = members[path]
            assert found.mode == entry.mode & 0o7777
            if entry.is_file:
                content = opened.extractfile(found)
                assert content is not None
                assert content.read() == b"".join(repo.read_file(entry))


def test_an_import_makes_the_same_version(
    repo: Repository, root: Entry, archive: Path, tmp_path: Path
) -> None:
    with Repository.create(tmp_path / "other") as other:
        other.create_data_set("data")
        result = import_source(other, archive, parse_target("data"), ImportOptions(message="t"))
        assert result.notes == ()
        again = other.commit(result.commit).root
        there = tree_in_store(other, again)
        assert there == without_socket(repo, root)
        # The same bytes, written by another store, from objects that lie elsewhere.
        digest = hashlib.sha256()
        export_tar(other, again, digest.update)
    assert digest.digest() == hashlib.sha256(archive.read_bytes()).digest()


def test_the_top_of_an_archive_keeps_its_attributes(
    repo: Repository, root: Entry, tmp_path: Path
) -> None:
    sub = repo.entry_at(root, (b"sub",))
    buffer = io.BytesIO()
    export_tar(repo, sub, buffer.write)
    buffer.seek(0)
    with Repository.create(tmp_path / "other") as other:
        other.create_data_set("data")
        import_source(other, buffer, parse_target("data"), ImportOptions(message="t"))
        again = other.commit(other.resolve("data").commit).root
    # As an import of that directory: links that led out of it are fewer.
    assert again.mtime_ns == sub.mtime_ns
    assert Extra.decode(again.extra).xattrs == Extra.decode(sub.extra).xattrs


def test_a_socket_is_named(repo: Repository, root: Entry) -> None:
    result = export_tar(repo, root, lambda _: None)
    assert [problem.path for problem in result.problems] == [b"socket"]


def test_an_archive_ends_with_its_mark_and_a_whole_record(archive: Path) -> None:
    data = archive.read_bytes()
    assert len(data) % 10240 == 0
    assert not any(data[-1024:])


def test_what_is_damaged_leaves_no_whole_archive(prepared: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(prepared / "store", tmp_path / "store"))
    with Repository.open(path, readonly=True) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        small = repo.entry_at(root, (b"small",)).content
    remove(path, "objects", small)
    buffer = io.BytesIO()
    with (
        Repository.open(path, readonly=True) as repo,
        pytest.raises(CorruptObject, match="'small' can't be exported"),
    ):
        export_tar(repo, root, buffer.write)
    buffer.seek(0)
    with Repository.create(tmp_path / "other") as other:
        other.create_data_set("data")
        with pytest.raises(InvalidInput):
            import_source(other, buffer, parse_target("data"), ImportOptions(message="t"))


def test_large_numbers() -> None:
    """Beyond what a header's octal digits hold, all readers take the pax record."""
    size = 1 << 40
    entry = Entry(b"x", 0o100644, 2**32 - 2, 2**31, -(2**62), size, NO_CONTENT, 0, Extra().encode())
    head = member(b"x", entry, Extra(), stored=size)
    with tarfile.open(fileobj=io.BytesIO(head + bytes(10240))) as opened:
        found = opened.next()
    assert found is not None
    assert (found.size, found.uid, found.gid) == (size, 2**32 - 2, 2**31)
    assert found.pax_headers["mtime"] == "-4611686018.427387904"


def test_the_lengths_of_records_count_their_own_digits(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "store") as repo:
        for size in (*range(80, 110), *range(960, 1010)):
            extra = Extra(xattrs=((b"user.a", b"v" * size),)).encode()
            entry = Entry(b"f", 0o100644, 1, 2, MTIME_NS, 0, NO_CONTENT, 0, extra)
            with repo.store.ingest() as ingest:
                root = store_tree(ingest, b"", {b"f": entry})
            buffer = io.BytesIO()
            export_tar(repo, root, buffer.write)
            buffer.seek(0)
            with tarfile.open(fileobj=buffer) as opened:
                assert opened.getmembers()[1].pax_headers["SCHILY.xattr.user.a"] == "v" * size


@pytest.mark.parametrize(("value", "is_default"), [(ACL, False), (DEFAULT_ACL, True)])
def test_acls_are_read_back(value: bytes, is_default: bool) -> None:
    text = acl_to_text(value, is_default=is_default)
    assert text
    assert acl_from_text(text, is_default=is_default) == value


def test_acls_that_have_no_text_stay_bytes() -> None:
    minimal = DEFAULT_ACL  # as an access ACL it says no more than a mode
    odd = ACL[:4] + struct.pack("<HHI", 0x80, 7, 0)
    for value in (minimal, odd, b"", ACL[:-1]):
        assert acl_to_text(value, is_default=False) == b""
