"""Standard descriptors that are closed, as a daemon's parent or `>&-` leaves them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

VFS = [sys.executable, "-m", "vfs"]
WHERE = """
import os, sys
from vfs.cli import main
main.vfs.main = lambda: None
main.main()
os.open({store!r}, os.O_RDONLY)
print("hello", flush=True)
print("hello", file=sys.stderr, flush=True)
links = [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)]
inherited = [os.get_inheritable(number) for number in range(3)]
open({answer!r}, "w").write(f"{{links}} {{inherited}}")
"""


def run(closed: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["import", "cat", "ls", "log", "tag"])
def test_commands_do_their_work(new_store: Path, tmp_path: Path, closed: str, command: str) -> None:
    (tmp_path / "file").write_text("new")
    args = {
        "import": ["import", str(tmp_path / "file"), "data", "-m", "x", "--tag", "v3"],
        "cat": ["cat", "data:README"],
        "ls": ["ls"],
        "log": ["log", "data", "--json"],
        "tag": ["tag", "data", "v3"],
    }[command]
    done = run(closed, *VFS, "--store", str(new_store), *args)
    assert (done.returncode, done.stderr) == (0, "")
    if command in {"import", "tag"}:
        tags = run("", *VFS, "--store", str(new_store), "tag", "data").stdout
        assert "v3 " in tags


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_errors_and_help_keep_their_codes(tmp_path: Path, closed: str) -> None:
    assert run(closed, *VFS, "--help").returncode == 0
    assert run(closed, *VFS, "imprt").returncode == 2
    missing = run(closed, *VFS, "--store", str(tmp_path / "none"), "ls")
    assert missing.returncode == 1
    assert "a bug" not in missing.stderr


def test_no_other_file_takes_their_numbers(tmp_path: Path) -> None:
    """LMDB's lock file had number 1, and what was printed went into it."""
    store, answer = tmp_path / "store", tmp_path / "answer"
    store.write_bytes(b"")
    program = WHERE.format(store=str(store), answer=str(answer))
    run("<&- >&- 2>&-", sys.executable, "-c", program)
    null = "/dev/null"
    assert answer.read_text() == f"{[null] * 3} {[True] * 3}"
