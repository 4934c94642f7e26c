"""A whole store in one file, and back. Bytes: docs/format.md, "backup".

A backup is an LMDB data file, as LMDB copies it from one snapshot without free pages. A trailer
behind it says what it is and what its bytes hash to. LMDB itself looks at no byte behind its
last page, so that a backup can also be read where it lies (`open_backup`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from blake3 import blake3

from vfs.clock import now_ns
from vfs.errors import AlreadyExists, Conflict, InvalidInput
from vfs.store.identity import FORMAT
from vfs.store.store import Store

BACKUP_FORMAT: Final = 1
_MAGIC: Final = b"vfs backup"
_HEAD: Final = struct.Struct("<QqII16s")  # bytes before, time, backup's format, store's, uuid
_HASH_BYTES: Final = 32
TRAILER_BYTES: Final = _HEAD.size + len(_MAGIC) + _HASH_BYTES
_READ_BYTES: Final = 1 << 20
_PIPE_BYTES: Final = 1 << 20  # what the kernel lets any user have
_DATA_NAME: Final = "data.mdb"

OnBytes = Callable[[int], None]
"""Is told how many more bytes were done."""


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What a backup says of itself."""

    size: int  # bytes of the data file
    time_ns: int  # when it was made
    uuid: uuid.UUID  # of the store


def write_backup(store: Store, sink: BinaryIO, on_bytes: OnBytes) -> BackupInfo:
    """Write a backup of *store* as it is now to *sink*. Raises StoreError, OSError.

    Nothing waits for it. While it lasts, pages that are freed are not used again, so a reader of a
    pipe that is slow lets the store grow.
    """
    time_ns = now_ns()
    hasher = blake3()
    size = 0
    for part in _copied(store):
        _write(sink, part)
        hasher.update(part)
        size += len(part)
        on_bytes(len(part))
    info = BackupInfo(size, time_ns, uuid.UUID(store.uuid))
    head = _HEAD.pack(size, time_ns, BACKUP_FORMAT, FORMAT, info.uuid.bytes) + _MAGIC
    hasher.update(head)
    _write(sink, head + hasher.digest())
    return info


def _write(sink: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[sink.write(rest) :]


def _copied(store: Store) -> Iterator[bytes]:
    """Yield the data file that LMDB's copy writes, through a pipe and a thread."""
    source, target = os.pipe2(os.O_CLOEXEC)
    failure: list[BaseException] = []

    def copy() -> None:
        try:
            store.copy_to(target)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that reads
            failure.append(error)
        finally:
            os.close(target)

    with suppress(OSError):
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    thread = threading.Thread(target=copy, name="vfs-backup", daemon=True)
    thread.start()
    try:
        while part := os.read(source, _READ_BYTES):
            yield part
    finally:
        os.close(source)  # a copy that nobody reads any more ends with an error
        thread.join()
    if failure:
        raise failure[0]


# reading


def read_backup(
    source: BinaryIO, name: str, sink: BinaryIO | None, on_bytes: OnBytes
) -> BackupInfo:
    """Read a backup to its end, and write its data file to *sink*, if there is one.

    Raises InvalidInput unless it is a whole backup with the bytes that it was written with: what
    is in *sink* by then is of no use. *name* is what to call it.
    """
    hasher = blake3()
    held = b""  # what may be the trailer
    size = 0
    while part := source.read(_READ_BYTES):
        held += part
        data, held = held[:-TRAILER_BYTES], held[-TRAILER_BYTES:]
        if not data:
            continue
        hasher.update(data)
        size += len(data)
        if sink is not None:
            sink.write(data)
        on_bytes(len(data))
    info = _unpack_trailer(held, name)
    hasher.update(held[:-_HASH_BYTES])
    if info.size != size or hasher.digest() != held[-_HASH_BYTES:]:
        _refuse(f"{name} is damaged: its bytes are not those that were written")
    return info


def _unpack_trailer(data: bytes, name: str) -> BackupInfo:
    if len(data) != TRAILER_BYTES or data[_HEAD.size : -_HASH_BYTES] != _MAGIC:
        _refuse(f"{name} is no backup of a store, or has lost its end")
    size, time_ns, backup_format, store_format, identity = _HEAD.unpack_from(data)
    if (backup_format, store_format) != (BACKUP_FORMAT, FORMAT):
        _refuse(
            f"{name} is of format {backup_format}, with a store of format {store_format}; "
            f"this vfs reads {BACKUP_FORMAT} and {FORMAT}"
        )
    return BackupInfo(size, time_ns, uuid.UUID(bytes=identity))


def _refuse(message: str) -> NoReturn:
    raise InvalidInput(message, hint="make one with: vfs backup FILE")


def backup_info(path: Path) -> BackupInfo | None:
    """Return what the end of a file says, unverified; None where it is no backup."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < TRAILER_BYTES:
            return None
        file.seek(size - TRAILER_BYTES)
        try:
            info = _unpack_trailer(file.read(), str(path))
        except InvalidInput:
            return None
    return info if info.size == size - TRAILER_BYTES else None


# files


def save_backup(store: Store, path: Path, on_bytes: OnBytes) -> BackupInfo:
    """Write a backup to the file *path*; it is there when all of it is on the disk, or not at all.

    A backup that is there is replaced. Raises AlreadyExists where something else is.
    """
    if path.exists() and (not path.is_file() or backup_info(path) is None):
        raise AlreadyExists(f"{path} exists, and is no backup", hint="choose another name")
    hidden = path.with_name(f".{path.name}.vfs-backup")
    with _locked_file(hidden) as file:
        info = write_backup(store, file, on_bytes)
        file.flush()
        os.fsync(file.fileno())
        hidden.rename(path)
        _sync_directory(path.parent)
    return info


@contextmanager
def _locked_file(path: Path) -> Iterator[BinaryIO]:
    """Make an empty file, in place of what a killed process left. Gone unless it is renamed."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another process writes {path}") from None
        try:
            os.ftruncate(fd, 0)
            yield file
        finally:
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(fd)):
                    path.unlink()


def restore_backup(source: BinaryIO, name: str, path: Path, on_bytes: OnBytes) -> BackupInfo:
    """Make the store *path* of a backup; it is there when all of it is on the disk, or not at all.

    Raises AlreadyExists where something is, InvalidInput for what is no sound backup.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AlreadyExists(
            f"{path} exists already",
            hint="a backup becomes a store of its own: name another place with --store",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.vfs-restore")
    hidden.mkdir(mode=0o700, exist_ok=True)
    with _locked_file(hidden / _DATA_NAME) as file:
        try:
            info = read_backup(source, name, file, on_bytes)
            file.flush()
            os.fsync(file.fileno())
            Store.open(hidden, readonly=True).close()  # what can't be opened is no store
            _sync_directory(hidden)
            hidden.rename(path)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        _sync_directory(path.parent)
    return info


@contextmanager
def open_backup(path: Path) -> Iterator[Store]:
    """Open a backup where it lies, as a store to read. Its own hash is not looked at.

    Raises InvalidInput where it is none.
    """
    if backup_info(path) is None:
        _refuse(f"{path} is no backup of a store, or has lost its end")
    with tempfile.TemporaryDirectory(prefix="vfs-backup-") as directory:
        (Path(directory) / _DATA_NAME).symlink_to(path.absolute())
        with Store.open(Path(directory), readonly=True) as store:
            yield store


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
