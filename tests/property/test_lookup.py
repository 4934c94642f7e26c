"""Looking up objects in many indexes, against a dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.ids import ObjectId
from vfs.remote import lookup as module
from vfs.remote.layout import PackId, PackIndex, Segment, encode_index
from vfs.remote.lookup import Lookup
from vfs.store.layout import Kind

# Few ids, some of which begin alike: several packs have one, and beginnings are not enough.
OIDS = [
    ObjectId(bytes([first] * 8) + bytes(23) + bytes([last]))
    for first in (0, 7, 255)
    for last in (0, 1)
]
PACKS = [PackId(ObjectId(bytes([number]) * 32)) for number in range(6)]
contents = st.frozensets(st.sampled_from(OIDS))
steps = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(PACKS), contents, max_size=4),
        st.sampled_from(PACKS),
    ),
    max_size=100,
)


def index_of(pack: PackId, oids: frozenset[ObjectId]) -> PackIndex:
    objects = [(oid, Kind.CHUNK, 0, 0, 1) for oid in oids]
    return PackIndex(pack, encode_index(pack, 1, [Segment(0, 1, 1, False)], objects))


@pytest.mark.parametrize("run_objects", [module.RUN_OBJECTS, 4])
@given(steps)
def test_finds_what_a_dict_finds(
    run_objects: int, steps: list[dict[PackId, frozenset[ObjectId]] | PackId]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RUN_OBJECTS", run_objects)
        check(steps)


def check(steps: list[dict[PackId, frozenset[ObjectId]] | PackId]) -> None:
    lookup, model = Lookup(), dict[PackId, frozenset[ObjectId]]()
    for step in steps:
        if isinstance(step, dict):
            lookup.add([index_of(pack, oids) for pack, oids in step.items()])
            model |= step
        else:
            lookup.remove(step)
            model.pop(step, None)
        for oid in OIDS:
            found = {
                index.pack
                for index in lookup.candidates(oid)
                if index.find(oid, is_node=False) is not None
            }
            assert found == {pack for pack, oids in model.items() if oid in oids}


def test_many_that_came_and_went_leave_the_ones_that_stay() -> None:
    lookup = Lookup()
    lookup.add([index_of(PACKS[0], frozenset(OIDS))])
    for _ in range(300):
        lookup.add([index_of(PACKS[1], frozenset(OIDS[:1]))])
    lookup.remove(PACKS[1])
    assert {index.pack for index in lookup.candidates(OIDS[0])} == {PACKS[0]}
