"""One FUSE connection: mounted, shaken hands with, served by several processes, closed.

The process that mounts keeps the session and serves nothing. It forks workers, and each of them
reads requests through a clone of the device (`FUSE_DEV_IOC_CLONE`) that the parent opened and keeps
open, too. The kernel notes with the clone which requests were read through it, so after a worker's
death the parent has the choice:

* `resend`: the kernel hands all requests out again that were read and not answered (Linux 6.9).
  Live workers then answer some of them twice; the second answer is refused with ENOENT, which is
  harmless (`vfs.daemon.logs` keeps it out of the log).
* closing the clone: the requests of that worker, and only those, fail with ECONNABORTED. That is
  what is left on older kernels, and the way to be rid of a request that kills every worker.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

from vfs.errors import MountProblem
from vfs.fuse import askers, device
from vfs.fuse.answers import Answers
from vfs.fuse.handshake import PARALLEL_DIROPS, Handshake
from vfs.fuse.pushing import Pusher

if TYPE_CHECKING:
    from vfs.fs.view import View

DEVICE: Final = "/dev/fuse"
FUSE_DEV_IOC_CLONE: Final = 0x8004E500  # _IOR(229, 0, uint32_t), linux/fuse.h
FUSE_NOTIFY_RESEND: Final = 7
RESEND_MESSAGE: Final = struct.pack("IiQ", 16, FUSE_NOTIFY_RESEND, 0)  # struct fuse_out_header


class _Greeting(pyfuse3.Operations):
    """What pyfuse3 agrees on with the kernel; all that comes after it is for `device`."""

    supports_dot_lookup = True
    enable_acl = True
    enable_writeback_cache = False

    def __init__(self) -> None:
        super().__init__()
        self._done = trio.CancelScope()

    def init(self) -> None:
        """Note that the kernel and libfuse have shaken hands."""
        self._done.cancel()

    async def exchange(self) -> None:
        """Answer the first request, and no other."""
        with self._done:
            await pyfuse3.main(1, 1)


class Session:
    """A mounted file system of this process."""

    def __init__(self, mountpoint: str, options: set[str]) -> None:
        """Mount and answer the kernel's INIT. Raises MountProblem with what libfuse said."""
        greeting = _Greeting()
        before = _fuse_descriptors()
        with captured_stderr() as said:
            try:
                pyfuse3.init(greeting, mountpoint, options)
            except RuntimeError as exc:
                raise MountProblem(f"can't mount at {mountpoint}: {said() or exc}") from exc
        # pyfuse3 does not say which it is: a new one, or the N of a mount point "/dev/fd/N".
        made = _fuse_descriptors() - before
        self._is_ours = bool(made)
        (self._fd,) = made or {int(Path(mountpoint).name)}
        self._read_only = "ro" in options
        handshake = Handshake(PARALLEL_DIROPS)
        handshake.begin(self._fd)
        trio.run(greeting.exchange)
        handshake.end(self._fd)

    def clone(self) -> int | None:
        """Return another descriptor of the connection, with a list of its own of requests read.

        None where the kernel or the permissions of /dev/fuse don't allow it.
        """
        try:
            clone = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.ioctl(clone, FUSE_DEV_IOC_CLONE, struct.pack("I", self._fd))
        except OSError:
            os.close(clone)
            return None
        return clone

    def adopt(self, clone: int) -> None:
        """Use *clone* from now on: in a worker, after the fork."""
        os.dup2(clone, self._fd, inheritable=False)
        os.close(clone)

    def serve(self, view: View) -> None:
        """Answer requests out of *view* until the file system is unmounted."""
        # Where the mount is not read-only, as branches are made in it, somebody has to refuse opens
        # for writing: the kernel would let a shared mapping change the pages of a version.
        opens = view.notes_opens or not self._read_only
        push = Pusher(self._fd).push
        is_waiting = askers.is_waiting if self._is_ours else askers.unknown
        device.serve(self._fd, Answers(view, opens=opens, push=push), is_waiting)

    def resend(self) -> bool:
        """Have all requests handed out again that were read and not answered; False: can't be had.

        The kernel refuses the notification with EINVAL before Linux 6.9.
        """
        try:
            os.write(self._fd, RESEND_MESSAGE)
        except OSError as exc:
            # ENODEV, EPERM: the file system is gone, and its requests with it.
            return exc.errno != errno.EINVAL
        return True

    def close(self) -> None:
        """Let go of the connection. Where no other process holds it, open requests now fail."""
        if self._fd != -1:
            self._fd = -1
            pyfuse3.close(unmount=False)


def _fuse_descriptors() -> set[int]:
    """Return this process's descriptors of the FUSE device."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of the listing itself is gone by now
            if str(link.readlink()) == DEVICE:
                found.add(int(link.name))
    return found


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Catch what libfuse and fusermount3 print: the reason is nowhere else to be had.

    Where all goes well, a warning among it is passed on.
    """
    with os.fdopen(os.memfd_create("stderr"), "rb") as caught:
        saved = os.dup(2)
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            caught.seek(0)
            return " ".join(caught.read().decode(errors="replace").split())

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        caught.seek(0)
        os.write(2, caught.read())
