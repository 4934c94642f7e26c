"""The environment of a command: what it gets, what is recorded of it, facts about the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.repo import identity

if TYPE_CHECKING:
    from vfs.model.commit import JSON

RECORDED: Final = frozenset(
    (
        "CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES LANG LC_ALL MKL_NUM_THREADS OMP_NUM_THREADS"
        " OPENBLAS_NUM_THREADS PYTHONHASHSEED PYTHONPATH TF_DETERMINISTIC_OPS TZ"
    ).split()
)
"""What can change the result of a command, and says nothing about who runs it."""

PASSED: Final = frozenset(
    (
        "CONDA_PREFIX HOME LD_LIBRARY_PATH LOGNAME PATH SHELL TERM TMPDIR USER VIRTUAL_ENV"
        " XDG_RUNTIME_DIR"
    ).split()
)
"""What a command needs to be found and to run."""

VALUE_MAX_BYTES: Final = 8 << 10
TOTAL_MAX_BYTES: Final = 32 << 10  # of all, in a commit
GIT_SECONDS: Final = 60

_KIND: Final = "container"  # the variable that podman, systemd-nspawn and LXC set

_SECRET_NAME: Final = re.compile(
    r"SECRET|TOKEN|PASS(WORD|WD|PHRASE)|CREDENTIAL|COOKIE|AUTH|PRIVATE|SIGNATURE|DSN$"
    r"|(^|_)(API_?)?KEY(S|_ID)?($|_)|APIKEY|(^|_)(PASS|PWD|PAT|SAS)($|_)"
)
_SECRET_VALUE: Final = re.compile(r"://[^/@\s]*:[^/@\s]+@|-----BEGIN [A-Z ]*PRIVATE KEY")


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable looks like a secret, by its name or a password in an address."""
    return bool(_SECRET_NAME.search(name.upper()) or _SECRET_VALUE.search(value))


def recorded(
    environment: Mapping[str, str], asked: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the variables to record, and the names of those that were asked for and are not."""
    wanted = {*RECORDED, *asked}
    there = {name: environment[name] for name in sorted(wanted) if name in environment}
    kept: dict[str, str] = {}
    left = TOTAL_MAX_BYTES
    for name, value in there.items():
        size = len(os.fsencode(name + value))
        if not is_secret(name, value) and size <= min(VALUE_MAX_BYTES, left):
            kept[name] = value
            left -= size
    return kept, [name for name in there if name not in kept]


def passed(
    environment: Mapping[str, str], asked: Iterable[str], *, everything: bool
) -> dict[str, str]:
    """Return the variables that a command gets of those there are."""
    if everything:
        return dict(environment)
    names = {*RECORDED, *PASSED, *asked}
    return {
        name: value
        for name, value in environment.items()
        if name in names or name.startswith("LC_")
    }


def machine_facts(command: str, directory: Path) -> dict[str, JSON]:
    """Return what is recorded of the machine, the user, and the code in *directory*."""
    who = identity.who()
    return {
        "host": identity.host(),
        "user": who.rpartition("@")[0],
        "kernel": f"{os.uname().sysname} {os.uname().release} {platform.machine()}",
        "python": _python_version(command),
        "container": _container(),
        "code": _code(directory),
    }


def _python_version(command: str) -> str | None:
    """Return the version of the interpreter that *command* is, if it is one of Python."""
    program = shutil.which(command)
    if program is None or not re.fullmatch(r"(python|pypy)[0-9.]*", Path(command).name):
        return None
    return (_output([program, "--version"]) or b"").decode(errors="replace").strip() or None


def _container() -> dict[str, JSON] | None:
    """Return what kind of container this is, and its image as far as it can be known."""
    facts: dict[str, JSON] = {}
    with suppress(OSError):
        for line in Path("/run/.containerenv").read_text(errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key in ("engine", "image", "imageid"):
                facts[key] = value.strip('"')
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "CONTAINER_IMAGE"):
        if image := os.environ.get(name):
            facts.setdefault("image", image)
    if kind := os.environ.get(_KIND) or ("docker" if Path("/.dockerenv").exists() else ""):
        facts.setdefault("engine", kind)
    return facts or None


def _code(directory: Path) -> dict[str, JSON] | None:
    """Return the commit of git that *directory* is at, and a hash of what differs from it."""
    head = _output(["git", "rev-parse", "HEAD"], directory)
    if head is None:
        return None
    status = _output(["git", "status", "--porcelain", "-z"], directory) or b""
    difference = _output(["git", "diff", "--binary", "--no-ext-diff", "HEAD"], directory) or b""
    prefix = _output(["git", "rev-parse", "--show-prefix"], directory) or b""
    return {
        "commit": head.decode().strip(),
        "directory": os.fsdecode(prefix.rstrip(b"\n")).rstrip("/"),
        "dirty": bool(status),
        "diff": blake3(difference).hexdigest() if difference else None,
    }


def _output(command: list[str], directory: Path | None = None) -> bytes | None:
    """Return what a program writes; None where it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
