"""What the kernel asks of a `View`, answered: one call per request and no logic. Knows no store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from vfs import counts
from vfs.errors import NotFound, ReadOnly
from vfs.fuse import counters, wire
from vfs.fuse.errnos import Refused
from vfs.fuse.wire import Request
from vfs.model.entry import NAME_MAX_BYTES
from vfs.store.objects import NotHere

if TYPE_CHECKING:
    from vfs.fs.attrs import Attr
    from vfs.fs.view import View
    from vfs.fuse.pushing import Files

Answer = Callable[[Request, bytes], bytes | list[bytes] | None]
"""Takes a request and what stands behind its header; None: the kernel waits for no answer. What
is long comes in pieces: joined, they would be copied once more."""


class Answers:
    """Read-only and stateless: a handle is nothing, and neither is being forgotten.

    So any worker can answer any request, and a request can be answered twice. What is not among
    these is refused with ENOSYS, which the kernel takes for good: flush and fsync are asked once.
    """

    def __init__(
        self, view: View, *, opens: bool, push: Callable[[Files], None] = lambda _: None
    ) -> None:
        """*opens*: the kernel is to ask before a file is opened, and to tell that it was closed.

        *push* takes files that are going to be read. An answer raises `NotHere` where something has
        to be brought before it can be given.
        """
        self.view: Final = view
        view.wait_for_objects(wait=False)
        self._push = push
        self._opens = opens
        self.of: Final[dict[int, tuple[Answer, int]]] = {
            code: (answer, counters.block(kind)) for code, kind, answer in self._all()
        }
        """For each code what answers it, and where that is counted."""

    def _all(self) -> Iterator[tuple[int, str, Answer]]:
        yield wire.LOOKUP, "lookup", self._lookup
        yield wire.GETATTR, "getattr", self._getattr
        yield wire.READLINK, "readlink", self._readlink
        yield wire.READ, "read", self._read
        yield wire.OPENDIR, "opendir", self._opendir
        yield wire.READDIR, "readdir", self._readdir
        yield wire.READDIRPLUS, "readdir", self._readdirplus
        yield wire.GETXATTR, "getxattr", self._getxattr
        yield wire.LISTXATTR, "listxattr", self._listxattr
        yield wire.STATFS, "statfs", self._statfs
        yield wire.MKDIR, "mkdir", self._mkdir
        for code in (wire.RELEASE, wire.RELEASEDIR, wire.DESTROY):
            yield code, "release", _nothing
        for code in (wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT):
            yield code, "forget", _no_answer
        for code in _WRITING:
            yield code, "refuse", _refuse
        if self._opens:
            yield wire.OPEN, "open", self._open

    def _lookup(self, request: Request, body: bytes) -> bytes:
        name = body[:-1]
        if len(name) > NAME_MAX_BYTES:
            raise Refused(errno.ENAMETOOLONG)
        try:
            return wire.entry(self.view.lookup(request.node, name))
        except NotFound:
            return wire.no_entry(self.view.negative_timeout(request.node))

    def _getattr(self, request: Request, body: bytes) -> bytes:
        return wire.attributes(self.view.getattr(request.node, request.pid))

    def _readlink(self, request: Request, body: bytes) -> bytes:
        return self.view.readlink(request.node)

    def _open(self, request: Request, body: bytes) -> bytes:
        (flags,) = wire.OPEN_IN.unpack_from(body)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise ReadOnly("a version never changes")
        self.view.open(request.node)
        return wire.OPEN_OUT.pack(0, wire.FOPEN_KEEP_CACHE, 0)

    def _read(self, request: Request, body: bytes) -> list[bytes]:
        _, offset, size = wire.READ_IN.unpack_from(body)
        pieces = self.view.read(request.node, offset, size)
        counters.add(counts.BYTES_READ, sum(map(len, pieces)))
        if not offset and (following := self.view.read_ahead(request.node)):
            counters.add(counts.BYTES_READ, sum(len(each) for _, each in following))
            self._push(following)
        return pieces

    def _opendir(self, request: Request, body: bytes) -> bytes:
        kept = self.view.keeps_listing(request.node)
        flags = wire.FOPEN_CACHE_DIR | wire.FOPEN_KEEP_CACHE if kept else 0
        return wire.OPEN_OUT.pack(0, flags, 0)

    def _readdir(self, request: Request, body: bytes) -> bytes:
        return self._listing(request, body, wire.name_entry)

    def _readdirplus(self, request: Request, body: bytes) -> bytes:
        return self._listing(request, body, wire.full_entry)

    def _listing(
        self, request: Request, body: bytes, form: Callable[[bytes, Attr, int], bytes]
    ) -> bytes:
        _, offset, room = wire.READ_IN.unpack_from(body)
        entries = []
        try:
            for name, attr, position in self.view.readdir(request.node, offset):
                entry = form(name, attr, position)
                room -= len(entry)
                if room < 0:
                    break
                entries.append(entry)
        except NotHere:
            if not entries:  # else the kernel asks for the rest
                raise
        return b"".join(entries)

    def _getxattr(self, request: Request, body: bytes) -> bytes:
        (room, _) = wire.GETXATTR_IN.unpack_from(body)
        return _sized(self.view.getxattr(request.node, body[wire.GETXATTR_IN.size : -1]), room)

    def _listxattr(self, request: Request, body: bytes) -> bytes:
        (room, _) = wire.GETXATTR_IN.unpack_from(body)
        names = self.view.listxattr(request.node)
        if request.uid != 0:
            # The kernel keeps the values to itself (xattr_permission), and leaves the names to us.
            names = [name for name in names if not name.startswith(b"trusted.")]
        return _sized(b"".join(name + b"\0" for name in names), room)

    def _statfs(self, request: Request, body: bytes) -> bytes:
        return wire.statfs(self.view.statfs())

    def _mkdir(self, request: Request, body: bytes) -> bytes:
        name = wire.text(body, wire.MKDIR_IN.size)
        with self.view.waiting():  # it can't be asked twice
            return wire.entry(self.view.mkdir(request.node, name))


_WRITING: Final = (
    wire.SETATTR,
    wire.SYMLINK,
    wire.MKNOD,
    wire.UNLINK,
    wire.RMDIR,
    wire.RENAME,
    wire.LINK,
    wire.WRITE,
    wire.SETXATTR,
    wire.REMOVEXATTR,
    wire.CREATE,
    wire.FALLOCATE,
    wire.RENAME2,
    wire.TMPFILE,
)


def _nothing(*_: Request | bytes) -> bytes:
    return b""


def _no_answer(*_: Request | bytes) -> None:
    return


def _refuse(*_: Request | bytes) -> bytes:
    raise ReadOnly("a version never changes")


def _sized(value: bytes, room: int) -> bytes:
    """Return *value*, or how long it is for whoever has no room yet. Raises Refused (ERANGE)."""
    if not room:
        return wire.GETXATTR_OUT.pack(len(value), 0)
    if len(value) > room:
        raise Refused(errno.ERANGE)
    return value
