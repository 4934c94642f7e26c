"""What can go wrong, as facts. `vfs.fuse.errnos` holds the one table that makes errnos of them."""

from __future__ import annotations

from typing import ClassVar


class VfsError(Exception):
    """Any error of this project that a user can understand.

    `str(error)` is one line saying what is wrong; `hint` one line saying what to do about it.
    """

    hint: str
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotFound(VfsError):
    """A name, a path, a revision or an object is not there."""


class AlreadyExists(VfsError):
    """What was to be made is there already."""


class InvalidName(VfsError):
    """A name of a data set, branch or tag, or a path, that can't be one."""


class InvalidInput(VfsError):
    """Input from outside (an archive, an argument) that can't be what it claims to be."""


class NotADirectory(VfsError):
    """A path goes through something that is not a directory."""


class IsADirectory(VfsError):
    """A file was asked for and the path is a directory."""


class ReadOnly(VfsError):
    """A version never changes."""


class NotEmpty(VfsError):
    """A directory that was to go still holds something."""


class NotPermitted(VfsError):
    """Nobody may do this, whoever asks."""


class NameTooLong(VfsError):
    """A name or a path has more bytes than one can have."""


class FileTooLarge(VfsError):
    """A file would be larger than one can be."""


class NoRoom(VfsError):
    """Something that has a limit of its own, as a file's attributes have, would exceed it."""


class StaleHandle(VfsError):
    """The inode is not there any more."""


class NoData(VfsError):
    """The extended attribute is not there."""


class NotSupported(VfsError):
    """The operation does not apply to this kind of entry."""


class CorruptObject(VfsError):
    """Stored bytes are not what their id says. Never retried, never served."""


class Erased(CorruptObject):
    """Bytes that were erased on purpose. As gone as damaged ones, but nothing is wrong."""


class StoreError(VfsError):
    """A store is missing, damaged, or of a format that this version can't read."""


class StoreFull(VfsError):
    """The disk or the quota that holds the store is full."""


class Conflict(VfsError):
    """A reference moved, or something else changed, while it was being used."""


class ErasedMeanwhile(Conflict):
    """Contents were erased since what refers to them was begun: it has to be made again."""


class SourceProblem(VfsError):
    """Files of an import could not be read, or changed while they were read."""


class ExportProblem(VfsError):
    """What an export makes could not be written."""


class MountProblem(VfsError):
    """A mount could not be made, found or ended."""


class RemoteProblem(VfsError):
    """A remote is none, is damaged, or does not let this user in."""


class RemoteUnavailable(VfsError):
    """A remote does not answer now. What was asked of it may have been done all the same."""


class Interrupted(VfsError):
    """Who asked does not wait for the answer any more."""


class RemoteChanged(Conflict):
    """A remote was cleaned up since it was looked at: what relied on that has to look again."""


class NotFastForward(VfsError):
    """A branch or tag, here or on a remote, has versions that the new one does not come after."""
