"""Answering the kernel's INIT with more than pyfuse3 can ask for.

So libfuse's answer takes a detour over a socket, where flags are added that it does not know of, or
forgets.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

DONT_MASK: Final = 1 << 6
"""FUSE_DONT_MASK: without it the kernel takes the umask off the mode of what is made, also where
the directory has a default ACL, in whose place the umask would stand (acl(5))."""

PARALLEL_DIROPS: Final = 1 << 18
"""FUSE_PARALLEL_DIROPS: without it the kernel has one request at a time for a directory, and who
waits behind one that waits for a remote can't be killed. libfuse 3.14 wants it, but does not say so
to the kernel."""

_MESSAGE_MAX_BYTES: Final = (1 << 20) + 4096
_FLAGS: Final = struct.Struct("<I")
_OFFERED_AT: Final = 40 + 12  # struct fuse_in_header, then flags in struct fuse_init_in
_WANTED_AT: Final = 16 + 12  # struct fuse_out_header, then flags in struct fuse_init_out


class Handshake:
    """The first exchange of a session: a socket stands in the place of the device meanwhile."""

    def __init__(self, flags: int) -> None:
        """*flags*: what else to agree on, where the kernel offers it."""
        self._flags = flags
        self._device = -1

    def step(self, fd: int) -> bool:
        """Do what is next, before libfuse reads a request from the device *fd*.

        Return whether the request is there to be read; False: INIT was answered, wait for others.
        """
        if self._device < 0:
            self.begin(fd)
            return True
        self.end(fd)
        return False

    def begin(self, fd: int) -> None:
        """Have *fd* be the socket, with the kernel's request in it."""
        self._device = os.dup(fd)
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            os.dup2(theirs.fileno(), fd, inheritable=False)
        request = os.read(self._device, _MESSAGE_MAX_BYTES)
        (self._offered,) = _FLAGS.unpack_from(request, _OFFERED_AT)
        self._ours.send(request)

    def end(self, fd: int) -> None:
        """Pass the answer on that libfuse has written to *fd*, which is the device again then."""
        answer = bytearray(self._ours.recv(_MESSAGE_MAX_BYTES))
        (wanted,) = _FLAGS.unpack_from(answer, _WANTED_AT)
        _FLAGS.pack_into(answer, _WANTED_AT, wanted | self._offered & self._flags)
        os.write(self._device, answer)
        os.dup2(self._device, fd, inheritable=False)
        os.close(self._device)
        self._ours.close()
