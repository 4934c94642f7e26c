"""Where a remote may be, and that no secret is taken, kept or shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfs.errors import AlreadyExists, InvalidInput, InvalidName, NotFound, RemoteProblem
from vfs.remote.urls import check_url, open_bucket
from vfs.repo.repository import Repository
from vfs.sync.remotes import add_remote, find_remote, remote_places, remove_remote


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "store")


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/a/b", "gs://b/x", "az://c/d", "file:///tmp/x%20y"]
)
def test_urls_that_are_taken(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "http://example.org/x",
        "s3://",
        "s3:bucket",
        "file://host/x",
        "file:x",
        "s3://user:SECRET@bucket/x",
        "s3://SECRET@bucket",
        "s3://bucket/x?key=SECRET",
        "s3://bucket/x#SECRET",
        "user:SECRET@bucket",
        "[::SECRET",
    ],
)
def test_urls_that_are_refused_and_not_repeated(url: str, repo: Repository) -> None:
    with pytest.raises(InvalidInput) as refused:
        add_remote(repo.store, "origin", url)
    assert "SECRET" not in str(refused.value) + refused.value.hint
    assert remote_places(repo.store) == []


def test_remotes_have_names(repo: Repository) -> None:
    with pytest.raises(NotFound, match="origin"):
        find_remote(repo.store, None)
    only = add_remote(repo.store, "lab", "s3://bucket", "http://127.0.0.1:9000")
    assert find_remote(repo.store, None) == only
    add_remote(repo.store, "lab2", "file:///x")
    with pytest.raises(NotFound, match="origin"):
        find_remote(repo.store, None)
    assert [place.name for place in remote_places(repo.store)] == ["lab", "lab2"]
    with pytest.raises(AlreadyExists):
        add_remote(repo.store, "lab", "file:///y")
    remove_remote(repo.store, "lab")
    assert [place.name for place in remote_places(repo.store)] == ["lab2"]
    with pytest.raises(NotFound):
        remove_remote(repo.store, "lab")
    for name in ("", "a/b", "-x", "a b"):
        with pytest.raises(InvalidName):
            add_remote(repo.store, name, "file:///x")
    with pytest.raises(InvalidName):
        add_remote(repo.store, "x", "s3://bucket", "http://user:SECRET@host")


def test_without_obstore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(RemoteProblem, match="obstore") as refused:
        open_bucket("s3://bucket")
    assert "vfs[remote]" in refused.value.hint
