"""What a check finds. Knows no store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

PLACES_MAX: Final = 20
"""Places that are named of one damage; the others are counted."""

PLACES_A_VERSION: Final = 4  # of them, so that one version does not hide the others

DAMAGES_MAX: Final = 10_000
"""Damages that are told of one store; the others are counted."""

DamageKind = Literal[
    "lmdb", "table", "object", "tree", "commit", "reference", "number", "overlay", "remote"
]


@dataclass(slots=True)
class Damage:
    """One thing that is not as it has to be."""

    kind: DamageKind
    message: str
    places: list[str] = field(default_factory=list)  # data@revision:path, some of them
    more: int = 0  # places that are not in the list
    object: str | None = None  # the id of the object that is damaged or missing

    def touches(self, place: str) -> None:
        """Note that what is at *place* can't be had, or is wrong, for this reason."""
        if place in self.places:
            return
        version = place.partition(":")[0]
        same = sum(other.partition(":")[0] == version for other in self.places)
        if len(self.places) < PLACES_MAX and same < PLACES_A_VERSION:
            self.places.append(place)
        else:
            self.more += 1

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Damage:
        """Return what `record` was made of."""
        return cls(**record)


@dataclass(slots=True)
class Report:
    """What a check has found."""

    damages: list[Damage] = field(default_factory=list)
    untold: int = 0  # damages that are not in the list
    counts: dict[str, int] = field(default_factory=dict)  # of what was looked at, by a plural

    @property
    def is_clean(self) -> bool:
        """Say whether nothing is damaged."""
        return not self.damages
