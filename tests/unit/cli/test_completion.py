"""TAB completes from the store, and stays silent where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vfs.cli.main import COMMANDS, vfs

PYTHON = f"{sys.executable} -m vfs"


def complete(line: str, store: Path, *, breaks: str = "") -> list[str]:
    """What is offered for the end of *line*, by bash's protocol."""
    result = CliRunner().invoke(
        vfs,
        [],
        env={
            "_VFS_COMPLETE": "bash_complete",
            "COMP_LINE": line,
            "COMP_WORDBREAKS": breaks,
            "VFS_STORE": str(store),
        },
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    return [item.removeprefix("plain,") for item in result.stdout.splitlines() if item]


def test_commands_and_options(prepared: Path) -> None:
    assert complete("vfs ", prepared) == list(COMMANDS)
    assert complete("vfs im", prepared) == ["import"]
    assert complete("vfs --st", prepared) == ["--store"]
    assert complete("vfs import --par", prepared) == ["--partial"]
    assert complete("vfs completion z", prepared) == ["zsh"]
    assert complete("vfs import --format t", prepared) == ["tar"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("vfs ls ", ["data", "void"]),
        ("vfs ls da", ["data", "data@main", "data@v1", "data@v2", "data@latest"]),
        ("vfs log data@", ["data@main", "data@v1", "data@v2", "data@latest"]),
        ("vfs log data@v", ["data@v1", "data@v2"]),
        ("vfs log data@v1:", []),
        ("vfs create d", ["data"]),
        ("vfs tag d", ["data"]),
        ("vfs tag data ", ["v1", "v2"]),
        ("vfs tag data v3 ", ["main", "v1", "v2"]),
        ("vfs branch data x --from v", ["v1", "v2"]),
        ("vfs cat data@v1:", [f"data@v1:{n}" for n in ("README", "big", "empty", "sub/")]),
        ("vfs cat data:R", ["data:README"]),
        ("vfs cat data@v1:sub/d", ["data@v1:sub/deep/"]),
        ("vfs cat data@v1:sub/deep/", ["data@v1:sub/deep/b"]),
        ("vfs cat data@nowhere:", []),
        ("vfs cat data@v1:no/where/", []),
        ("vfs cat data@v1:README/", []),
        ("vfs cat data:README data:e", ["data:empty"]),
        ("vfs ls @:@", []),
    ],
)
def test_names_from_the_store(prepared: Path, line: str, offered: list[str]) -> None:
    assert complete(line, prepared) == offered


def test_bash_gets_what_it_does_not_keep(prepared: Path) -> None:
    breaks = " \t\n\"'@><=;|&(:"
    assert complete("vfs ls data@v", prepared, breaks=breaks) == ["@v1", "@v2"]
    assert complete("vfs cat data@v1:b", prepared, breaks=breaks) == ["big"]


def test_without_a_store_there_is_nothing_to_offer(tmp_path: Path) -> None:
    for line in ("vfs ls ", "vfs ls data@", "vfs cat data@v1:", "vfs tag data "):
        assert complete(line, tmp_path / "none") == []
    (tmp_path / "file").write_text("")
    assert complete("vfs ls ", tmp_path / "file") == []


def test_the_store_option_on_the_line_is_used(prepared: Path, tmp_path: Path) -> None:
    assert complete(f"vfs --store {prepared} tag data ", tmp_path) == ["v1", "v2"]
    assert complete(f"vfs tag --store {prepared} data ", tmp_path) == ["v1", "v2"]


def test_mount_offers_versions_and_directories(prepared: Path) -> None:
    assert complete("vfs mount d", prepared)[:2] == ["dir,d", "data"]
    assert complete("vfs mount data@v1 ", prepared) == ["dir,"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_every_shell(shell: str) -> None:
    result = CliRunner().invoke(vfs, ["completion", shell])
    assert result.exit_code == 0
    assert f"_VFS_COMPLETE={shell}_complete" in result.stdout


def test_the_script_in_a_real_bash(prepared: Path) -> None:
    """Completes 'vfs cat data@v1:b' as bash does: by its words, and with its word breaks."""
    script = f"""
    vfs() {{ {PYTHON} "$@"; }}
    eval "$(vfs completion bash)"
    COMP_WORDS=(vfs cat data @ v1 : b) COMP_CWORD=6
    COMP_LINE='vfs cat data@v1:b' COMP_POINT=17
    _vfs_completion vfs
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "VFS_STORE": str(prepared)},
    )
    assert done.stdout == "big\n"
