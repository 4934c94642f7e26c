from __future__ import annotations

from pathlib import Path

import pytest

from vfs.errors import MountProblem
from vfs.fuse.options import libfuse_options

ALWAYS = {"ro", "default_permissions", "subtype=vfs", "fsname=/s"}


def options(*given: str, allow_other: bool = False) -> set[str]:
    return libfuse_options(given, store=Path("/s"), allow_other=allow_other) - ALWAYS


def test_what_is_always_on() -> None:
    assert libfuse_options((), store=Path("/s"), allow_other=False) == ALWAYS


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (("nosuid,noexec",), {"nosuid", "noexec"}),
        (("nosuid", "noexec"), {"nosuid", "noexec"}),
        (("exec,noexec",), {"noexec"}),
        (("noexec", "exec"), {"exec"}),
        (("ro,defaults,,relatime,sync",), set()),
        (("auto,_netdev,x-systemd.automount,comment=mine,nofail",), set()),
        (("allow_other",), {"allow_other"}),
        (("auto_unmount",), {"auto_unmount"}),
        (("context=a:b",), {"context=a:b"}),
    ],
)
def test_accepted(given: tuple[str, ...], passed: set[str]) -> None:
    assert options(*given) == passed


def test_allow_other_by_its_own_flag() -> None:
    assert options(allow_other=True) == {"allow_other"}


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("rw", "versions are read-only", "leave 'rw' out"),
        ("noexce", "unknown mount option 'noexce'", "did you mean 'noexec'?"),
        ("zzz", "unknown mount option 'zzz'", "known are: allow_other, "),
        ("noexec=1", "unknown mount option", "noexec"),
        ("context", "unknown mount option", "context=..."),
        ("fsname=x", "'fsname' can't be set", "leave 'fsname' out"),
        ("max_read=4096", "'max_read' can't be set", "leave 'max_read' out"),
    ],
)
def test_refused(given: str, message: str, hint: str) -> None:
    with pytest.raises(MountProblem) as caught:
        options(f"nosuid,{given}")
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_what_is_written_to() -> None:
    made = libfuse_options(("rw,noexec",), store=Path("/s"), allow_other=False, writable=True)
    assert made == (ALWAYS - {"ro"}) | {"noexec"}


def test_the_last_one_of_ro_and_rw_counts() -> None:
    assert options("rw", "ro") == set()
    with pytest.raises(MountProblem, match="versions are read-only"):
        options("ro", "rw")


def test_a_store_whose_name_libfuse_would_split() -> None:
    made = libfuse_options((), store=Path("/a,b\\c d/ä"), allow_other=False)
    assert "fsname=/a\\054b\\134c\\040d/\\303\\244" in made
