"""What commands on the cache of a remote share: its place, its size, and how it is filled."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli.command import Settings

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.remote.secrets import MasterKey
    from vfs.sync.ondemand import Patience
    from vfs.sync.remotes import RemotePlace


class SizeType(click.ParamType[int]):
    """A number of bytes: 256M, 1.5G, 65536."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; K, M, G and T are powers of 1024."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(
            r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?", value.strip(), re.IGNORECASE
        )
        if match is None:
            self.fail(f"'{value}' is no size, such as 256M or 2G", param, ctx)
        return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def absolute(path: Path) -> Path:
    """Return a path from the root, without asking the file system: a stale mount answers none."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def place_of(settings: Settings, where: str | None) -> RemotePlace:
    """Return the remote that *where* stands for; a URL needs no store."""
    from vfs.sync.remotes import RemotePlace, find_remote

    if where is not None and "://" in where:
        from vfs.remote.urls import check_url

        return RemotePlace("", check_url(where))
    with settings.repository(readonly=True) as repo:
        return find_remote(repo.store, where)


def filled(
    cache: Path, place: RemotePlace, size: int | None, target: Target | None, patience: Patience
) -> Patience:
    """Make a cache or bring it up to date; return how it is to be read, with the remote's key."""
    if patience.offline:
        return patience
    from vfs.sync.apart import apart
    from vfs.sync.cache import make_cache, refresh_cache

    def fill() -> MasterKey | None:
        key = make_cache(cache, place, size)
        refresh_cache(cache, replace(patience, key=key), target.data_set if target else None)
        return key

    return replace(patience, key=apart(fill))
