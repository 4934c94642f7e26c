"""Who does something: for commits and for the log of references."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess


def who() -> str:
    """Return the user and machine that run this process, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user, as in many containers
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def author() -> str:
    """Return the author of commits made here.

    From $VFS_AUTHOR, git's environment, git's configuration, or else `who()`.
    """
    if own := os.environ.get("VFS_AUTHOR"):
        return own
    name = os.environ.get("GIT_AUTHOR_NAME") or _git("user.name")
    email = os.environ.get("GIT_AUTHOR_EMAIL") or _git("user.email")
    if name and email:
        return f"{name} <{email}>"
    return name or email or who()


def _git(key: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(
        [git, "config", "--get", key], capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout.strip()
