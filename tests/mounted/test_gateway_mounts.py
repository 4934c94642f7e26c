"""Versions behind a real gateway, mounted, over a line that fails or goes away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.mounting import wait_until
from tests.support.proxy import Moment, Proxy, State
from tests.support.remote_mounts import Mount, assert_same, mounts, pushed_source
from tests.support.remotes import new_place

pytestmark = [pytest.mark.mounted, pytest.mark.s3]


@pytest.fixture
def line() -> Iterator[Proxy]:
    with Proxy(os.environ["VFS_TEST_S3_ENDPOINT"]) as proxy:
        yield proxy


@pytest.fixture
def source(tmp_path: Path, line: Proxy) -> Path:
    return pushed_source(tmp_path, new_place(), "--endpoint", line.url)


@pytest.fixture
def mount(source: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounts(tmp_path, "origin") as new:
        yield new


def test_a_line_that_fails_spoils_nothing(source: Path, mount: Mount, line: Proxy) -> None:
    shown = mount("data@v1")
    line.fail = 0.3
    assert_same(source, shown)
    assert line.failed
    line.turn("refusing")
    assert_same(source, mount("--offline", "data@v1"))


@pytest.mark.parametrize("state", ["refusing", "silent"])
def test_a_line_that_goes_is_an_error_in_time_until_it_is_back(
    state: State, source: Path, mount: Mount, line: Proxy
) -> None:
    shown = mount("--timeout", "1", "data@v1")
    large, moments = (source / "large").read_bytes(), count(1)

    def is_right() -> bool:
        try:
            return (shown / "large").read_bytes() == large
        except OSError:
            return False

    def watch(_: Moment) -> None:
        if next(moments) == 3:  # the second request, of four or more
            line.turn(state)

    line.watch = watch
    with pytest.raises(OSError, match="Input/output error"):
        (shown / "large").read_bytes()
    assert os.statvfs(shown).f_bsize
    line.watch = lambda _: None
    line.turn("on")
    wait_until(is_right)
    assert_same(source, shown)
    line.turn("refusing")
    assert_same(source, mount("--offline", "data@v1"))
