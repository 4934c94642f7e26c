"""Who commits: asked for in this order, and found without a command where possible."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vfs.repo import identity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VFS_AUTHOR", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_it_is_the_user_on_this_machine(home: Path) -> None:
    assert identity.author() == identity.who()
    assert identity.who().endswith(f"@{identity.host()}")


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_git_s_configuration(home: Path) -> None:
    (home / ".gitconfig").write_text("[user]\n\tname = Old\n\tname = Zoë Löw \n")
    assert identity.author() == "Zoë Löw"
    (home / ".gitconfig").write_text("[user]\n\tname = Zoë\n\temail = zoe@example.com\n")
    assert identity.author() == "Zoë <zoe@example.com>"
    (home / ".gitconfig").write_text("[user\n")
    assert identity.author() == identity.who()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_environment_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".gitconfig").write_text("[user]\n\tname = Zoë\n\temail = zoe@example.com\n")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    assert identity.author() == "Ada <zoe@example.com>"
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.com")
    monkeypatch.setattr("shutil.which", lambda _: pytest.fail("git was asked for"))
    assert identity.author() == "Ada <ada@example.com>"
    monkeypatch.setenv("VFS_AUTHOR", "me")
    assert identity.author() == "me"


def test_without_git_and_without_a_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("getpass.getuser", lambda: {}["no such user"])
    assert identity.author().startswith("uid")
