"""The tar format: from the bytes of an archive to its members. Knows no store.

Reads v7, ustar, GNU and pax archives, as POSIX's pax(1) and GNU tar's manual lay them down.
Python's `tarfile` keeps every member in memory, believes any size that a header states, and takes
80 µs for each; an archive is input from outside, so everything here is bounded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from vfs.errors import InvalidInput
from vfs.repo.importer.decompress import Exact

BLOCK: Final = 512
HEADERS_MAX_BYTES: Final = 1 << 20
"""Of one extended header: xattrs take at most 64 KiB, names a few."""
EXTENTS_MAX: Final = 1_000_000
SIZE_MAX_BYTES: Final = 2**63 - 1
TIME_MAX_NS: Final = 2**63 - 1

REGULAR: Final = b"0"
LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"

_KINDS: Final = {
    b"\0": REGULAR,
    b"0": REGULAR,
    b"7": REGULAR,  # contiguous: as a regular file on all systems there are
    b"S": REGULAR,  # GNU: sparse
    b"1": LINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
    b"5": DIRECTORY,
    b"D": DIRECTORY,  # GNU: a directory with a list of its names as data
    b"6": FIFO,
}
_TIME: Final = re.compile(rb"(-?)(\d{1,20})(?:\.(\d*))?")
_NO_DATA: Final = frozenset((LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FIFO))

Headers = dict[bytes, bytes]


@dataclass(slots=True)
class Member:
    """One member as its headers have it; names are not checked."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int  # bytes of the file
    stored: int  # bytes in the archive
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    extents: array[int] | None = None  # of a sparse file: offsets and lengths of data, in turn
    headers: Mapping[bytes, bytes] = field(default_factory=dict)  # of pax


