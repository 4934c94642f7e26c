"""JSON in the one form that records hold: keys sorted, no spaces, nothing escaped needlessly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from vfs.errors import CorruptObject

JSON: TypeAlias = (
    "bool | int | float | str | list[JSON] | tuple[JSON, ...] | Mapping[str, JSON] | None"
)


def encode_json(value: Mapping[str, JSON]) -> str:
    """Return the canonical text of an object."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def decode_json(text: str, what: str) -> Mapping[str, JSON]:
    """Return the object that *text* is. Raises CorruptObject, which calls it *what*."""
    try:
        value = json.loads(text)
        if isinstance(value, dict) and encode_json(value) == text:
            return value
    except (ValueError, RecursionError):
        pass
    raise CorruptObject(f"{what} is no JSON object in its canonical form")
