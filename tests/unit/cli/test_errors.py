"""The error boundary: one line and a hint on standard error, an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from vfs.cli import command
from vfs.cli.main import vfs
from vfs.errors import NotFound, VfsError

VFS = [sys.executable, "-m", "vfs"]


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException, *args: str) -> Result:
    def repository(self: command.Settings, **_: bool) -> None:
        raise error

    monkeypatch.setattr(command.Settings, "repository", repository)
    return CliRunner().invoke(vfs, [*args, "ls"])


def test_an_error_is_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(monkeypatch, NotFound("no data set 'dat'", hint="did you mean data?"))
    assert result.exit_code == 1
    assert result.stderr == "vfs: no data set 'dat'\n     did you mean data?\n"
    assert result.stdout == ""


def test_an_error_s_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Special(VfsError):
        exit_code = 7

    assert fail_with(monkeypatch, Special("special")).exit_code == 7


def test_what_an_error_says_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(monkeypatch, NotFound("no '\x1b[2J\n\udcff'"))
    assert result.stderr == "vfs: no '\\x1b[2J\\n\\xff'\n"


def test_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/some/where")
    result = fail_with(monkeypatch, error)
    assert result.exit_code == 1
    assert result.stderr.startswith("vfs: Permission denied: /some/where\n")


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert "a bug in vfs: ZeroDivisionError: division by zero" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [ZeroDivisionError(), NotFound("x")])
def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert fail_with(monkeypatch, error, "--debug").exception is error


def test_debug_and_store_may_stand_behind_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[command.Settings] = []

    def repository(self: command.Settings, **_: bool) -> None:
        seen.append(self)
        raise NotFound("x")

    monkeypatch.setattr(command.Settings, "repository", repository)
    CliRunner().invoke(vfs, ["ls", "--store", "/b", "--debug"])
    CliRunner().invoke(vfs, ["--store", "/a", "--debug", "ls"])
    CliRunner().invoke(vfs, ["--store", "/a", "ls", "--store", "/b"])
    CliRunner().invoke(vfs, ["ls"], env={"VFS_STORE": "/c"})
    CliRunner().invoke(vfs, ["ls"], env={"VFS_STORE": "", "HOME": "/home/me"})
    assert [(str(settings.store), settings.debug) for settings in seen] == [
        ("/b", True),
        ("/a", True),
        ("/b", False),
        ("/c", False),
        ("/home/me/.local/share/vfs", False),
    ]


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(monkeypatch, KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr.strip() == "vfs: interrupted"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["imprt"], "Did you mean 'import'?"),
        (["--store", "", "ls"], "'--store': the name of a directory is missing"),
        (["ls", "--store", ""], "'--store': the name of a directory is missing"),
        (["init", ""], "the name of a directory is missing"),
        (["mount", ""], "the name of a directory is missing"),
        (["umount", ""], "the name of a directory is missing"),
        (["tga"], "Did you mean 'tag'?"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["ls", "--jsn"], "--json"),
        (["ls", "data@"], "names no revision"),
        (["ls", "da ta"], "can't name a data set"),
        (["log", "data:file"], "has a path"),
        (["create", "data@main"], "only a data set can stand here"),
        (["create"], "Missing argument"),
        (["import", "/"], "Missing argument"),
        (["import", "/", "data"], "Missing option"),
        (["import", "/no/such", "data", "-m", "x"], "does not exist"),
        (["import", "/", "data", "-m", "x", "--jobs", "0"], "--jobs"),
        (["mount", "a", "b", "c"], "one version and one mount point"),
        (["mount", "data@", "b"], "names no revision"),
        (["tag", "data", "--delete"], "--delete needs a name"),
        (["tag", "data", "x", "--delete", "--force"], "can't stand together"),
        (["branch", "data", "--from", "v1"], "--from needs a name"),
        (["completion", "csh"], "csh"),
    ],
)
def test_usage_errors_exit_with_2(args: list[str], says: str) -> None:
    result = CliRunner().invoke(vfs, args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.startswith("vfs: ")
    assert "--help'" in result.stderr
    assert result.stdout == ""


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.utils, "should_strip_ansi", lambda *_: False)  # as on a terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in CliRunner().invoke(vfs, ["imprt"], color=True).stderr
    assert "\x1b[" in CliRunner().invoke(vfs, ["--help"], color=True).stdout


def test_a_subprocess_s_codes_and_streams(tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*VFS, *args], capture_output=True, text=True, check=False)

    assert run("--version").returncode == 0
    wrong = run("imprt")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Traceback" not in wrong.stderr
    missing = run("--store", str(tmp_path / "none"), "ls")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("vfs: ")
    assert "Traceback" not in missing.stderr
    assert "Traceback" in run("--debug", "--store", str(tmp_path / "none"), "ls").stderr
