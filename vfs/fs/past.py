"""Attributes `user.vfs.*`: what an entry's past is. Read by name, never listed, never written.

As they are not listed, what copies attributes (`cp -a`, `rsync -X`, tar) does not take them along
to where they would be wrong.

A directory in a snapshot is at a position of one version, so its attributes are about that version.
A file has one inode in all versions: its attributes are about the entry, and name the commit that
brought it into the store first (`vfs.repo.births`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.clock import iso
from vfs.errors import NoData
from vfs.model.entry import FLAG_BLOB, PAST_XATTRS, Entry
from vfs.recent import Recent
from vfs.repo.births import birth
from vfs.repo.blobs import FileReader
from vfs.repo.history import Filter, history

if TYPE_CHECKING:
    from vfs.ids import Number, ObjectId
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path
    from vfs.store.layout import Slot

HASHED_MAX_BYTES: Final = 256 << 20
"""About 0.3 s, for which a worker of the hub answers nobody else."""

VERSIONS_MAX: Final = 1_000
"""As many are gone back through for the one that changed a path: about 0.1 s."""

_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an attribute is asked of."""

    entry: Entry | None  # None: it is not as it was committed
    slot: Slot | None = None  # the version that it is seen in; None: the one that brought it
    path: Path | None = None  # in that version, if it is known
    number: Number | None = None  # of what is no directory, if its path is not known


class Past:
    """Answers for one repository. For one thread."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._files = FileReader(repo.reader)
        self._digests: Recent[ObjectId, bytes] = Recent(_KEPT)
        self._births: Recent[Number, Slot] = Recent(_KEPT)
        self._changes: Recent[tuple[ObjectId, Path], ObjectId] = Recent(_KEPT)

    def answer(self, name: bytes, of: Subject) -> bytes:
        """Return the attribute *name*. Raises NoData, CorruptObject."""
        function = _ANSWERS.get(name)
        if function is None:
            raise NoData(f"there is no attribute {name!r}")
        return function(self, of)

    def _slot(self, of: Subject) -> Slot:
        if of.slot is not None:
            return of.slot
        return self._birth(of)

    def data_set(self, of: Subject) -> bytes:
        """Return the name of the data set."""
        return self._slot(of).data_set.encode("ascii")

    def revision(self, of: Subject) -> bytes:
        """Return `data@revision`, which names the version."""
        slot = self._slot(of)
        return f"{slot.data_set}@{slot.name}".encode("ascii")

    def commit(self, of: Subject) -> bytes:
        """Return the version's id in hex."""
        _committed(of)
        return _version(self._slot(of)).hex().encode("ascii")

    def provenance(self, of: Subject) -> bytes:
        """Return how the version came to be, as JSON."""
        _committed(of)
        provenance = self._repo.commit(self._slot(of).commit).provenance
        return json.dumps(provenance, sort_keys=True, ensure_ascii=False).encode(
            "utf-8", "surrogateescape"
        )

    def introduced(self, of: Subject) -> bytes:
        """Return which commit made it what it is: id, time, author."""
        _committed(of)
        if of.path is None or of.slot is None:
            commit = self._birth(of).commit
        else:
            commit = self._last_change(_version(of.slot), of.path)
        record = self._repo.commit(commit)
        line = f"{commit.hex()} {iso(record.time_ns)} {record.author}"
        return line.encode("utf-8", "surrogateescape")

    def blake3(self, of: Subject) -> bytes:
        """Return the hash of the whole content in hex."""
        entry = _committed(of)
        if not entry.is_file:
            raise NoData("only a file has a content to hash")
        if entry.size and not entry.flags & FLAG_BLOB:
            return entry.content.hex().encode("ascii")  # of the one chunk that it is
        digest = self._digests.get(entry.content)
        if digest is None:
            if entry.size > HASHED_MAX_BYTES:
                raise NoData(f"a file of {entry.size:,} bytes takes too long to hash")
            hasher = blake3()
            for part in self._repo.read_file(entry):
                hasher.update(part)
            digest = hasher.hexdigest().encode("ascii")
            self._digests.put(entry.content, digest)
        return digest

    def _birth(self, of: Subject) -> Slot:
        if of.number is None:
            raise NoData("nothing is known of where it is from")
        slot = self._births.get(of.number)
        if slot is None:
            slot = birth(self._repo, of.number)
            if slot is None:
                raise NoData("nothing tells which version brought it")
            self._births.put(of.number, slot)
        return slot

    def _last_change(self, start: ObjectId, path: Path) -> ObjectId:
        """Return the version that made what is at *path* in *start* what it is."""
        found = self._changes.get((start, path))
        if found is None:
            versions = islice(history(self._repo, start, Filter(paths=(path,))), VERSIONS_MAX)
            found = next((version.id for version in versions if version.shown), None)
            if found is None:
                raise NoData(f"it was not changed in {VERSIONS_MAX:,} versions")
            self._changes.put((start, path), found)
        return found

    def erased(self, of: Subject) -> bytes:
        """Return why some or all of the content is gone, and since when."""
        entry = _committed(of)
        if not entry.is_file or not entry.size:
            raise NoData("it has no content")
        for span in self._files.spans(entry):
            erasure = self._repo.store.erasures.reason(span.content)
            if erasure is not None:
                return str(erasure).encode("utf-8", "surrogateescape")
        raise NoData("nothing of it was erased")


def _committed(of: Subject) -> Entry:
    if of.entry is None:
        raise NoData("it is not as it was committed")
    return of.entry


def _version(slot: Slot) -> ObjectId:
    if slot.is_difference:
        raise NoData("what differs between two versions is none itself")
    return slot.commit


_ANSWERS: Final[dict[bytes, Callable[[Past, Subject], bytes]]] = {
    PAST_XATTRS + b"blake3": Past.blake3,
    PAST_XATTRS + b"commit": Past.commit,
    PAST_XATTRS + b"data_set": Past.data_set,
    PAST_XATTRS + b"erased": Past.erased,
    PAST_XATTRS + b"introduced": Past.introduced,
    PAST_XATTRS + b"provenance": Past.provenance,
    PAST_XATTRS + b"revision": Past.revision,
}
