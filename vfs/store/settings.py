"""Settings of a store: small JSON objects by name. Bytes: docs/format.md, "settings"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vfs.errors import CorruptObject

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn


class Settings:
    """The table `settings`. Each change is one transaction, given or its own."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a setting, or None. Raises CorruptObject."""
        if "settings" not in self._env.tables:
            return None
        with self._env.read() as txn:
            value = txn.get(name.encode(), db=self._env.tables["settings"])
            return None if value is None else parse(name, bytes(value))

    def items(self, prefix: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the settings whose names begin with *prefix*, by name. Raises CorruptObject."""
        if "settings" not in self._env.tables:
            return []
        with self._env.read() as txn:
            return [(name, parse(name, value)) for name, value in self._scan(txn, prefix)]

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Set a setting."""
        self._env.write(lambda txn: self.put_in(txn, name, value))

    def add(self, name: str, value: Mapping[str, Any]) -> bool:
        """Set a setting that is not there; say whether it was not."""
        added: bool = self._env.write(
            lambda txn: txn.put(
                name.encode(), _encode(value), overwrite=False, db=self._env.tables["settings"]
            )
        )
        return added

    def put_in(self, txn: Txn, name: str, value: Mapping[str, Any]) -> None:
        """Set a setting as part of *txn*."""
        txn.put(name.encode(), _encode(value), db=self._env.tables["settings"])

    def delete(self, name: str) -> None:
        """Delete a setting, if it is there."""
        self._env.write(lambda txn: self.delete_in(txn, name))

    def delete_in(self, txn: Txn, name: str) -> None:
        """Delete a setting, if it is there, as part of *txn*."""
        txn.delete(name.encode(), db=self._env.tables["settings"])

    def delete_all(self, prefix: str) -> None:
        """Delete all settings whose names begin with *prefix*."""

        def change(txn: Txn) -> None:
            for name in [name for name, _ in self._scan(txn, prefix)]:
                self.delete_in(txn, name)

        self._env.write(change)

    def _scan(self, txn: Txn, prefix: str) -> Iterator[tuple[str, bytes]]:
        start = prefix.encode()
        with txn.cursor(self._env.tables["settings"]) as cursor:
            more = cursor.set_range(start)
            while more and bytes(cursor.key()).startswith(start):
                yield bytes(cursor.key()).decode("utf-8", "replace"), bytes(cursor.value())
                more = cursor.next()


def _encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parse(name: str, data: bytes) -> dict[str, Any]:
    """Return the setting that a row holds. Raises CorruptObject."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CorruptObject(f"the setting '{name}' is damaged", hint="set it again")
    return value
