"""What is expected to be read next."""

from __future__ import annotations

import random

import pytest

from vfs.fs.neighbours import Neighbours
from vfs.ids import ObjectId

LENGTH = 60


def leaf(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(32, "little"))


def read_in_turn(neighbours: Neighbours, which: ObjectId, every: int = 1) -> int:
    """Read a leaf as who is brought files does; return how many had to be asked for."""
    asked, at = 0, 0
    while at < LENGTH:
        brought = neighbours.after(which, at, LENGTH)
        assert brought.stop <= LENGTH
        assert not len(brought) or brought.start == at + 1
        asked += 1
        at = max(at, brought.stop - 1) + every
    return asked


def test_who_goes_on_is_brought_more_and_more() -> None:
    neighbours = Neighbours()
    assert read_in_turn(neighbours, leaf(1)) <= 6
    assert read_in_turn(neighbours, leaf(2)) <= 3  # another leaf goes on where the first ended


def test_it_goes_on_where_others_answer_half_of_the_requests() -> None:
    assert read_in_turn(Neighbours(), leaf(1), every=2) <= 8


def test_the_first_file_brings_no_other() -> None:
    assert not Neighbours().after(leaf(1), 0, LENGTH)
    assert not Neighbours().after(leaf(1), 7, LENGTH)


def test_who_reads_backwards_is_brought_nothing() -> None:
    neighbours = Neighbours()
    assert not any(neighbours.after(leaf(1), at, LENGTH) for at in reversed(range(LENGTH)))


@pytest.mark.parametrize("seed", range(3))
def test_who_reads_at_random_is_brought_little(seed: int) -> None:
    neighbours, order = Neighbours(), random.Random(seed)
    files = [(leaf(which), at) for which in range(1000) for at in range(LENGTH)]
    order.shuffle(files)
    brought = sum(len(neighbours.after(which, at, LENGTH)) for which, at in files)
    assert brought < len(files) / 10
