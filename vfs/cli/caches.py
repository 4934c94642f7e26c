"""What commands on the cache of a remote share: its options, its place, and how it is filled."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli.command import DirectoryType, Settings

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


def cache_options(when: str = "") -> Callable[[Any], Any]:
    """Return what adds the options of a remote's cache to a command: where, how large, how patient.

    *when* these count stands before what their help says.
    """

    def said(text: str) -> str:
        return f"{when}: {text}" if when else text[0].upper() + text[1:]

    options = (
        click.option(
            "--cache",
            metavar="DIRECTORY",
            type=DirectoryType(),
            help=said("where fetched data is kept. [default: one for each URL in ~/.cache/vfs]"),
        ),
        click.option(
            "--cache-size",
            metavar="SIZE",
            type=SizeType(),
            help=said(
                "what the cache may take, such as 50G; later mounts keep to it. [default: 20G, or "
                "half of what is free on its disk]"
            ),
        ),
        click.option(
            "--timeout",
            metavar="SECONDS",
            type=click.FloatRange(1, 3600),
            default=60,
            show_default=True,
            help=said("how long to wait for an answer; then whoever reads gets an error."),
        ),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def absolute(path: Path) -> Path:
    """Return a path from the root, without asking the file system: a stale mount answers none."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def place_of(settings: Settings, where: str | None) -> RemotePlace:
    """Return the remote that *where* stands for; a URL needs no store."""
    from vfs.sync.remotes import RemotePlace, find_remote

    if where is not None and "://" in where:
        from vfs.remote.urls import check_url

        return RemotePlace("", check_url(where))
    with settings.repository(readonly=True, cached=True) as repo:
        return find_remote(repo.store, where)


def cache_path(named: Path | None, place: RemotePlace) -> Path:
    """Return where a remote's cache is: where the command line says, or in a place of its own."""
    from vfs.sync.cache import default_cache

    return absolute(named) if named is not None else default_cache(place.url)


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
