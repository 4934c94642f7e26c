"""A tree entry: one name in a directory, and all that is kept of it (docs/format.md, "entry")."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.codec import Cursor

NAME_MAX_BYTES: Final = 255
TARGET_MAX_BYTES: Final = 4095  # PATH_MAX less the NUL, as symlink(2) has it
XATTRS_MAX_BYTES: Final = 59 * 1024  # with all else there can be, they fit a 16-bit length
SIZE_MAX_BYTES: Final = 2**63 - 1

PAST_XATTRS: Final = b"user.vfs."
"""Extended attributes whose names begin so are made up when they are asked for (`vfs.fs.past`)."""

FLAG_BLOB: Final = 1
"""The content is a blob (a list of chunks), not one chunk."""

KINDS: Final = frozenset(
    (
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFCHR,
        stat.S_IFBLK,
    )
)


class Totals(NamedTuple):
    """What a directory holds, all levels together; `subdirs` alone counts one level."""

    subdirs: int
    dirs: int  # this directory counts
    files: int  # everything that is not a directory
    bytes: int  # the sizes of the regular files


class Link(NamedTuple):
    """One set of hard links in one snapshot."""

    group: bytes  # 8 bytes that tell the sets of a snapshot apart
    nlink: int


class Entry(NamedTuple):
    """One name in a directory. `Extra.decode(entry.extra)` gives what only few entries have."""

    name: bytes  # b"" for the root of a revision
    mode: int  # st_mode, file type included
    uid: int
    gid: int
    mtime_ns: int
    size: int  # bytes: of a regular file, or of a symlink's target; 0 for all else
    content: ObjectId  # chunk or blob of a file, node of a directory, else NO_CONTENT
    flags: int
    extra: bytes

    @property
    def kind(self) -> int:
        """Return the file type bits of the mode."""
        return stat.S_IFMT(self.mode)

    @property
    def is_dir(self) -> bool:
        """Say whether this is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Say whether this is a regular file."""
        return stat.S_ISREG(self.mode)


_TAG: Final = struct.Struct("<BH")
_TOTALS: Final = struct.Struct("<IQQQ")
_LINK: Final = struct.Struct("<8sI")
_U64: Final = struct.Struct("<Q")
_XATTR: Final = struct.Struct("<BH")

_T_TOTALS, _T_LINK, _T_RDEV, _T_HOLES, _T_TARGET, _T_XATTRS = range(1, 7)
_LINK_FIRST: Final = bytes([_T_LINK])
_DEVICES: Final = frozenset((stat.S_IFCHR, stat.S_IFBLK))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What few entries have. Canonical: tags ascend, each stands once, none for a default."""

    totals: Totals | None = None  # directories, always
    link: Link | None = None
    rdev: int = 0  # devices, as os.makedev() has it
    holes: int = 0  # bytes of the size that no chunk holds
    target: bytes = b""  # symlinks
    xattrs: tuple[tuple[bytes, bytes], ...] = ()  # ascending names

    def encode(self) -> bytes:
        """Return the canonical bytes; b"" where there is nothing extra."""
        parts = []
        if self.totals is not None:
            parts.append(_tagged(_T_TOTALS, _TOTALS.pack(*self.totals)))
        if self.link is not None:
            parts.append(_tagged(_T_LINK, _LINK.pack(*self.link)))
        if self.rdev:
            parts.append(_tagged(_T_RDEV, _U64.pack(self.rdev)))
        if self.holes:
            parts.append(_tagged(_T_HOLES, _U64.pack(self.holes)))
        if self.target:
            parts.append(_tagged(_T_TARGET, self.target))
        if self.xattrs:
            parts.append(_tagged(_T_XATTRS, encode_xattrs(self.xattrs)))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Extra:
        """Return what *data* says. Raises CorruptObject for anything not canonical."""
        if not data:
            return _NOTHING
        fields = _split_tags(data)
        totals = fields.get(_T_TOTALS)
        link = fields.get(_T_LINK)
        try:
            extra = cls(
                totals=None if totals is None else Totals(*_TOTALS.unpack(totals)),
                link=None if link is None else Link(*_LINK.unpack(link)),
                rdev=_U64.unpack(fields.get(_T_RDEV, bytes(8)))[0],
                holes=_U64.unpack(fields.get(_T_HOLES, bytes(8)))[0],
                target=fields.get(_T_TARGET, b""),
                xattrs=decode_xattrs(fields.get(_T_XATTRS, b"")),
            )
        except struct.error as error:
            raise CorruptObject(f"an entry's extra field has a wrong length: {error}") from None
        if extra.encode() != data:
            raise CorruptObject("an entry's extra fields are not in their canonical form")
        return extra


