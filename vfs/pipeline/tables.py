"""Reading the tables of a specification: each key once, none unknown, errors that say where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from vfs.errors import InvalidInput
from vfs.repo.revisions import near_misses

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)(?:in|our|ours|ay|ays|ec)?")


class Table:
    """A table of a specification, whose keys are taken one by one."""

    def __init__(self, value: Any, where: str) -> None:
        """*where*: what an error calls it. Raises InvalidInput unless *value* is a table."""
        self.where = where
        if not isinstance(value, Mapping):
            self.fail(f"is {_kind(value)}, and has to be a table")
        self._left: dict[str, Any] = dict(value)
        self._known: list[str] = []

    def fail(self, problem: str, key: str = "", hint: str = "") -> NoReturn:
        """Raise InvalidInput."""
        place = ".".join(part for part in (self.where, key) if part)
        raise InvalidInput(f"{place} {problem}", hint=hint)

    def has(self, key: str) -> bool:
        """Say whether a key is there, and not taken yet."""
        return key in self._left

    def take(self, key: str, *, required: bool = False) -> Any:
        """Return the value of a key, or None."""
        self._known.append(key)
        if required and key not in self._left:
            self.fail("is missing", key)
        return self._left.pop(key, None)

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        """Return a text that is not empty, or the default."""
        value = self.take(key, required=required)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.fail(f"is {_kind(value)}, and has to be a text that is not empty", key)
        return value

    def flag(self, key: str) -> bool:
        """Return true or false, which is the default."""
        value = self.take(key)
        if not isinstance(value, bool | None):
            self.fail(f"is {_kind(value)}, and has to be true or false", key)
        return bool(value)

    def number(self, key: str, default: int) -> int:
        """Return an integer of at least 1."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.fail("has to be an integer of at least 1", key)
        return value

    def size(self, key: str) -> int:
        """Return bytes, as in "2 GiB"; 0 where nothing is given."""
        return int(self._scaled(key, _SIZE, _UNITS, '"500 MiB"'))

    def seconds(self, key: str) -> float:
        """Return seconds, as in "10 m"; 0 where nothing is given."""
        return self._scaled(key, _DURATION, _SECONDS, '"90 s", "10 m" or "2 h"')

    def _scaled(
        self, key: str, pattern: re.Pattern[str], units: Mapping[str, int], like: str
    ) -> float:
        value = self.take(key)
        if value is None:
            return 0
        match = None if isinstance(value, bool) else pattern.fullmatch(str(value))
        result = float(match[1]) * units[match[2].lower()] if match else 0
        if result <= 0:
            self.fail(f"has to be like {like}", key)
        return result

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.fail("has to be a list of texts", key)
        return tuple(value)

    def mapping(self, key: str) -> dict[str, str]:
        """Return a table of texts."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            self.fail("has to be a table of texts", key)
        return dict(value)

    def end(self) -> None:
        """Raise InvalidInput where a key is left that nobody knows."""
        for key in self._left:
            self.fail(f"has an unknown key '{key}'", hint=near_misses(key, self._known))


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
    }
    return names.get(type(value), "missing" if value is None else "a table")
