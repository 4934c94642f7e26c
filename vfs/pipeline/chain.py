"""Which pipelines lead to which, by what they read and write. Knows specifications alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.errors import InvalidInput

if TYPE_CHECKING:
    from vfs.pipeline.spec import Spec


def upstream(specs: Sequence[Spec]) -> dict[str, set[str]]:
    """Return, for each pipeline, those whose output leads to it, over however many others."""
    makers = {(spec.data_set, spec.branch): spec.name for spec in specs}
    direct = {
        spec.name: {
            makers[atom.data_set, atom.branch]
            for atom in spec.atoms()
            if (atom.data_set, atom.branch) in makers
        }
        for spec in specs
    }
    found: dict[str, set[str]] = {}
    for name, before in direct.items():
        waiting, seen = list(before), set[str]()
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += direct[one]
        found[name] = seen
    return found


def check(spec: Spec, others: Sequence[Spec]) -> None:
    """Raise InvalidInput where a pipeline can't stand beside others: neither would ever be done."""
    rest = [other for other in others if other.name != spec.name]
    for other in rest:
        if (other.data_set, other.branch) == (spec.data_set, spec.branch):
            raise InvalidInput(
                f"the pipeline '{other.name}' writes to {spec.data_set}@{spec.branch} already",
                hint="name another branch as 'output'",
            )
    if spec.name in upstream([*rest, spec])[spec.name]:
        raise InvalidInput(f"what '{spec.name}' reads would be made from what it writes")