class TarReader:
    """Reads one archive, member after member. Between two, the caller reads the member's data."""

    def __init__(self, stream: Exact, name: str) -> None:
        self._stream = stream
        self._name = name
        self._globals: Headers = {}
        self._member = f"the member at byte {0}"

    def members(self) -> Iterator[Member]:
        """Yield the members. For each, `stored` bytes must be read before the next is asked for.

        Raises InvalidInput for anything that is not a whole, well-formed archive.
        """
        headers: Headers = {}
        long_name = long_target = b""
        while True:
            self._member = f"the member at byte {self._stream.position:,}"
            header = self._stream.read_up_to(BLOCK)
            if len(header) < BLOCK or not header.strip(b"\0"):
                self._end(header)
                return
            self._check_sum(header)
            kind = header[156:157]
            if kind == b"x":
                self._merge(headers, self._pax(self._extended(header)))
            elif kind == b"g":
                self._merge(self._globals, self._pax(self._extended(header)))
            elif kind == b"L":
                long_name = self._extended(header).split(b"\0", 1)[0]
            elif kind == b"K":
                long_target = self._extended(header).split(b"\0", 1)[0]
            elif kind == b"V":
                continue  # a label for the whole archive
            else:
                member = self._read_member(header, headers, long_name, long_target)
                end = self._stream.position + member.stored
                yield member
                if self._stream.position != end:
                    raise AssertionError("a member's data was not read")
                self._stream.skip(-member.stored % BLOCK)
                headers, long_name, long_target = {}, b"", b""

    def _end(self, header: bytes) -> None:
        if len(header) < BLOCK:
            what = "truncated: its end mark is missing" if self._stream.position else "empty"
            raise InvalidInput(f"{self._name} is no whole tar archive: it is {what}")
        # Two blocks of zeros are the end mark. Some write one only, and nothing behind it.
        if self._stream.read_up_to(BLOCK).strip(b"\0"):
            raise self.bad("has a header that was wiped out: it is all zeros, and more follows")
        # Padding: reading it lets a decompressor check its sums.
        for _ in range(64):
            if not self._stream.read_up_to(1 << 18):
                break

    def bad(self, reason: str) -> InvalidInput:
        """Return the error that says what is wrong with the current member."""
        return InvalidInput(f"{self._name} can't be imported: {self._member} {reason}")

    # headers

    def _check_sum(self, header: bytes) -> None:
        if self._number(header[148:156], "checksum") not in _sums(header):
            raise self.bad("has a header that is damaged, or this is no tar archive")

    def _number(self, data: bytes, what: str) -> int:
        """Return a number in octal digits, or in base 256 as GNU tar has it."""
        if data[0] & 0x80:
            value = int.from_bytes(data, "big", signed=False)
            bits = 8 * len(data)
            value &= (1 << (bits - 1)) - 1
            return value - (1 << (bits - 1)) if data[0] & 0x40 else value
        digits = data.split(b"\0", 1)[0].strip(b" \0")
        if not digits:
            return 0
        if not re.fullmatch(rb"[0-7]+", digits):
            raise self.bad(f"has a {what} that is no number")
        return int(digits, 8)

    def _extended(self, header: bytes) -> bytes:
        """Return the data of an extended header."""
        size = self._number(header[124:136], "size")
        if not 0 <= size <= HEADERS_MAX_BYTES:
            raise self.bad(f"has an extended header of {size:,} bytes")
        data = self._stream.read(size)
        self._stream.skip(-size % BLOCK)
        return data

    def _merge(self, headers: Headers, more: Headers) -> None:
        headers |= more
        if sum(map(len, chain(headers, headers.values()))) > HEADERS_MAX_BYTES:
            raise self.bad("has too many extended headers")

    def _pax(self, data: bytes) -> Headers:
        """Return the records of a pax header: `length key=value newline`."""
        headers: Headers = {}
        extents: list[bytes] = []
        at = 0
        while at < len(data) and data[at]:
            space = data.find(b" ", at, at + 20)
            digits = data[at:space] if space > at else b""
            end = at + int(digits) if digits.isdigit() else 0
            if not space < end <= len(data) or data[end - 1 : end] != b"\n":
                raise self.bad("has a malformed pax header")
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if not equals:
                raise self.bad("has a malformed pax header")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                extents.append(value)  # format 0.0 repeats them
            headers[key] = value
            at = end
        if extents:
            headers[b"GNU.sparse.map"] = b",".join(extents)
        return headers

    # members

    def _read_member(
        self, header: bytes, headers: Headers, long_name: bytes, long_target: bytes
    ) -> Member:
        if self._globals:
            headers = self._globals | headers
        name = headers.get(b"path") or long_name or _header_name(header)
        name = headers.get(b"GNU.sparse.name") or name
        self._member = f"the member {name[:300].decode('utf-8', 'backslashreplace')!r}"
        flag = header[156:157]
        if flag not in _KINDS:
            raise self.bad(f"is of the unknown type {flag!r}")
        kind = _KINDS[flag]
        if flag == b"\0" and name.endswith(b"/"):
            kind = DIRECTORY  # v7 has no other way to say it
        stored = self._integer(headers, b"size", header[124:136], SIZE_MAX_BYTES)
        if kind in _NO_DATA or (kind == DIRECTORY and flag != b"D"):
            stored = 0
        member = Member(
            name=name,
            kind=kind,
            mode=self._number(header[100:108], "mode") & 0o7777,
            uid=self._integer(headers, b"uid", header[108:116], 2**32 - 1),
            gid=self._integer(headers, b"gid", header[116:124], 2**32 - 1),
            mtime_ns=self._mtime(headers, header[136:148]),
            size=stored,
            stored=stored,
            target=headers.get(b"linkpath") or long_target or _text(header[157:257]),
            headers=headers,
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            major = self._number(header[329:337], "device number")
            minor = self._number(header[337:345], "device number")
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise self.bad("has an impossible device number")
            member.device = (major, minor)
        if kind == REGULAR:
            self._find_holes(member, header, flag)
        return member

    def _integer(self, headers: Headers, key: bytes, in_header: bytes, most: int) -> int:
        text = headers.get(key)
        if text:
            if not re.fullmatch(rb"\d{1,20}", text):
                raise self.bad(f"has a {key.decode()} that is no number")
            value = int(text)
        else:
            value = self._number(in_header, key.decode())
        if not 0 <= value <= most:
            raise self.bad(f"has an impossible {key.decode()}")
        return value

    def _mtime(self, headers: Headers, in_header: bytes) -> int:
        text = headers.get(b"mtime")
        if text:
            match = _TIME.fullmatch(text)
            if match is None:
                raise self.bad("has a time that is no number")
            sign, seconds, fraction = match.groups()
            time_ns = int(seconds) * 10**9 + int((fraction or b"")[:9].ljust(9, b"0"))
            time_ns = -time_ns if sign else time_ns
        else:
            time_ns = self._number(in_header, "time") * 10**9
        if not -TIME_MAX_NS <= time_ns <= TIME_MAX_NS:
            raise self.bad("has an impossible time")
        return time_ns

    # sparse files

    def _find_holes(self, member: Member, header: bytes, flag: bytes) -> None:
        """Set `extents` and `size` of a sparse file."""
        headers = member.headers
        if flag == b"S":
            member.extents, member.size = self._old_extents(header)
        elif headers.get(b"GNU.sparse.major") == b"1":
            member.size = self._integer(
                dict(headers), b"GNU.sparse.realsize", b"\0" * 12, SIZE_MAX_BYTES
            )
            before = self._stream.position
            member.extents = self._leading_extents(member.stored)
            member.stored -= self._stream.position - before
        elif b"GNU.sparse.map" in headers:
            real = b"GNU.sparse.size" if b"GNU.sparse.size" in headers else b"GNU.sparse.realsize"
            member.size = self._integer(dict(headers), real, b"\0" * 12, SIZE_MAX_BYTES)
            member.extents = self._numbers(headers[b"GNU.sparse.map"].split(b","))
        else:
            return
        self._check_extents(member)

    def _check_extents(self, member: Member) -> None:
        assert member.extents is not None
        at = total = 0
        kept = array("Q")
        for i in range(0, len(member.extents) - 1, 2):
            offset, length = member.extents[i], member.extents[i + 1]
            if offset < at or length > SIZE_MAX_BYTES:
                raise self.bad("has a map of its data that is not in order")
            at = offset + length
            total += length
            if length:  # the last one only says where the file ends
                kept.extend((offset, length))
        if at > member.size or total != member.stored or len(member.extents) % 2:
            raise self.bad("has a map of its data that does not fit its size")
        member.extents = kept

    def _numbers(self, texts: list[bytes]) -> array[int]:
        if len(texts) > 2 * EXTENTS_MAX or not all(re.fullmatch(rb"\d{1,19}", t) for t in texts):
            raise self.bad("has a malformed map of its data")
        return array("Q", map(int, texts))

    def _old_extents(self, header: bytes) -> tuple[array[int], int]:
        """Return the extents and the size from GNU tar's own headers."""
        extents = array("Q")
        size = self._number(header[483:495], "size")
        block, at, count, more = header, 386, 4, header[482]
        while True:
            for i in range(count):
                entry = block[at + 24 * i : at + 24 * (i + 1)]
                if entry[12] == 0 and entry[0] == 0:
                    break
                pair = self._number(entry[:12], "map"), self._number(entry[12:], "map")
                if min(pair) < 0 or max(*pair, size) > SIZE_MAX_BYTES:
                    raise self.bad("has a malformed map of its data")
                extents.extend(pair)
            if not more:
                return extents, size
            if len(extents) > 2 * EXTENTS_MAX:
                raise self.bad("has too many holes")
            block = self._stream.read(BLOCK)
            at, count, more = 0, 21, block[504]

    def _leading_extents(self, stored: int) -> array[int]:
        """Return the extents of format 1.0, which stand in front of the data, a number a line."""
        numbers: list[bytes] = []
        rest = b""
        wanted = 1
        begun = self._stream.position
        while len(numbers) < wanted:
            if self._stream.position - begun + BLOCK > stored:
                raise self.bad("has a map of its data that does not end")
            *lines, rest = (rest + self._stream.read(BLOCK)).split(b"\n")
            numbers += lines
            if wanted == 1 and numbers:
                (count,) = self._numbers(numbers[:1])
                if count > EXTENTS_MAX:
                    raise self.bad("has too many holes")
                wanted = 1 + 2 * count
            if len(numbers) < wanted and len(rest) > 20:
                raise self.bad("has a malformed map of its data")
        return self._numbers(numbers[1:wanted])


def _text(data: bytes) -> bytes:
    return data.split(b"\0", 1)[0]


def _header_name(header: bytes) -> bytes:
    name = _text(header[:100])
    # GNU's own format has other fields in the place of ustar's prefix.
    if header[257:263] == b"ustar\0" and header[345]:
        return _text(header[345:500]) + b"/" + name
    return name


def _sums(header: bytes) -> tuple[int, ...]:
    """Return what the checksum of *header* may be: some old tars summed signed bytes."""
    rest = header[:148] + header[156:]
    total = sum(rest) + 8 * ord(" ")
    return (total,) if rest.isascii() else (total, total - 256 * sum(byte > 127 for byte in rest))


def looks_like_tar(header: bytes) -> bool:
    """Say whether *header*, the first block of a file, is that of a tar archive."""
    if len(header) < BLOCK:
        return False
    digits = header[148:156].strip(b" \0")
    return bool(re.fullmatch(rb"[0-7]+", digits)) and int(digits, 8) in _sums(header)
