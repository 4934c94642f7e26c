"""The table of what datums wrote, as a version."""

from __future__ import annotations

from pathlib import Path

from tests.support.trees import store_tree
from vfs.ids import NO_CONTENT
from vfs.model.entry import Totals, directory_entry
from vfs.pipeline import table
from vfs.pipeline.datums import Datum, Piece
from vfs.pipeline.glob import Glob
from vfs.pipeline.spec import Atom
from vfs.repo.repository import Repository


def test_datums_come_and_go_and_large_groups_are_whole(tmp_path: Path) -> None:
    atom = Atom(name="a", data_set="a", branch="main", glob=Glob("/*"))
    nothing = directory_entry(b"", NO_CONTENT, Totals(0, 1, 0, 0))
    many = tuple(Piece(atom, (b"%06d" % i * 10,), nothing) for i in range(10_000))
    with Repository.create(tmp_path / "store") as repo, repo.store.ingest() as ingest:
        wrote = store_tree(ingest, b"", {b"f": b"1"})
        done = {
            "1" * 64: (Datum("1" * 64, many), wrote),
            "2" * 64: (Datum("2" * 64, many[:1]), wrote),
        }
        ingest.flush()
        root = table.with_changes(repo, ingest, None, done, set())
        ingest.flush()
        assert table.outputs(repo, root) == dict.fromkeys(done, wrote.content)
        assert {one: len(made) for one, made in table.inputs(repo, root)} == {
            "1" * 64: 10_000,
            "2" * 64: 1,
        }
        root = table.with_changes(repo, ingest, root, {}, {"1" * 64})
        ingest.flush()
        assert set(table.outputs(repo, root)) == {"2" * 64}
