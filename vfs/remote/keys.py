"""The master key of an encrypted remote, wrapped by what its users have. docs/remote-format.md.

Slots `keys/<n>` are written once as all else is; the last one counts. So a change of passphrase
is one put: killed at any moment, either the old passphrase opens the remote or the new one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from vfs.errors import NotFastForward, RemoteProblem
from vfs.remote.bucket import Bucket
from vfs.remote.layout import JSON_MAX_BYTES, decode_json, encode_json
from vfs.remote.secrets import KEY_BYTES, Kind, MasterKey, Secret

KEYS: Final = "keys"

SCRYPT_N: Final = 1 << 17  # with r = 8: 128 MiB and 0.3 s for each guess
_R: Final = 8
_N_MAX: Final = 1 << 20  # 1 GiB: a remote can't ask for more
_P_MAX: Final = 4
_SALT_BYTES: Final = 32
_WRAPPING_BYTES: Final = 64  # AES-256-SIV takes two keys
_KINDS: Final[dict[str, Kind]] = {"scrypt": "passphrase", "hkdf-sha256": "key file"}
_SLOT: Final = re.compile(rf"{KEYS}/[0-9]{{20}}")

Ask = Callable[[Kind | None], Secret]
"""Gives the secret of this kind; None: of any kind, for a remote that is being made."""


def make_keys(bucket: Bucket, ask: Ask) -> MasterKey:
    """Make a master key, or return that of another who was faster, or was killed."""
    if _last_slot(bucket) is None:
        secret = ask(None)
        slot = wrap(0, MasterKey(secrets.token_bytes(KEY_BYTES)), secret)
        bucket.put(_name(0), slot)
        return unwrap(0, bucket.get(_name(0), most=JSON_MAX_BYTES), secret)
    return open_keys(bucket, ask)


def open_keys(bucket: Bucket, ask: Ask) -> MasterKey:
    """Return a remote's master key. Raises RemoteProblem for a wrong secret."""
    number, slot = _read_last(bucket)
    return unwrap(number, slot, ask(slot_kind(number, slot)))


def change_secret(bucket: Bucket, ask: Ask, ask_new: Ask) -> None:
    """Have another secret open a remote from now on. Raises RemoteProblem, NotFastForward.

    Who kept a copy of the old slot can open that with the old secret for ever. Killed before old
    slots are deleted, the next change deletes them; the last one counts all the same.
    """
    number, slot = _read_last(bucket)
    master = unwrap(number, slot, ask(slot_kind(number, slot)))
    new = wrap(number + 1, master, ask_new(None))
    name = _name(number + 1)
    if not bucket.put(name, new) and bucket.get(name, most=JSON_MAX_BYTES) != new:
        raise NotFastForward("somebody else just changed it", hint="look which one holds now")
    for old in range(number + 1):
        bucket.delete(_name(old))


def wrap(number: int, master: MasterKey, secret: Secret) -> bytes:
    """Return the bytes of a slot."""
    salt = secrets.token_hex(_SALT_BYTES)
    facts: dict[str, Any] = {"kdf": "hkdf-sha256", "salt": salt}
    if secret.kind == "passphrase":
        facts = {"kdf": "scrypt", "n": SCRYPT_N, "p": 1, "r": _R, "salt": salt}
    wrapped = AESSIV(_wrapping_key(facts, secret)).encrypt(master.data, _bound(number, facts))
    return encode_json(facts | {"wrapped": wrapped.hex()})


def unwrap(number: int, slot: bytes, secret: Secret) -> MasterKey:
    """Return the master key that a slot holds. Raises RemoteProblem."""
    kind, facts = slot_kind(number, slot), decode_json(_name(number), slot)
    if kind != secret.kind:
        raise RemoteProblem(f"the remote is opened with a {kind}, not with a {secret.kind}")
    try:
        wrapped = bytes.fromhex(facts.pop("wrapped"))
        key = _wrapping_key(facts, secret)
    except (KeyError, TypeError, ValueError):
        raise RemoteProblem(f"'{_name(number)}' on the remote is damaged") from None
    try:
        return MasterKey(AESSIV(key).decrypt(wrapped, _bound(number, facts)))
    except (InvalidTag, ValueError):
        raise RemoteProblem(
            f"this {kind} does not open the remote",
            hint=f"it is another one, or '{_name(number)}' there was changed",
        ) from None


def slot_kind(number: int, slot: bytes) -> Kind:
    """Return what kind of secret opens a slot. Raises RemoteProblem."""
    kdf = decode_json(_name(number), slot).get("kdf")
    if not isinstance(kdf, str) or kdf not in _KINDS:
        raise RemoteProblem(
            f"'{_name(number)}' on the remote is of a kind that this vfs does not know",
            hint="install a newer vfs",
        )
    return _KINDS[kdf]


def _wrapping_key(facts: dict[str, Any], secret: Secret) -> bytes:
    """Raises KeyError, TypeError, ValueError for a slot that asks for what can't be."""
    salt = bytes.fromhex(facts["salt"])
    if secret.kind == "key file":
        return HKDF(SHA256(), _WRAPPING_BYTES, salt, b"vfs key file").derive(secret.data)
    n, r, p = facts["n"], facts["r"], facts["p"]
    if not (2 <= n <= _N_MAX and r == _R and 1 <= p <= _P_MAX):
        raise ValueError("out of bounds")
    return Scrypt(salt, _WRAPPING_BYTES, n, r, p).derive(secret.data)


def _bound(number: int, facts: dict[str, Any]) -> list[bytes]:
    return [_name(number).encode(), encode_json(facts)]


def _read_last(bucket: Bucket) -> tuple[int, bytes]:
    number = _last_slot(bucket)
    if number is None:
        raise RemoteProblem("the remote is damaged: it has lost the keys that open it")
    return number, bucket.get(_name(number), most=JSON_MAX_BYTES)


def _last_slot(bucket: Bucket) -> int | None:
    found = [item.name for item in bucket.items(KEYS) if _SLOT.fullmatch(item.name)]
    return int(found[-1].rpartition("/")[2]) if found else None


def _name(number: int) -> str:
    return f"{KEYS}/{number:020}"
