"""The tar format: from an entry to the headers of its member. Knows no store.

The archive is POSIX's pax, as GNU tar, libarchive and Python's tarfile read it, with what the first
two agree on beyond POSIX: `SCHILY.xattr.*` and `SCHILY.acl.*`, and sparse files in the form 1.0 of
GNU. tarfile itself is not used to write: it takes 80 us for each member, names that are text, and
times that are floats.

Everything depends on the entry alone, so the same version gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from vfs.repo.importer.tarattrs import ACL_KEYS, acl_to_text
from vfs.repo.importer.tarformat import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
)

if TYPE_CHECKING:
    from vfs.model.entry import Entry, Extra

END: Final = bytes(2 * BLOCK)
KINDS: Final = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
"""What an archive can hold; sockets it can't."""

_NS: Final = 10**9
_NAME_BYTES: Final = 100
_ID_MAX: Final = 0o7777777
_SIZE_MAX: Final = 0o77777777777
_PAX: Final = b"x"

Extents = list[tuple[int, int]]
"""Where a sparse file has data: offsets and lengths."""


def member(
    path: bytes, entry: Entry, extra: Extra, *, link: bytes | None = None, stored: int = 0
) -> bytes:
    """Return the headers of a member.

    *link*: the member is one more name of what has this path; *stored*: bytes of content that
    follow. *path* and *link* are relative to the root of the archive, b"" for the root itself.
    """
    kind = LINK if link is not None else KINDS[stat.S_IFMT(entry.mode)]
    name = b"./" + path
    if kind == DIRECTORY and path:
        name += b"/"
    target = extra.target if link is None else b"./" + link
    records = _attributes(extra) if link is None else []
    records += _long_names(name, target)
    return _with_records(name, target, kind, entry, extra, stored, records)


def sparse_member(path: bytes, entry: Entry, extra: Extra, extents: Extents) -> bytes:
    """Return the headers of a member with holes, and the map of its data; the data follows."""
    listed = extents if extents and sum(extents[-1]) == entry.size else [*extents, (entry.size, 0)]
    numbers = [len(listed), *(number for extent in listed for number in extent)]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % BLOCK)
    name = b"./" + path
    directory, _, base = name.rpartition(b"/")
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % entry.size),
        *_attributes(extra),
    ]
    stored = len(table) + sum(length for _, length in extents)
    # Whoever does not know of sparse files unpacks the map with the data under this name.
    hidden = directory + b"/GNUSparseFile.0/" + base
    records += _long_names(hidden, b"")
    return _with_records(hidden, b"", REGULAR, entry, extra, stored, records) + table


def _with_records(
    name: bytes,
    target: bytes,
    kind: bytes,
    entry: Entry,
    extra: Extra,
    stored: int,
    records: list[tuple[bytes, bytes]],
) -> bytes:
    seconds, fraction = divmod(entry.mtime_ns, _NS)
    if fraction or not 0 <= seconds <= _SIZE_MAX:
        records.append((b"mtime", _time(entry.mtime_ns)))
    for key, value, most in (
        (b"uid", entry.uid, _ID_MAX),
        (b"gid", entry.gid, _ID_MAX),
        (b"size", stored, _SIZE_MAX),
    ):
        if value > most:
            records.append((key, b"%d" % value))
    header = _header(
        name,
        target,
        kind,
        mode=stat.S_IMODE(entry.mode),
        ids=(entry.uid, entry.gid),
        size=stored,
        seconds=seconds,
        device=extra.rdev if kind in (CHARACTER, BLOCK_DEVICE) else 0,
    )
    return _pax(name, records) + header if records else header


def _header(
    name: bytes,
    target: bytes,
    kind: bytes,
    *,
    mode: int,
    ids: tuple[int, int],
    size: int,
    seconds: int,
    device: int = 0,
) -> bytes:
    """Return one block; what does not fit is cut, as a pax header says it, too."""
    fields = (
        name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        _octal(mode, 8),
        *(_octal(number, 8) for number in ids),
        _octal(size, 12),
        _octal(max(seconds, 0), 12),
        b" " * 8,  # the sum, which counts as spaces
        kind,
        target[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        b"ustar\x0000",
        bytes(64),  # no names of users: they are other people elsewhere
        _octal(os.major(device), 8),
        _octal(os.minor(device), 8),
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(number: int, width: int) -> bytes:
    digits = b"%0*o" % (width - 1, number)
    return (digits if len(digits) < width else b"7" * (width - 1)) + b"\0"


def _pax(name: bytes, records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return an extended header, which is a member of its own."""
    body = b"".join(_record(key, value) for key, value in records)
    hidden = b"./PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2]
    header = _header(hidden, b"", _PAX, mode=0o644, ids=(0, 0), size=len(body), seconds=0)
    return header + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """Return `length key=value newline`; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    if len(b"%d" % length) > len(b"%d" % rest):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _long_names(name: bytes, target: bytes) -> list[tuple[bytes, bytes]]:
    """Return records for what a header can't hold, and names in UTF-8, which pax says they are.

    Short names in another encoding stay in the header, where no reader asks for one.
    """
    records = [
        (key, value)
        for key, value in ((b"path", name), (b"linkpath", target))
        if len(value) > _NAME_BYTES or (not value.isascii() and _is_utf8(value))
    ]
    if any(not _is_utf8(value) for _, value in records):
        # POSIX: the values are bytes then, not UTF-8.
        records.insert(0, (b"hdrcharset", b"BINARY"))
    return records


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _attributes(extra: Extra) -> list[tuple[bytes, bytes]]:
    records = []
    for name, value in extra.xattrs:
        text = acl_to_text(value, is_default=name.endswith(b"default")) if name in ACL_KEYS else b""
        if text:
            records.append((ACL_KEYS[name], text))
        else:
            # As GNU tar has it: a key ends at the first "=".
            key = name.replace(b"%", b"%25").replace(b"=", b"%3D")
            records.append((b"SCHILY.xattr." + key, value))
    return records


def _time(time_ns: int) -> bytes:
    """Return seconds with a fraction, exactly."""
    seconds, fraction = divmod(abs(time_ns), _NS)
    digits = b".%09d" % fraction if fraction else b""
    return b"%s%d%s" % (b"-" if time_ns < 0 else b"", seconds, digits.rstrip(b"0"))
