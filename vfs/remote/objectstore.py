"""A bucket in an object store: S3 and what speaks like it, Google's, Azure's. All by obstore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from vfs.clock import NS
from vfs.errors import NotFound, RemoteProblem, RemoteUnavailable
from vfs.remote.bucket import Item

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_S: Final = 10
REQUEST_S: Final = 120  # a pack over a slow line; a silent one is noticed after READ_S
READ_S: Final = 30
RETRIES: Final = 5
_LIST_ITEMS: Final = 1000  # as many as one answer of S3 has


def open_object_store(url: str, endpoint: str | None) -> ObjectStoreBucket:
    """Return the bucket behind *url*. Credentials are found as the cloud's own tools find them.

    Raises RemoteProblem.
    """
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - 40 ms, and an extra
        from obstore.store import from_url  # noqa: PLC0415
    except ImportError:
        raise RemoteProblem(
            f"{url.partition(':')[0]}:// needs the package obstore, which is not installed",
            hint="pip install 'vfs[remote]'",
        ) from None
    options: dict[str, Any] = {
        "client_options": {
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=READ_S),
            "timeout": timedelta(seconds=REQUEST_S),
            "allow_http": (endpoint or "").startswith("http://"),
        },
        "retry_config": {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=REQUEST_S),
        },
    }
    if endpoint is not None:
        options["endpoint"] = endpoint
    try:
        return ObjectStoreBucket(from_url(url, **options))
    except (BaseError, ValueError, OSError) as error:
        raise RemoteProblem(f"{url} can't be opened: {_first_line(error)}") from error


class ObjectStoreBucket:
    """A bucket behind obstore's client, which retries by itself what fails before an answer."""

    def __init__(self, store: ObjectStore) -> None:
        import obstore  # noqa: PLC0415 - an extra, imported where it is used

        self._client = obstore
        self._store = store

    def get(self, name: str, *, most: int) -> bytes:
        with self._translated(name):
            answer = self._client.get(self._store, name)
            if answer.meta["size"] > most:
                raise RemoteProblem(f"'{name}' has more than {most:,} bytes")
            data = bytes(answer.bytes())
        if len(data) != answer.meta["size"]:
            raise RemoteUnavailable(f"'{name}' came incomplete")
        return data

    def get_range(self, name: str, start: int, length: int) -> memoryview:
        with self._translated(name):
            data = memoryview(self._client.get_range(self._store, name, start=start, length=length))
        if len(data) != length:
            raise RemoteProblem(f"'{name}' ends before byte {start + length:,}")
        return data

    def put(self, name: str, data: bytes) -> bool:
        from obstore.exceptions import (  # noqa: PLC0415 - an extra
            AlreadyExistsError,
            PreconditionError,
        )

        with self._translated(name):
            try:
                # In parts, an upload could not be made to depend on there being none.
                self._client.put(self._store, name, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        with self._translated(directory):
            pages = self._client.list(
                self._store, directory, offset=after or None, chunk_size=_LIST_ITEMS
            )
            for page in pages:
                for item in sorted(page, key=lambda one: one["path"]):
                    modified_ns = int(item["last_modified"].timestamp() * NS)
                    yield Item(item["path"], item["size"], modified_ns)

    def directories(self, directory: str) -> list[str]:
        with self._translated(directory):
            found = self._client.list_with_delimiter(self._store, directory)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def delete(self, name: str) -> None:
        with suppress(NotFound), self._translated(name):
            self._client.delete(self._store, name)

    def sweep(self, before_ns: int) -> None:
        """Do nothing: what was not written whole is not there."""

    def close(self) -> None:
        """Leave the client's connections to it."""

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        from obstore import exceptions  # noqa: PLC0415 - an extra

        try:
            yield
        except (FileNotFoundError, exceptions.NotFoundError):
            raise NotFound(f"there is no '{name}' on the remote") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise RemoteProblem(
                f"the remote refuses access to '{name}': {_first_line(error)}",
                hint="check the credentials, which are taken from where the cloud's own tools look",
            ) from error
        except exceptions.GenericError as error:
            raise RemoteUnavailable(f"the remote does not answer: {_first_line(error)}") from error
        except exceptions.BaseError as error:
            raise RemoteProblem(f"'{name}' on the remote: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return what an error says; obstore adds pages for its own developers."""
    return str(error).partition("\n")[0]