_NOTHING: Final = Extra()


def _tagged(tag: int, payload: bytes) -> bytes:
    return _TAG.pack(tag, len(payload)) + payload


def _split_tags(data: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    cursor = Cursor(data)
    last = 0
    while not cursor.at_end():
        tag, length = cursor.unpack(_TAG)
        if not last < tag <= _T_XATTRS:
            raise CorruptObject(f"an entry has an unknown or misplaced extra field {tag}")
        fields[tag] = cursor.take(length)
        last = tag
    return fields


def encode_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the canonical bytes of extended attributes, which ascend by name."""
    return b"".join(_XATTR.pack(len(k), len(v)) + k + v for k, v in xattrs)


def decode_xattrs(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes that *data* holds. Raises CorruptObject."""
    cursor = Cursor(data)
    xattrs = []
    last = b""
    while not cursor.at_end():
        name_length, value_length = cursor.unpack(_XATTR)
        name = cursor.take(name_length)
        if name <= last or b"\0" in name:
            raise CorruptObject("an entry's extended attributes are not in ascending order")
        last = name
        xattrs.append((name, cursor.take(value_length)))
    return tuple(xattrs)


_NO_EXTRA: Final = Extra()


def directory_totals(entry: Entry) -> Totals:
    """Return the totals of the directory *entry*. Raises CorruptObject where it has none."""
    return totals_in(entry.extra)


def totals_in(extra: bytes) -> Totals:
    """Return the totals of the directory with this *extra*. Raises CorruptObject."""
    # The totals are the first tag: taking them alone is four times as fast as decoding all.
    if len(extra) < _TAG.size + _TOTALS.size or extra[0] != _T_TOTALS:
        raise CorruptObject("a directory has no totals")
    return Totals._make(_TOTALS.unpack_from(extra, _TAG.size))


def has_link(extra: bytes) -> bool:
    """Say whether this is the *extra* of one of several hard links."""
    return extra[:1] == _LINK_FIRST  # only a directory has a tag before it


def directory_entry(
    name: bytes,
    tree: ObjectId,
    totals: Totals,
    *,
    mode: int = 0o755,
    uid: int = 0,
    gid: int = 0,
    mtime_ns: int = 0,
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> Entry:
    """Return the entry of a directory; *mode* needs no file type."""
    extra = Extra(totals=totals, xattrs=xattrs).encode()
    full_mode = stat.S_IFDIR | stat.S_IMODE(mode)
    return Entry(name, full_mode, uid, gid, mtime_ns, 0, tree, 0, extra)


def check_entry(entry: Entry) -> None:
    """Raise CorruptObject unless *entry* is one that this project can have written."""
    kind = entry.kind
    if kind not in KINDS or entry.mode >> 16 or entry.flags & ~FLAG_BLOB:
        raise CorruptObject(f"the entry {entry.name!r} has an unknown type: {entry.mode:o}")
    if entry.flags and kind != stat.S_IFREG:
        raise CorruptObject(f"the entry {entry.name!r} has a blob but is no regular file")
    if entry.size > SIZE_MAX_BYTES:
        raise CorruptObject(f"the entry {entry.name!r} has an impossible size")
    has_content = kind == stat.S_IFDIR or (kind == stat.S_IFREG and entry.size > 0)
    if (entry.content != NO_CONTENT) != has_content:
        raise CorruptObject(f"the entry {entry.name!r} and its content do not fit together")


def checked_extra(entry: Entry) -> Extra:
    """Return the extra of *entry*. Raises CorruptObject unless all of the entry fits together."""
    check_entry(entry)
    extra = Extra.decode(entry.extra) if entry.extra else _NO_EXTRA
    kind = entry.kind
    if (kind == stat.S_IFDIR) != (extra.totals is not None):
        raise CorruptObject("it has the totals of a directory, or lacks them")
    if kind == stat.S_IFDIR:
        if extra.link is not None or extra.holes or extra.target or extra.rdev or entry.size:
            raise CorruptObject("it has what no directory can have")
    elif kind == stat.S_IFREG:
        if extra.target or extra.rdev:
            raise CorruptObject("it has what no file can have")
    else:
        if kind == stat.S_IFLNK:
            is_right = 0 < len(extra.target) == entry.size
        else:
            is_right = not entry.size and not extra.target
        if not is_right or extra.holes or (extra.rdev and kind not in _DEVICES):
            raise CorruptObject("its size, or what it leads to, can't be so")
    return extra
