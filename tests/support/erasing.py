"""Stores with a secret in some files, and looking for it in every byte of them."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import zstandard
from blake3 import blake3

from tests.support.import_trees import entries_below
from vfs.model.names import parse_target
from vfs.repo.erasing import Outcome, Query, carry_out, check, make_plan
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

MARKER = random.Random(4711).randbytes(24)
LINE = b"the quick brown fox, number %d, jumps over " + MARKER.hex().encode() + b"\n"
TEXT = b"".join(LINE % number for number in range(4000))


def noise(seed: int, size: int) -> bytes:
    """Return bytes that don't compress, with the marker in them every now and then."""
    data = bytearray(random.Random(seed).randbytes(size))
    for at in range(100, size - 100, 5000):
        data[at : at + len(MARKER)] = MARKER
    return bytes(data)


def make_source(source: Path, number: int) -> None:
    """Write version *number* of a tree: of the person, of others, and text that they share."""
    shuffle = random.Random(number)
    for directory in ("people/deep", "other"):
        (source / directory).mkdir(parents=True, exist_ok=True)
    plain = b"".join(b"line %d of everybody\n" % line for line in range(9000))
    files = {
        "people/jane.txt": TEXT[: 80_000 + 20_000 * number],
        "people/deep/jane.bin": noise(number, 200_000),
        "people/jane.small": noise(100 + number, 3000),
        "people/adam.txt": plain + b"adam %d\n" % number,
        "other/small": shuffle.randbytes(3000),
        "other/text": plain,
        "other/large": random.Random(9).randbytes(400_000) + b"%d" % number,
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    for small in range(20):
        (source / f"other/s{small}").write_bytes(shuffle.randbytes(1500))


def make_store(path: Path, source: Path, versions: int = 3) -> None:
    """Make a store with some versions of `data`, and one of `more`, which has no secret."""
    with Repository.create(path) as repo:
        for name in ("data", "more"):
            repo.create_data_set(name)
        for number in range(versions):
            make_source(source, number)
            options = ImportOptions(message=f"{number}", tag=f"v{number}")
            import_source(repo, source, parse_target("data"), options)
        import_source(repo, source / "other", parse_target("more"), ImportOptions(message="other"))


def contents(repo: Repository, secret: bytes = b"jane") -> dict[tuple[str, bytes], object]:
    """Return what all versions hold; of files with *secret* in their paths only what stat shows."""
    found: dict[tuple[str, bytes], object] = {}
    for data_set in repo.data_sets():
        for oid, commit in repo.log(data_set):
            for path, entry in entries_below(repo, commit.root):
                data = b""
                if entry.is_file and secret not in path:
                    data = blake3(b"".join(repo.read_file(entry))).digest()
                found[f"{data_set}@{oid.hex()}", path] = (entry, data)
    return found


def erase(repo: Repository, *paths: str, **fields: object) -> Outcome:
    """Erase files of `data` by their paths."""
    query = Query(reason="asked to", data_set="data", paths=paths, **fields)  # type: ignore[arg-type]
    plan = make_plan(repo, query, quiet)
    check(plan, lambda _: False)
    return carry_out(repo, plan, quiet)


def quiet(_what: str, _count: int) -> None:
    """Take progress."""


def compacted(repo: Repository, target: Path) -> bytes:
    """Return the bytes of a copy of a store in which no page is free."""
    target.mkdir()
    repo.store._env._env.copy(str(target), compact=True)
    return (target / "data.mdb").read_bytes()


def has_marker(data: bytes) -> bool:
    """Say whether the marker is anywhere, as it is or in what zstd compressed."""
    if MARKER in data or MARKER.hex().encode() in data:
        return True
    at = data.find(zstandard.FRAME_HEADER)
    while at >= 0:
        with suppress(zstandard.ZstdError):
            raw = zstandard.ZstdDecompressor().decompressobj().decompress(data[at : at + (1 << 20)])
            if MARKER in raw or MARKER.hex().encode() in raw:
                return True
        at = data.find(zstandard.FRAME_HEADER, at + 1)
    return False


def all_blocks(repo: Repository) -> bytes:
    """Return all blocks, one behind the other: no header of LMDB stands in the way of a frame."""
    env = repo.store._env
    with env.read() as txn, txn.cursor(env.tables["blocks"]) as cursor:
        return b"".join(bytes(value) for value in cursor.iternext(keys=False, values=True))
