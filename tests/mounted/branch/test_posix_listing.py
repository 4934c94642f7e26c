"""readdir(3), telldir(3), seekdir(3), rewinddir(3), of directories that change meanwhile; statvfs.

What stays from the beginning of a pass to its end is listed exactly once, whatever else happens.
"""

from __future__ import annotations

import os
import random
import stat

import pytest

from tests.support.posix import (
    ANN,
    Child,
    Directory,
    Tree,
    create,
    err,
    linkat,
    opened,
)

pytestmark = pytest.mark.mounted

MANY = 1500  # several buffers of readdir(3)


def fill(count: int = MANY, prefix: str = "f") -> list[bytes]:
    names = [f"{prefix}{number:05}-{'n' * (number % 40)}" for number in range(count)]
    for name in names:
        os.mknod(name)
    return [name.encode() for name in names]


def test_each_once_with_number_and_type(zoo: Tree) -> None:
    with Directory() as stream:
        entries = list(stream)
    names = [entry.name for entry in entries]
    assert sorted(names) == sorted([b".", b"..", *os.listdir(b".")])
    assert len(set(names)) == len(names)
    for entry in entries:
        if entry.name != b"..":
            facts = os.lstat(entry.name)
            assert (entry.ino, entry.kind << 12) == (facts.st_ino, stat.S_IFMT(facts.st_mode))


@pytest.mark.parametrize("path", ["full", "full/sub"])
def test_dot_and_dot_dot_are_listed(zoo: Tree, path: str) -> None:
    with Directory(path) as stream:
        found = {entry.name: entry.ino for entry in stream}
    assert found[b"."] == os.stat(path).st_ino
    assert found[b".."] == os.stat(f"{path}/..").st_ino


def test_an_empty_one(zoo: Tree) -> None:
    with Directory("dir") as stream:
        assert sorted(entry.name for entry in stream) == [b".", b".."]
        assert stream.read() is None
        assert stream.read() is None


def test_many(tree: Tree) -> None:
    expected = fill()
    with Directory() as stream:
        found = stream.names()
    assert sorted(found) == expected
    assert sorted(os.listdir(b".")) == expected


def test_told_places_can_be_returned_to(tree: Tree) -> None:
    fill()
    places, entries = [], []
    with Directory() as stream:
        while True:
            places.append(stream.tell())
            entry = stream.read()
            if entry is None:
                break
            entries.append(entry)
        assert len(set(places)) == len(places)
        order = list(range(len(entries)))
        random.Random(1).shuffle(order)
        for index in [*order[:60], 0, len(entries) - 1]:
            stream.seek(places[index])
            assert stream.tell() == places[index]
            following = [stream.read() for _ in range(3)]
            assert following[: len(entries) - index] == entries[index : index + 3]
        stream.seek(places[-1])
        assert stream.read() is None


def test_places_hold_in_another_stream_of_the_same(tree: Tree) -> None:
    fill()
    with Directory() as stream:
        first = [stream.read() for _ in range(700)]
        where = stream.tell()
        rest = list(stream)
    with Directory() as other:
        other.read()
        other.seek(where)
        assert list(other) == rest
    assert len({entry.name for entry in [*first, *rest] if entry}) == len(first) + len(rest)


def test_rewound_it_shows_what_is_new(tree: Tree) -> None:
    expected = fill(50)
    with Directory() as stream:
        assert sorted(stream.names()) == expected
        os.unlink("f00007-nnnnnnn")
        create("new")
        stream.rewind()
        found = stream.names()
        assert sorted(found) == sorted({*expected, b"new"} - {b"f00007-nnnnnnn"})
        assert stream.read() is None


