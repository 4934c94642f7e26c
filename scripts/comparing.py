"""`diff -r` of two versions that hardly differ."""

from __future__ import annotations

import sys
from pathlib import Path

import make_data
import measure
from peers import Borg, Bup, Directory, Peer, Restic, Squashfuse, Vfs
from results import Aim
from suite import Suite

CHANGES = 10
FILE_BYTES = 100
PER_DIRECTORY = 100


class ComparingSuite(Suite):
    """Two versions of many files, ten of them changed.

    vfs has them as versions. The others have them as two directories of one import, which costs
    `diff` what two archives do.
    """

    name = "diff"
    about = "diff -r of two versions"
    workloads = ("diff",)
    kinds = (Vfs, Directory, Squashfuse, Borg, Restic, Bup)
    most_rounds = 3
    aims = tuple(
        Aim(f"diff -r, {state}", peer, 1 / 100)
        for peer in ("squashfuse", "borg", "restic", "bup")
        for state in ("cold", "again")
    )

    @property
    def disk_bytes(self) -> int:
        return self.sizes.compared * 4096 * 2 * 3  # the source, the plain copy, all others

    def prepare(self) -> None:
        count = self.sizes.compared
        for version in ("v1", "v2"):
            top = self.source / version
            make_data.small_files(top, count, size=FILE_BYTES, per_directory=PER_DIRECTORY)
        numbers = range(0, count, count // CHANGES)
        self.changed = [Path(f"d{n // PER_DIRECTORY:04}/f{n:07}") for n in numbers]
        for path in self.changed:
            make_data.write(self.source / "v2" / path, b"changed\n")

    def fill(self, peer: Peer) -> None:
        """Import both versions."""
        peer.renew()
        if isinstance(peer, Vfs):
            for version in ("v1", "v2"):
                words = peer.import_command(version)
                measure.run_watched(words, cwd=self.source / version, env=peer.env)
        else:
            measure.run_watched(peer.import_command(), cwd=self.source, env=peer.env)

    def once(self, peer: Peer) -> None:
        if not peer.store.exists():
            self.fill(peer)
        with self.mounted(peer) as (view, _):
            if isinstance(peer, Vfs):
                old, new = (view.with_name(f"data@{version}") for version in ("v1", "v2"))
            else:
                old, new = view / "v1", view / "v2"
            self.drop_caches()
            for state in ("cold", "again"):
                seconds, found = measure.captured(["diff", "-rq", old, new])
                expected = [f"Files {old / path} and {new / path} differ" for path in self.changed]
                if sorted(found.splitlines()) != expected:
                    sys.exit(f"{peer.name}: diff -r finds something else: {found[:500]}")
                self.results.add(peer.name, f"diff -r, {state}", seconds)
