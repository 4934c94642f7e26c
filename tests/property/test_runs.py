"""The runs that a file's new bytes are kept in, against a plain array of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfs.fs.branch.data import FileLayer, Runs

SIZE = 64
OFFSETS = st.integers(0, SIZE - 1)
EDITS = st.lists(
    st.one_of(
        st.tuples(OFFSETS, st.binary(min_size=1, max_size=20)),
        st.tuples(OFFSETS, st.none()),
    ),
    max_size=12,
)


def apply(edits: list[tuple[int, bytes | None]], layer: FileLayer, model: list[int | None]) -> None:
    """Write, or where there are no bytes truncate, both in *layer* and in *model*."""
    for offset, data in edits:
        if data is None:
            layer.truncate(offset)
            model[offset:] = [0] * (len(model) - offset)
        else:
            layer.runs.write(offset, data)
            model[offset : offset + len(data)] = list(data)


def seen(layers: list[FileLayer]) -> list[int | None]:
    """Return what *layers*, the lowest first, let a reader see; None is what lies below all."""
    bytes_seen: list[int | None] = [None] * (2 * SIZE)
    for layer in layers:
        for index in range(layer.visible, 2 * SIZE) if layer.visible < 2 * SIZE else ():
            bytes_seen[index] = 0
        for offset, data in layer.runs:
            bytes_seen[offset : offset + len(data)] = list(data)
    return bytes_seen


def check(runs: Runs) -> None:
    """Runs are sorted, disjoint, not empty, and know their size."""
    end = 0
    for offset, data in runs:
        assert offset >= end
        assert len(data) > 0
        end = offset + len(data)
    assert runs.size == sum(len(data) for _, data in runs)


@given(EDITS)
def test_a_layer_is_what_was_written_last(edits: list[tuple[int, bytes | None]]) -> None:
    layer, model = FileLayer(), [None] * (2 * SIZE)
    apply(edits, layer, model)
    check(layer.runs)
    assert seen([layer]) == model


@given(EDITS, EDITS)
def test_two_layers_are_as_one(
    first: list[tuple[int, bytes | None]], second: list[tuple[int, bytes | None]]
) -> None:
    below, above, model = FileLayer(), FileLayer(), [None] * (2 * SIZE)
    apply(first, below, model)
    apply(second, above, model)
    assert seen([below, above]) == model
    below.put_under(above)
    check(above.runs)
    assert seen([above]) == model


@given(EDITS, OFFSETS, st.integers(1, 30))
def test_a_range_is_cut_out(edits: list[tuple[int, bytes | None]], start: int, length: int) -> None:
    layer, model = FileLayer(), [None] * (2 * SIZE)
    apply(edits, layer, model)
    part = [None] * length
    for offset, data in layer.runs.within(start, start + length):
        part[offset - start : offset - start + len(data)] = list(data)
    whole = [None] * (2 * SIZE)
    for offset, data in layer.runs:
        whole[offset : offset + len(data)] = list(data)
    assert part == whole[start : start + length]
