"""What is to be erased, as it is asked for and as the audit record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vfs.errors import CorruptObject
from vfs.ids import ObjectId

Shared = Literal["refuse", "keep", "erase"]
"""What becomes of bytes that files have which are not asked for: nothing is erased at all; they
stay; they are gone for these files, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Files by their paths or contents; those of either sort."""

    reason: str
    data_set: str | None = None  # None: all
    paths: tuple[str, ...] = ()
    contents: frozenset[ObjectId] = frozenset()  # as entries have them: of chunks, of blobs
    hashes: Mapping[bytes, int | None] = field(default_factory=dict)
    """BLAKE3 of whole contents, with their sizes where these are known. They are looked for in
    what can be read, so the audit record has the contents that were found instead."""
    shared: Shared = "refuse"

    def facts(self) -> dict[str, Any]:
        """Return it as the audit record keeps it."""
        return {
            "contents": sorted(oid.hex() for oid in self.contents),
            "data_set": self.data_set,
            "paths": list(self.paths),
            "reason": self.reason,
            "shared": self.shared,
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Query:
        """Return what `facts` was made of. Raises CorruptObject."""
        try:
            return cls(
                reason=facts["reason"],
                data_set=facts["data_set"],
                paths=tuple(facts["paths"]),
                contents=frozenset(ObjectId(bytes.fromhex(oid)) for oid in facts["contents"]),
                # What was agreed to stay when it began; what came since was not asked about.
                shared="erase" if facts["shared"] == "erase" else "keep",
            )
        except (KeyError, TypeError, ValueError):
            raise CorruptObject("the audit record does not say what was to be erased") from None
