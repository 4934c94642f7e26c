"""Where files are cut: everything is in a chunk, and what is cut does not depend on the reading."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.ids import object_id
from vfs.model.chunking import CHUNK_AVG_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, cut

RANDOM = random.Random(1).randbytes(3_000_000)
ZEROS = bytes(3_000_000)
ROWS = b"".join(b"%d,%d,row\n" % (i, i * 7919 % 1000) for i in range(150_000))
DATA = {"random": RANDOM, "zeros": ZEROS, "rows": ROWS}
each_data = pytest.mark.parametrize("data", DATA.values(), ids=DATA)


def cut_in_windows(data: bytes, windows: list[int]) -> list[int]:
    """Cut as a reader does that has so many bytes more at each step."""
    lengths: list[int] = []
    start = end = 0
    for window in [*windows, len(data)]:
        end = min(end + window, len(data))
        new = cut(memoryview(data)[start:end], final=end == len(data))
        lengths += new
        start += sum(new)
        if end == len(data):
            break
    return lengths


@each_data
def test_the_chunks_are_the_data(data: bytes) -> None:
    lengths = cut(data, final=True)
    assert sum(lengths) == len(data)
    assert all(CHUNK_MIN_BYTES <= length <= CHUNK_MAX_BYTES for length in lengths[:-1])
    assert 0 < lengths[-1] <= CHUNK_MAX_BYTES


@pytest.mark.parametrize("size", [0, 1, CHUNK_MIN_BYTES - 1, CHUNK_MIN_BYTES, CHUNK_MIN_BYTES + 1])
def test_short_data(size: int) -> None:
    assert cut(RANDOM[:size], final=True) == ([size] if size else [])
    assert cut(RANDOM[:size], final=False) == []


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_any_form_of_bytes(form: type) -> None:
    assert cut(form(RANDOM), final=True) == cut(RANDOM, final=True)


@each_data
@given(windows=st.lists(st.integers(1, 700_000), max_size=12))
def test_cut_in_windows_is_cut_at_once(data: bytes, windows: list[int]) -> None:
    assert cut_in_windows(data, windows) == cut(data, final=True)


@each_data
def test_a_whole_window_always_gives_a_chunk(data: bytes) -> None:
    """Or a reader with a window of that size would wait for ever."""
    assert cut(data[:CHUNK_MAX_BYTES], final=False)


def test_the_average_is_about_what_it_says() -> None:
    mean = len(RANDOM) / len(cut(RANDOM, final=True))
    assert CHUNK_AVG_BYTES / 2 < mean < CHUNK_AVG_BYTES * 2


@pytest.mark.parametrize("data", [RANDOM, ROWS], ids=["random", "rows"])
@pytest.mark.parametrize("inserted", [b"x", b"one row more\n" * 50])
def test_an_insertion_changes_few_chunks(data: bytes, inserted: bytes) -> None:
    def chunks(whole: bytes) -> set[bytes]:
        lengths = cut(whole, final=True)
        ends = list(accumulate(lengths))
        return {object_id(whole[e - n : e]) for e, n in zip(ends, lengths, strict=True)}

    middle = len(data) // 2
    before, after = chunks(data), chunks(data[:middle] + inserted + data[middle:])
    assert len(after - before) <= 4
