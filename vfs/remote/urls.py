"""Where a remote is: URLs as users write them. No secret is ever taken from one, or kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from vfs.errors import InvalidInput
from vfs.remote.bucket import Bucket, Retrying
from vfs.remote.bundle import SUFFIX, Bundle
from vfs.remote.files import FileBucket

SCHEMES: Final = ("s3", "gs", "az", "file")
_FORMS: Final = "s3://BUCKET/PREFIX, gs://..., az://..., file:///DIRECTORY"


def check_url(url: str) -> str:
    """Return *url* if it can be a remote's. Raises InvalidInput, which never shows a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput("this is no URL", hint=f"as in {_FORMS}") from None
    if parts.scheme not in SCHEMES:
        raise InvalidInput("this is no place for a remote", hint=f"as in {_FORMS}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidInput(
            f"the URL {parts.scheme}://... has credentials or options in it",
            hint="credentials are taken from where the cloud's own tools look for them",
        )
    is_file = parts.scheme == "file"
    if is_file != (parts.netloc == "") or (is_file and not parts.path.startswith("/")):
        raise InvalidInput(f"'{url}' is not complete", hint=f"as in {_FORMS}")
    return url


def is_bundle(where: str) -> bool:
    """Say whether *where* names a bundle's file, not a URL."""
    return "://" not in where and where.endswith(SUFFIX)


def open_bucket(where: str, endpoint: str | None = None) -> Bucket:
    """Return the bucket at a URL, or in a bundle's file, to be closed.

    Raises InvalidInput, RemoteProblem. Whether anything is there shows when it is used.
    """
    if is_bundle(where):
        return Bundle.open(Path(where))
    parts = urlsplit(check_url(where))
    if parts.scheme == "file":
        return Retrying(FileBucket(Path(unquote(parts.path))))
    from vfs.remote.objectstore import open_object_store  # noqa: PLC0415 - seldom needed

    return Retrying(open_object_store(where, endpoint))
