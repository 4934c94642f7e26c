"""Damage to LMDB's own pages: the page and the table are named, and what it touches."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from tests.support.damaged import PAGE
from tests.support.full_store import make_full_store
from vfs.errors import StoreError
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store.pages import PageFile, Tree
from vfs.store.pages.layout import TREE_BYTES
from vfs.store.store import Store


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("pages"))


def tree_of(store: Path, table: bytes) -> Tree:
    """Return where a table is, by its name in the list of tables, which is one page."""
    with PageFile.open(store) as file:
        page = file.page(file.metas()[0].main.root)
    head = struct.pack("=HHHH", TREE_BYTES, 0, 2, len(table)) + table
    return Tree.unpack(page, page.index(head) + len(head))


def blank(store: Path, page: int) -> None:
    with (store / "data.mdb").open("r+b") as data:
        data.seek(page * PAGE)
        data.write(bytes(PAGE))


def test_the_page_and_what_it_touches(full: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(full, tmp_path / "store"))
    page = tree_of(store, b"leaves").root
    blank(store, page)
    messages = [damage.message for damage in check_store(store, data=False).damages]
    assert f"the table 'leaves' is damaged: page {page}: it says that it is page 0" in messages
    assert len(messages) > 1


def test_objects_in_a_damaged_page_are_named_with_their_places(full: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(full, tmp_path / "store"))
    with Repository.open(store, readonly=True) as repo:
        commit = repo.resolve("data", "v1").commit
    with PageFile.open(store) as file:
        top = file.page(tree_of(store, b"objects").root)
        count = (struct.unpack_from("=H", top, 12)[0] - 16) // 2
        places = struct.unpack_from(f"={count}H", top, 16)
        # The last child whose first key is not above it; a page's gaps may have old copies of it.
        at = [place for place in places[1:] if top[place + 8 :][:32] <= commit]
        (leaf,) = struct.unpack_from("=I", top, at[-1] if at else places[0])
    blank(store, leaf)
    report = check_store(store, data=False)
    assert any(f"page {leaf}:" in damage.message for damage in report.damages)
    assert any(damage.places for damage in report.damages)


def test_a_page_in_the_place_of_another_is_refused(full: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(full, tmp_path / "store"))
    refs, other = (tree_of(store, name).root for name in (b"refs", b"data_sets"))
    data = bytearray((store / "data.mdb").read_bytes())
    pages = [data[page * PAGE : (page + 1) * PAGE] for page in (refs, other)]
    data[refs * PAGE : (refs + 1) * PAGE], data[other * PAGE : (other + 1) * PAGE] = pages[::-1]
    (store / "data.mdb").write_bytes(data)
    with pytest.raises(StoreError, match=r"the table '.*' is damaged: page"):
        Store.open(store, readonly=True)
