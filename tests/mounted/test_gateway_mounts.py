"""Versions behind a real gateway, mounted, over a line that fails or goes away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import wait_until
from tests.support.proxy import Proxy, State
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
    large = (source / "large").read_bytes()

    def read(at: int) -> bytes:
        fd = os.open(shown / "large", os.O_RDONLY)
        try:
            return os.pread(fd, 4096, at)
        finally:
            os.close(fd)

    def is_back() -> bool:
        try:
            return (shown / "large").read_bytes() == large
        except OSError:
            return False

    assert read(0) == large[:4096]
    line.turn(state)
    with pytest.raises(OSError, match="Input/output error"):
        read(5 << 20)
    assert read(0) == large[:4096]
    line.turn("on")
    wait_until(is_back)
    assert_same(source, shown)
    line.turn("refusing")
    assert_same(source, mount("--offline", "data@v1"))
