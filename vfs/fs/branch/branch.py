"""A writable branch: what the kernel asks of a file system, as plain calls. Knows no pyfuse3.

All calls come from one thread, the loop's, and none of them waits for the disk but to read small
things. Changes are in memory until a checkpoint (`vfs.fs.branch.checkpoint`) has stored them;
`store_checkpoint` runs in a worker thread, before `end_checkpoint`.

Whoever mounts lets the kernel check permissions (default_permissions), so nothing here does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vfs.errors import NotFound
from vfs.fs.attrs import BLOCK_BYTES, Statfs
from vfs.fs.branch.attributes import Attributes
from vfs.fs.branch.checkpoint import Checkpoint, Stage
from vfs.fs.branch.files import OpenFiles
from vfs.fs.branch.inodes import Inodes
from vfs.fs.branch.names import Names
from vfs.fs.branch.past import Asked, BranchPast, asked
from vfs.fs.branch.restore import Outdated, Restorer
from vfs.fs.branch.state import State
from vfs.fs.lookahead import LookAhead
from vfs.repo.blobs import FileReader
from vfs.repo.history import entry_or_none
from vfs.repo.origin import Origin
from vfs.repo.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfs.fs.branch.content import ReadPlan
    from vfs.fs.branch.reports import Wanted
    from vfs.ids import ObjectId
    from vfs.store.objects import IsWanted
    from vfs.store.overlaybatch import OverlayBatch
    from vfs.store.store import Store

_STORE_THREADS: Final = 2


class Branch:
    """An open branch. Its process is the only one that writes it."""

    def __init__(self, store: Store, data_set: str, branch: str) -> None:
        """Open the branch as it was last stored. Raises NotFound."""
        self.data_set, self.branch = data_set, branch
        self.store = store
        repo = Repository(store)
        self._reader = repo.reader
        header = store.overlays.open(data_set, branch)
        self.overlay = header.id
        root = None if header.origin is None else repo.commit(header.origin).root
        origin = Origin(repo.nodes, root, store.numbering)
        self._state = State(store.overlays.rows(header.id), origin, pristine=header.seq == 0)
        self.inodes = Inodes(self._state)
        self.names = Names(self.inodes, header.next_ino)
        files = FileReader(repo.reader)
        self.files = OpenFiles(self.inodes, files)
        self._lookahead = (
            None if store.bring is None else LookAhead(files, store.bring, repo.reader.has)
        )
        self.attributes = Attributes(self.inodes, self.files)
        self._pool = ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="vfs-store")
        rows = store.overlays.rows(header.id)
        self._stage = Stage(store, root, rows, self._write, self._pool)
        self._releases = 0
        self._claimed = 0 if header.dirty else -1  # `_releases` when the last claim was begun
        self._seq = header.seq

    @property
    def is_claimed(self) -> bool:
        """Say whether changes may be made: nobody else moves the branch."""
        return self._claimed == self._releases

    def claim(self) -> None:
        """See to it that nobody else moves the branch; durable. In any thread. Raises Conflict."""
        releases = self._releases
        self._seq = self.store.overlays.claim(self.data_set, self.branch, self.overlay).seq
        self._claimed = releases

    def release_claim(self) -> int:
        """Have the next change claim the branch again; return the number of the last write.

        To be called when all is stored that a commit is to hold. The commit lets go of the branch
        if that still is the last write: a claim is one, too.
        """
        self._releases += 1
        return self._seq

    def is_outdated(self) -> bool:
        """Say whether the branch was moved by somebody else, so that it has to be opened again."""
        return not self.store.overlays.is_current(self.data_set, self.branch, self.overlay)

    def restore(self, path: tuple[bytes, ...]) -> Outdated:
        """Give up what was changed at a path and below; return what the kernel has to forget.

        No checkpoint may be on its way. Raises NotFound.
        """
        assert not self.is_storing
        header = self.store.overlays.header(self.data_set, self.branch)
        if header is None or header.head is None:
            raise NotFound(f"nothing was committed to '{self.data_set}@{self.branch}' yet")
        repo = Repository(self.store)
        restorer = Restorer(repo, self.inodes, self.names)
        restorer.restore(path, entry_or_none(repo.nodes, repo.commit(header.head).root, path))
        return restorer.outdated

    @contextmanager
    def relying_on(self, commit: ObjectId) -> Iterator[None]:
        """Keep what a version has in the store meanwhile. Raises NotFound."""
        with self.store.writers.announce():
            if not Repository(self.store).is_whole(commit):
                raise NotFound(f"the version {commit.hex()} has just been removed")
            yield

    def take(self, wanted: Wanted) -> Outdated:
        """Make a path what it is in some version; return what the kernel has to forget.

        The branch is claimed, and no checkpoint is on its way.
        """
        assert not self.is_storing
        restorer = Restorer(Repository(self.store), self.inodes, self.names)
        if not wanted.whole:
            assert wanted.entry is not None
            restorer.restore_attributes(wanted.path, wanted.entry)
        else:
            # What is to be nothing may be so by now, with the directory that it was in.
            with suppress(*(() if wanted.entry else (NotFound,))):
                restorer.restore(wanted.path, wanted.entry, make=True)
        return restorer.outdated

    def _write(self, batch: OverlayBatch) -> None:
        header = self.store.overlays.write(self.data_set, self.branch, self.overlay, batch)
        self._seq = header.seq

    def close(self) -> None:
        """Let go of the store; what is in no checkpoint is lost."""
        self._pool.shutdown()

    def ask_past(self, ino: int) -> Asked:
        """Return what `past` is to be asked with. Raises NoData, StaleHandle."""
        return asked(self._state, ino)

    @cached_property
    def past(self) -> BranchPast:
        """What tells of the past, in another thread."""
        return BranchPast(self.store, self.data_set, self.branch, self.overlay)

    def new_reader(self, *, waits: bool = True) -> FileReader:
        """Return what carries out read plans in another thread (*waits*: see `Reader`)."""
        reader = self.store.reader()
        reader.waits = waits
        return FileReader(reader)

    def wait_for_objects(self, *, wait: bool) -> None:
        """Say whether calls wait for objects that a remote has, or raise NotHere."""
        self._reader.waits = wait

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Have calls wait for objects: for those that change things as they read."""
        before, self._reader.waits = self._reader.waits, True
        try:
            yield
        finally:
            self._reader.waits = before

    def expect(self, plan: ReadPlan) -> None:
        """Have a remote send what follows a range that is read, where its reader goes on so.

        Raises NotHere, CorruptObject.
        """
        if self._lookahead is not None and plan.to_read:
            start, end = plan.to_read[-1]
            self._lookahead.note(plan.content, start, end - start)

    def bring(self, oid: ObjectId, wanted: IsWanted) -> None:
        """Have the remote's object here. In any thread. Raises VfsError.

        Interrupted is what it raises once it is not *wanted*.
        """
        assert self.store.bring is not None
        self.store.bring(oid, wanted)

    def statfs(self) -> Statfs:
        """Return the size of the disk that holds the store, and what is free on it."""
        total, free, available = self.store.free_bytes()
        more = available // BLOCK_BYTES
        return Statfs(
            blocks=total // BLOCK_BYTES,
            bfree=free // BLOCK_BYTES,
            bavail=more,
            files=self.store.numbering.count() + more,
            ffree=more,
        )

    # checkpoints

    @property
    def dirty_bytes(self) -> int:
        """Return the bytes of files that are in memory only."""
        frozen = self._state.frozen
        return self._state.dirty.bytes + (frozen.bytes if frozen else 0)

    @property
    def dirty_rows(self) -> int:
        """Return about how many rows the next checkpoint is to store."""
        return self._state.dirty.weight()

    @property
    def is_dirty(self) -> bool:
        """Say whether there is something that no finished checkpoint holds."""
        return not self._state.dirty.is_empty() or self._state.frozen is not None

    @property
    def is_storing(self) -> bool:
        """Say whether a checkpoint is on its way."""
        return self._state.frozen is not None

    def begin_checkpoint(self, *, settle: bool = False) -> Checkpoint | None:
        """Freeze the branch as it is now; None where nothing changed.

        *settle*: files that were closed get their final form. Between this and `end_checkpoint` or
        `fail_checkpoint` no other may begin.
        """
        if settle:
            self.files.settle()
        if self._state.dirty.is_empty():
            return None
        layer = self._state.freeze()
        return Checkpoint(layer, writers=self.files.writers(), next_ino=self.names.next_ino)

    def store_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint; durable on return. In a worker thread. Raises StoreFull."""
        checkpoint.store(self._stage)

    def end_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored."""
        for inodes in (self._state.dirty.inodes, checkpoint.layer.inodes):
            for ino, stored in checkpoint.contents.items():
                row = inodes.get(ino)
                if row is not None:
                    inodes[ino] = stored.of(row)
        self._state.stored()

    def fail_checkpoint(self) -> None:
        """Note that the checkpoint was not stored; nothing of it is lost."""
        self._state.not_stored()
