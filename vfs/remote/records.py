"""Records of a remote: JSON objects that carry a sum of their own. Bytes: docs/remote-format.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vfs.errors import RemoteProblem
from vfs.ids import object_id
from vfs.remote.layout import decode_json, encode_json

_SUM: Final = "sum"


def encode_record(value: Mapping[str, Any]) -> bytes:
    """Return the bytes of a record that says *value*."""
    return encode_json({**value, _SUM: _sum(value)})


def decode_record(name: str, data: bytes, old: frozenset[str]) -> dict[str, Any]:
    """Return what a record says. Raises RemoteProblem for a damaged one.

    *old*: the keys of records without a sum, as they once were written. One with any other key has
    lost its sum.
    """
    value = decode_json(name, data)
    if _SUM in value:
        found = value.pop(_SUM)
        # Whatever reads as the same value, but in other bytes, was not written so.
        is_right = found == _sum(value) and data == encode_json({**value, _SUM: found})
    else:
        is_right = value.keys() <= old
    if not is_right:
        raise RemoteProblem(f"'{name}' on the remote is damaged")
    return value


def _sum(value: Mapping[str, Any]) -> str:
    return object_id(encode_json(value)).hex()
