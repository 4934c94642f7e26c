"""Who does something: for commits and for the log of references.

What only some commands need is imported when it is needed: together that takes 6 ms.
"""

from __future__ import annotations

import os


def host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def who() -> str:
    """Return the user and machine that run this process, as `user@host`."""
    import getpass  # noqa: PLC0415

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user, as in many containers
        user = f"uid{os.getuid()}"
    return f"{user}@{host()}"


def author() -> str:
    """Return the author of commits made here.

    From $VFS_AUTHOR, git's environment, git's configuration, or else `who()`.
    """
    if own := os.environ.get("VFS_AUTHOR"):
        return own
    name, email = (os.environ.get(f"GIT_AUTHOR_{key}", "") for key in ("NAME", "EMAIL"))
    if not (name and email):
        configured = _git_user()
        name = name or configured.get("user.name", "")
        email = email or configured.get("user.email", "")
    if name and email:
        return f"{name} <{email}>"
    return name or email or who()


def _git_user() -> dict[str, str]:
    """Return what git's configuration says of the user."""
    import shutil  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    git = shutil.which("git")
    if git is None:
        return {}
    command = [git, "config", "--null", "--get-regexp", r"^user\.(name|email)$"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    found = (line.partition("\n") for line in done.stdout.split("\0"))
    return {key: value.strip() for key, _, value in found if key}  # the last one counts
