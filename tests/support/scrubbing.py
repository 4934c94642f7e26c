"""A small environment, and values of all sizes that tell them from all others."""

from __future__ import annotations

import random
from pathlib import Path

from vfs.store.environment import Environment, Txn
from vfs.store.pages import Walk

TABLES = ("meta", "blocks", "objects", "refs")
SIZES = (20, 21, 101, 501, 2001, 4080, 4081, 9000, 16368, 70000)
KEYS = 120

Rows = dict[tuple[str, bytes], bytes]


def open_environment(path: Path) -> Environment:
    """Open the environment in *path*, which is made where there is none."""
    create = not (path / "data.mdb").exists()
    path.mkdir(exist_ok=True)
    env = Environment(path, create=create)
    env.open_tables(TABLES, missing="make")
    env.write(lambda txn: txn.put(b"format", b"of a test", db=env.tables["meta"]))
    return env


def change(env: Environment, txn: Txn, rows: Rows, chance: random.Random) -> set[bytes]:
    """Change random rows, in *rows* too; return the marks of the values that are gone."""
    gone = set()
    for _ in range(chance.choice((1, 10, 60))):
        table, key = chance.choice(TABLES[1:]), b"key %d" % chance.randrange(KEYS)
        old = rows.pop((table, key), None)
        if old is not None:
            gone.add(old[:20])
        if chance.random() < 0.35:
            txn.delete(key, db=env.tables[table])
        else:
            mark, size = b"<%018d>" % chance.getrandbits(58), chance.choice(SIZES)
            rows[table, key] = (mark * (size // 20 + 1))[:size]
            txn.put(key, rows[table, key], db=env.tables[table])
    return gone


def all_rows(env: Environment) -> Rows:
    with env.read() as txn:
        return {
            (table, bytes(key)): bytes(value)
            for table in TABLES[1:]
            for key, value in txn.cursor(env.tables[table])
        }


def damages(env: Environment) -> list[str]:
    """Return what is wrong with the pages of an environment."""
    found: list[str] = []
    with env.pinned() as (file, snapshot):
        Walk(file, snapshot, on_damage=found.append).run()
    return found
