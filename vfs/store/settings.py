"""What users set for a store: JSON documents by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vfs.errors import StoreError

if TYPE_CHECKING:
    from vfs.store.environment import Environment


class Settings:
    """The settings of one store. Thread-safe. Knows no setting's meaning."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a document, or None. Raises StoreError when it is damaged."""
        return dict(self.with_prefix(name)).get("")

    def with_prefix(self, prefix: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the documents whose names begin so, with the rest of the name. Raises StoreError.

        Sorted by name.
        """
        table = self._env.tables.get("settings")
        start = prefix.encode()
        found: list[tuple[str, dict[str, Any]]] = []
        if table is None:
            return found
        with self._env.read() as txn, txn.cursor(table) as cursor:
            more = cursor.set_range(start)
            while more and bytes(cursor.key()).startswith(start):
                rest = bytes(cursor.key())[len(start) :].decode(errors="replace")
                found.append((rest, parse(prefix + rest, bytes(cursor.value()))))
                more = cursor.next()
        return found

    def put(self, name: str, document: dict[str, Any] | None) -> None:
        """Set a document; None removes it."""
        table = self._env.tables["settings"]
        key = name.encode()
        if document is None:
            self._env.write(lambda txn: txn.delete(key, db=table))
        else:
            value = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
            self._env.write(lambda txn: txn.put(key, value, db=table))


def parse(name: str, value: bytes) -> dict[str, Any]:
    """Return the document of a row. Raises StoreError."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise StoreError(f"the setting '{name}' is damaged", hint="set it again")
    return document