@pytest.mark.parametrize("seed", range(4))
def test_changed_while_listed(tree: Tree, seed: int) -> None:
    chance = random.Random(seed)
    stays = set(fill(MANY, "stay"))
    goes = fill(MANY, "go")
    chance.shuffle(goes)
    moves = fill(200, "move")
    listed: list[bytes] = []
    with Directory() as stream:
        for turn in range(10**9):
            entry = stream.read()
            if entry is None:
                break
            listed.append(entry.name)
            if goes and chance.random() < 0.5:
                os.unlink(goes.pop())
            if chance.random() < 0.2:
                create(f"new{turn}")
            if moves and chance.random() < 0.2:
                os.rename(moves.pop(), b"moved%d" % turn)
            if chance.random() < 0.02:
                stream.seek(stream.tell())
    counts = {name: listed.count(name) for name in stays}
    assert set(counts.values()) == {1}
    others = [name for name in listed if not name.startswith((b"new", b"moved", b"move0"))]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_emptied_while_listed(tree: Tree, batch: int) -> None:
    fill()
    pending: list[bytes] = []
    with Directory() as stream:
        for entry in stream:
            if entry.name not in (b".", b".."):
                pending.append(entry.name)
            if len(pending) == batch:
                for name in pending:
                    os.unlink(name)
                pending.clear()
    for name in pending:
        os.unlink(name)
    assert os.listdir(".") == []


def test_replaced_while_listed(tree: Tree) -> None:
    names = fill()
    found = []
    with Directory() as stream:
        for turn, entry in enumerate(stream):
            found.append(entry.name)
            create("temporary", b"new content")
            os.rename("temporary", names[(turn * 7) % MANY])
    assert sorted(name for name in found if name.startswith(b"f")) == names


def test_changed_by_others_while_listed(tree: Tree) -> None:
    stays = set(fill(800, "stay"))

    def work(writer: int) -> None:
        for turn in range(400):
            create(f"{writer}-{turn}")
            if turn % 2:
                os.unlink(f"{writer}-{turn}")
            if turn % 3 == 0:
                os.rename(f"{writer}-{turn}", f"{writer}-{turn}-moved") if not turn % 2 else None

    children = [Child(lambda writer=writer: work(writer)) for writer in range(2)]
    for _ in range(10):
        with Directory() as stream:
            found = stream.names()
        assert stays <= set(found)
        assert sum(name in stays for name in found) == len(stays)
    for child in children:
        child.result()


def test_open_and_removed(zoo: Tree) -> None:
    with Directory("dir") as stream:
        os.rmdir("dir")
        assert [entry.name for entry in stream] in ([], [b".", b".."], [b"..", b"."])
        stream.rewind()
        assert {entry.name for entry in stream} <= {b".", b".."}


def test_as_the_working_directory_removed(zoo: Tree) -> None:
    def work() -> list[str]:
        os.chdir("dir")
        os.rmdir("../dir")
        return [err(os.listdir, "."), err(os.mkdir, "x"), err(os.stat, "."), err(os.getcwd)]

    assert Child(work).result() == ["OK", "ENOENT", "OK", "ENOENT"]


def test_listing_needs_reading(tree: Tree) -> None:
    os.mkdir("dir")
    os.chmod("dir", 0o711)
    assert ANN.err(os.listdir, "dir") == "EACCES"
    os.chmod("dir", 0o744)
    assert ANN.err(os.listdir, "dir") == "OK"


def test_walks_agree(zoo: Tree) -> None:
    expected = {".": {"dir", "full"}, "./dir": set(), "./full": {"sub"}, "./full/sub": set()}
    found = {
        path: {name for name in directories if not os.path.islink(os.path.join(path, name))}
        for path, directories, _ in os.walk(".")
    }
    assert found == expected
    linkat("full/inside", "dir/again")
    assert os.listdir("dir") == ["again"]
    with opened("dir", os.O_RDONLY) as fd:
        assert os.listdir(fd) == os.listdir(fd) == ["again"]


def test_size_and_type_of_a_directory(tree: Tree) -> None:
    facts = os.stat(".")
    assert stat.S_ISDIR(facts.st_mode)
    assert facts.st_size >= 0
    fill(100)
    assert os.stat(".").st_nlink == 2


def test_file_system_facts(zoo: Tree) -> None:
    facts, others = os.statvfs("file"), os.statvfs("dir")
    for name in ("f_bsize", "f_frsize", "f_blocks", "f_flag", "f_namemax"):  # others use the disk
        assert getattr(facts, name) == getattr(others, name)
    assert facts.f_namemax == 255
    assert facts.f_frsize > 0
    assert facts.f_bsize > 0
    assert facts.f_blocks >= facts.f_bfree >= facts.f_bavail > 0
    assert facts.f_files >= facts.f_ffree >= 0
    assert not facts.f_flag & os.ST_RDONLY
    with opened("file", os.O_RDONLY) as fd:
        assert os.fstatvfs(fd).f_namemax == 255
