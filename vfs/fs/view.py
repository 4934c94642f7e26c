"""What a mount shows: the contract between a view and the FUSE adapter above it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from vfs.fs.attrs import Attr, Statfs

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.store.objects import IsWanted


class View(Protocol):
    """A file system in which nothing is written to. Any process can answer any call.

    Calls come from one thread at a time. They raise `vfs.errors` only: NotFound for a node or name
    that is not there, CorruptObject for damage; and `NotHere` where they are not to wait.
    """

    def wait_for_objects(self, *, wait: bool) -> None:
        """Say whether calls wait for objects that a remote has, or raise `NotHere`."""

    def waiting(self) -> AbstractContextManager[None]:
        """Have calls wait meanwhile."""

    def bring(self, oid: ObjectId, wanted: IsWanted) -> None:
        """Have an object here. In any thread. Raises Interrupted once it is not *wanted*."""

    @property
    def notes_opens(self) -> bool:
        """Say whether `open` is to be called for each file that is opened."""

    def keeps_listing(self, node: int) -> bool:
        """Say whether what `readdir` tells of a directory stays as it is."""

    def lookup(self, parent: int, name: bytes) -> Attr:
        """Return the attributes of *name* in a directory. Knows `.` and `..`."""

    def negative_timeout(self, parent: int) -> float:
        """Return the seconds that a name may be taken for missing in *parent*."""

    def getattr(self, node: int, pid: int = 0) -> Attr:
        """Return the attributes of *node*, as the process *pid* asks for them."""

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        """Yield names, attributes and the offset behind each, from *offset* on (0: the start)."""

    def readlink(self, node: int) -> bytes:
        """Return the target of a symlink."""

    def open(self, node: int) -> None:
        """Note that *node* was opened. A file that is not there is missed when it is read."""

    def read(self, node: int, offset: int, length: int) -> list[bytes]:
        """Return *length* bytes from *offset*, in pieces; fewer only at the end of the file."""

    def read_ahead(self, node: int) -> list[tuple[int, bytes]]:
        """Return small files, whole, that are going to be read after *node*, which was just now."""

    def getxattr(self, node: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises NoData."""

    def listxattr(self, node: int) -> list[bytes]:
        """Return the names of the extended attributes."""

    def mkdir(self, parent: int, name: bytes) -> Attr:
        """Make what a directory of that name stands for. Raises ReadOnly."""

    def statfs(self) -> Statfs:
        """Return the size of the disk that holds the store, and what is free on it."""

    def close(self) -> None:
        """Release the store."""
