"""Encryption of objects and of their names. Bytes: docs/remote-format.md. No input or output."""

from __future__ import annotations

import base64
import re
import secrets
import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vfs.errors import CorruptObject
from vfs.remote.secrets import MasterKey

BLOCK_BYTES: Final = 64 << 10
TAG_BYTES: Final = 16
PADDED_MIN_BYTES: Final = 1 << 10  # records of references look alike

_MAGIC: Final = b"vfsseal\x01"
_SALT_BYTES: Final = 32
_SIZE: Final = struct.Struct("<Q")
HEAD_BYTES: Final = len(_MAGIC) + _SALT_BYTES + _SIZE.size + TAG_BYTES
_HEAD_NONCE: Final = b"\xff" * 12
_NAME_PAD_BYTES: Final = 32
_NUMBER: Final = re.compile(r"[0-9]{20}")


def padded_size(size: int) -> int:
    """Return what *size* bytes are padded to, so that sizes tell little (Padme, at most 12 %)."""
    exponent = max(size, 2).bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return max(PADDED_MIN_BYTES, -(-size // step) * step)


def sealed_size(size: int) -> int:
    """Return the bytes that an object of *size* bytes takes in the bucket."""
    padded = padded_size(size)
    return HEAD_BYTES + padded + -(-padded // BLOCK_BYTES) * TAG_BYTES


class Opened(NamedTuple):
    """The head of a sealed object: its key, and how much it holds."""

    cipher: AESGCM
    size: int  # bytes, without what pads it

    def blocks(self, first: int, data: bytes | memoryview) -> bytes:
        """Return what blocks from number *first* on hold. Raises CorruptObject."""
        last = -(-padded_size(self.size) // BLOCK_BYTES) - 1
        step, view = BLOCK_BYTES + TAG_BYTES, memoryview(data)
        try:
            return b"".join(
                self.cipher.decrypt(_nonce(number, last), view[at : at + step], None)
                for number, at in enumerate(range(0, len(data), step), first)
            )
        except (InvalidTag, ValueError):
            raise CorruptObject("bytes on the remote do not open with its key") from None


class Sealer:
    """Encrypts the objects of one remote, each with a key of its own. Thread-safe."""

    def __init__(self, master: MasterKey) -> None:
        self._key = HKDF(SHA256(), 32, None, b"vfs objects").derive(master.data)

    def seal(self, name: str, data: bytes) -> bytes:
        """Return what is to be stored for the object *name*: other bytes each time."""
        salt = secrets.token_bytes(_SALT_BYTES)
        cipher, padded = self._cipher(name, salt), padded_size(len(data))
        last = -(-padded // BLOCK_BYTES) - 1
        parts = [_MAGIC, salt, cipher.encrypt(_HEAD_NONCE, _SIZE.pack(len(data)), _MAGIC)]
        view = memoryview(data)
        for number in range(last + 1):
            at = number * BLOCK_BYTES
            block = view[at : at + BLOCK_BYTES]
            room = min(BLOCK_BYTES, padded - at)
            full = block if len(block) == room else bytes(block).ljust(room, b"\0")
            parts.append(cipher.encrypt(_nonce(number, last), full, None))
        return b"".join(parts)

    def head(self, name: str, data: bytes) -> Opened:
        """Return the head of the object *name*. Raises CorruptObject."""
        at = len(_MAGIC) + _SALT_BYTES
        cipher = self._cipher(name, data[len(_MAGIC) : at])
        try:
            (size,) = _SIZE.unpack(cipher.decrypt(_HEAD_NONCE, data[at:HEAD_BYTES], data[:8]))
        except (InvalidTag, ValueError, struct.error):
            raise CorruptObject("bytes on the remote do not open with its key") from None
        return Opened(cipher, size)

    def open(self, name: str, data: bytes) -> bytes:
        """Return what the object *name* holds. Raises CorruptObject."""
        head = self.head(name, data)
        if len(data) != sealed_size(head.size):
            raise CorruptObject("it is not as long as it was written")
        return head.blocks(0, data[HEAD_BYTES:])[: head.size]

    def _cipher(self, name: str, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), 32, salt, name.encode()).derive(self._key))


def _nonce(number: int, last: int) -> bytes:
    """Return a block's nonce: its number, and whether it is the last (STREAM)."""
    return number.to_bytes(11, "little") + (b"\1" if number == last else b"\0")


class Names:
    """Encrypts names, the same one always alike, so that an object is found. Thread-safe.

    The first part of a path, and numbers, stay: lists of records keep their order.
    """

    def __init__(self, master: MasterKey) -> None:
        self._siv = AESSIV(HKDF(SHA256(), 64, None, b"vfs names").derive(master.data))

    def object(self, name: str) -> str:
        """Return the name in the bucket of an object."""
        return self.directory(name) if "/" in name else self._token(name, "")

    def directory(self, name: str) -> str:
        """Return the name in the bucket of a directory."""
        first, *others = name.split("/")
        sealed, parent = [first], first
        for part in others:
            sealed.append(part if is_number(part) else self._token(part, parent))
            parent += f"/{part}"
        return "/".join(sealed)

    def opened(self, sealed: str) -> str | None:
        """Return the name of an object in the bucket; None for what is none of the remote's."""
        first, *others = sealed.split("/")
        if not others:
            return self.part(first, "")
        name = first
        for token in others:
            part = token if is_number(token) else self.part(token, name)
            if part is None:
                return None
            name += f"/{part}"
        return name

    def part(self, token: str, parent: str) -> str | None:
        """Return what stands for one part of a name in the directory *parent*, or None."""
        try:
            raw = base64.b32decode(token[1:].upper() + "=" * (-(len(token) - 1) % 8))
            part = self._siv.decrypt(raw, [parent.encode()]).rstrip(b"\0").decode("ascii")
        except (InvalidTag, ValueError):
            return None
        # base32 has several spellings of some bytes: only one of them is a name.
        return part if token == self._token(part, parent) else None

    def _token(self, part: str, parent: str) -> str:
        raw = part.encode("ascii")
        raw = raw.ljust(-(-len(raw) // _NAME_PAD_BYTES) * _NAME_PAD_BYTES, b"\0")
        token = base64.b32encode(self._siv.encrypt(raw, [parent.encode()]))
        return "x" + token.decode("ascii").rstrip("=").lower()


def is_number(part: str) -> bool:
    """Say whether a part of a name is a number, which is not hidden."""
    return _NUMBER.fullmatch(part) is not None
