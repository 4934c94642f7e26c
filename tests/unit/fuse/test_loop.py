from __future__ import annotations

import pyfuse3
import pytest

from vfs.fuse import loop


def test_trio_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pyfuse3.trio  # type: ignore[attr-defined]
    seen = []

    async def main(*_: int) -> None:
        trio = pyfuse3.trio  # type: ignore[attr-defined]
        seen.append(trio)
        with pytest.raises(trio.ClosedResourceError):
            await trio.lowlevel.wait_readable(7)

    monkeypatch.setattr(pyfuse3, "main", main)
    loop.run(lambda fd: fd != 7)
    assert seen != [real]
    assert pyfuse3.trio is real  # type: ignore[attr-defined]


def test_what_is_started_in_a_nursery_runs_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    async def task(number: int) -> None:
        ran.append(number)

    async def main(*_: int) -> None:
        async with pyfuse3.trio.open_nursery() as nursery:  # type: ignore[attr-defined]
            nursery.start_soon(task, 1, name="x")
            ran.append(0)

    monkeypatch.setattr(pyfuse3, "main", main)
    loop.run(lambda _: True)
    assert ran == [0, 1]


def test_an_error_passes_and_trio_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pyfuse3.trio  # type: ignore[attr-defined]

    async def main(*_: int) -> None:
        raise OSError(5, "device")

    monkeypatch.setattr(pyfuse3, "main", main)
    with pytest.raises(OSError, match="device"):
        loop.run(lambda _: True)
    assert pyfuse3.trio is real  # type: ignore[attr-defined]
