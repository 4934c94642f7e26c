"""vfs: versions of data sets, shown as plain files.

For programs, without a mount:

    import vfs

    version = vfs.open("data@v3")
    labels = version.read_text("labels.csv")

    with vfs.commit("data@main", "More labels") as new:
        new.write_text("labels.csv", labels.upper())

`Client` does the same, and more, for a store that is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vfs.api.client import Change, Client
    from vfs.api.dataset import Files, Sampler
    from vfs.api.paths import Info
    from vfs.api.transaction import Transaction
    from vfs.api.version import Version

__all__ = [
    "Change", "Client", "Files", "Info", "Sampler", "Transaction", "Version", "commit", "open",
]  # fmt: skip

_HOMES = {
    "Change": "client",
    "Client": "client",
    "Files": "dataset",
    "Info": "paths",
    "Sampler": "dataset",
    "Transaction": "transaction",
    "Version": "version",
}


def __getattr__(name: str) -> Any:
    """Import the client when it is used: the command starts without it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vfs' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - as above

    return getattr(importlib.import_module(f"vfs.api.{_HOMES[name]}"), name)


def open(target: str, *, store: str | None = None) -> Version:  # noqa: A001 - as in fsspec, io
    """Return a version, `data@REVISION`, of a store (see `Client.open`)."""
    from vfs.api.client import Client  # noqa: PLC0415 - for a quick start

    return Client(store).open(target)


def commit(target: str, message: str, *, store: str | None = None, **options: Any) -> Transaction:
    """Begin a new version of the branch `data@BRANCH` (see `Client.commit`)."""
    from vfs.api.client import Client  # noqa: PLC0415 - for a quick start

    return Client(store).commit(target, message, **options)
