"""A file that is written in a transaction."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import IO, Any, TypeAlias

Store: TypeAlias = Callable[[IO[bytes], int], None]


class WrittenFile(io.BufferedIOBase):
    """A file that is written, anywhere in it; it is stored when it is closed."""

    def __init__(self, spool: IO[bytes], store: Store | None) -> None:
        """*store* is called at the end, with all that was written and its size; None: to read."""
        super().__init__()
        self._spool = spool
        self._store = store

    def readable(self) -> bool:
        return self._store is None

    def writable(self) -> bool:
        return self._store is not None

    def seekable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return self._spool.write(data)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._spool.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._spool.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._spool.seek(offset, whence)

    def tell(self) -> int:
        return self._spool.tell()

    def truncate(self, size: int | None = None, /) -> int:
        self._spool.truncate(size)
        return self._spool.tell() if size is None else size

    def give_up(self) -> None:
        """Store nothing at the end."""
        self._store = None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.give_up()
        super().__exit__(kind, *rest)  # type: ignore[arg-type]

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        store, self._store = self._store, None
        with self._spool as spool:
            if store is not None:
                size = spool.seek(0, os.SEEK_END)
                spool.seek(0)
                store(spool, size)
