"""The process that checks a store, which `vfs.repo.fsck.api` starts.

It may die of what it reads. So it says beforehand what it looks at: the stage in a message, the
object in a piece of memory that it shares with its parent.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vfs.errors import VfsError
from vfs.repo.fsck.numbers import StoreTreeCheck
from vfs.repo.fsck.objects import ObjectCheck
from vfs.repo.fsck.overlays import Overlay, OverlayCheck, read_headers
from vfs.repo.fsck.places import Places
from vfs.repo.fsck.refs import References, Versions
from vfs.repo.fsck.report import Damage
from vfs.repo.fsck.run import RECORDER_BYTES, Line, Run
from vfs.repo.fsck.tables import PLAIN_TABLES, check_audit, check_table
from vfs.store.store import Store
from vfs.store.structure import check_pages

_PAGES: Final = "LMDB's pages"
_HEAD: Final = "the store's head"
_DEPTH_MAX: Final = 1_000_000  # frames: paths may be as deep as a file system allows


class _Check:
    """One check of an open store, stage after stage."""

    def __init__(self, run: Run, skipped_stages: set[str]) -> None:
        self._run = run
        self._skipped = skipped_stages

    def all(self, *, data: bool) -> None:
        """Run every stage."""
        for table in PLAIN_TABLES:
            with self._stage(f"the table '{table}'") as is_on:
                if is_on:
                    check_table(self._run, table)
        with self._stage("the audit record") as is_on:
            if is_on:
                check_audit(self._run)
        self._check_objects(data=data)
        references, versions = References(self._run), Versions(self._run)
        with self._stage("the references") as is_on:
            if is_on:
                references.check()
        overlays: list[Overlay] = []
        with self._stage("the commits") as is_on:
            if is_on:
                overlays = self._find_versions(references, versions)
        trees = StoreTreeCheck(self._run)
        with self._stage("the files and directories") as is_on:
            if is_on:
                for oid, commit in versions.roots.items():
                    trees.check_root(oid, commit.root)
        for overlay in overlays:
            self._check_overlay(overlay, versions, trees)
        if self._run.bad or self._run.flaws:
            with self._stage("what the damage touches") as is_on:
                if is_on:
                    Places(self._run).all(versions)

    def _check_objects(self, *, data: bool) -> None:
        objects = ObjectCheck(self._run)
        with self._stage("the index of objects") as is_on:
            if is_on:
                objects.index()
                if not data:
                    objects.overlaps()
        with self._stage("the objects' bytes") as is_on:
            if is_on and data:
                objects.data()
        objects.close()

    def _find_versions(self, references: References, versions: Versions) -> list[Overlay]:
        run = self._run
        for ref in references.refs:
            versions.name(ref.commit, f"{ref.data_set}@{ref.name}")
        for ref in references.refs:
            versions.add(ref.commit)
            if ref.commit in versions.pruned:
                message = "the content of its version was removed"
                run.found("reference", message, f"{ref.data_set}@{ref.name}")
        overlays = read_headers(run, references, versions)
        for commit, data_set in references.commits():
            if run.store.row("objects", commit) is not None:
                versions.add_unnamed(commit, data_set)
        run.count("versions", len(versions.roots))
        return overlays

    def _check_overlay(self, overlay: Overlay, versions: Versions, trees: StoreTreeCheck) -> None:
        run = self._run
        with self._stage(f"the uncommitted changes of {overlay.label}") as is_on:
            if is_on:
                origin = overlay.header.origin
                root = None if origin is None else versions.roots[origin].root
                OverlayCheck(run, overlay, root, trees, Places(run)).check()
                run.count("overlays")

    @contextmanager
    def _stage(self, stage: str) -> Iterator[bool]:
        """Say what is looked at; whether it is, or ended a process before.

        What LMDB can't read ends the stage, as a damage.
        """
        run = self._run
        run.recorder[:] = bytes(RECORDER_BYTES)
        run.line.begin(stage)
        try:
            yield stage not in self._skipped
        except (VfsError, struct.error) as error:
            run.found("lmdb", f"{stage} can't be read: {error}")


def main() -> None:
    """Check the store of the command line; what else there is to know comes on standard input."""
    sys.setrecursionlimit(_DEPTH_MAX)
    path, options = Path(sys.argv[1]), json.loads(sys.stdin.readline())
    line = Line()
    recorder = mmap.mmap(options["recorder"], RECORDER_BYTES)
    skipped, stages = {bytes.fromhex(oid) for oid in options["objects"]}, set(options["stages"])
    store = _open(path, line, stages)
    if store is not None:
        with store, store.held() as held:
            run = Run(held, line, recorder, skipped, _temporary(store))
            check = _Check(run, stages)
            check.all(data=options["data"])
            run.tell()
    line.send("done", None)


def _open(path: Path, line: Line, skipped: set[str]) -> Store | None:
    """Check LMDB's pages, and open the store if that can be; what is wrong is told."""
    try:
        line.begin(_PAGES)
        if _PAGES not in skipped and _is_file(path / "data.mdb"):
            check_pages(
                path,
                on_damage=lambda message: line.damage(Damage("lmdb", message)),
                on_progress=line.progress,
            )
        line.begin(_HEAD)
        return None if _HEAD in skipped else Store.open(path, readonly=True, partial=True)
    except (VfsError, OSError, struct.error) as error:
        if isinstance(error, VfsError) and not _is_file(path / "data.mdb"):
            line.send("refused", [str(error), error.hint])
        else:
            line.damage(Damage("lmdb", f"the store can't be opened: {error}"))
        return None


def _is_file(path: Path) -> bool:
    """Say whether there is a file that has anything in it, and can be read."""
    try:
        with path.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _temporary(store: Store) -> Path:
    """Return a directory for files without a name: the store's, unless it can't be written."""
    try:
        path = store.scratch_dir()
    except OSError:
        path = Path(tempfile.gettempdir())
    return path if os.access(path, os.W_OK) else Path(tempfile.gettempdir())
