"""What opens an encrypted remote: a passphrase or a key file. Never stored, never shown."""

from __future__ import annotations

import os
import re
import secrets
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from vfs.errors import AlreadyExists, InvalidInput

Kind: TypeAlias = Literal["passphrase", "key file"]

KEY_BYTES: Final = 32
_SECRET_MAX_BYTES: Final = 64 << 10  # of a file that holds one
_KEY_LINE: Final = re.compile(rb"vfs-remote-key-1:([0-9a-f]{64})\n?")


@dataclass(frozen=True, slots=True)
class Secret:
    """What a user has to open a remote with. Its bytes are in no message."""

    kind: Kind
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What everything on an encrypted remote is encrypted with, at one remove."""

    data: bytes = field(repr=False)  # KEY_BYTES


def passphrase(text: str) -> Secret:
    """Return a typed passphrase as a secret. Raises InvalidInput for an empty one."""
    if not text:
        raise InvalidInput("the passphrase is empty", hint="choose one of several words")
    # What is typed alike is the same bytes on every system.
    return Secret("passphrase", unicodedata.normalize("NFC", text).encode("utf-8", "replace"))


def make_key_file(path: Path) -> None:
    """Make a file with a new key, for its owner alone. Raises AlreadyExists, InvalidInput."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(f"vfs-remote-key-1:{secrets.token_hex(KEY_BYTES)}\n".encode())
            file.flush()
            os.fsync(fd)
    except FileExistsError:
        raise AlreadyExists(f"{path} is there already", hint="name another file") from None
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error


def read_key_file(path: Path) -> Secret:
    """Return the key that a file holds. Raises InvalidInput, also where others may read it."""
    match = _KEY_LINE.fullmatch(_read_private(path))
    if match is None:
        raise InvalidInput(f"{path} is no key file", hint="'vfs remote key FILE' makes one")
    return Secret("key file", bytes.fromhex(match[1].decode()))


def read_passphrase_file(path: Path) -> Secret:
    """Return the passphrase that is the first line of a file, or of a pipe. Raises InvalidInput."""
    try:
        text = _read_private(path).decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} holds no passphrase: it is not UTF-8") from None
    return passphrase(text.partition("\n")[0].removesuffix("\r"))


def _read_private(path: Path) -> bytes:
    """Return what a file holds that nobody but its owner may read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise InvalidInput(f"others may read {path}", hint=f"chmod 600 {path}")
            data = file.read(_SECRET_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    if len(data) > _SECRET_MAX_BYTES:
        raise InvalidInput(f"{path} is too large to be a secret")
    return data
