"""Tables of numbers, row by row; of the others only that LMDB can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.auditline import AuditLine
from vfs.store.audit import META_KEY, Chain
from vfs.store.births import unpack_birth
from vfs.store.erasures import BEGIN, LEARN, is_pending, tombstone_number, tombstone_problem
from vfs.store.layout import Kind, key_number, number_key, unpack_location, unpack_number_row
from vfs.store.numbers import RESERVED
from vfs.store.pruned import unpack_pruned
from vfs.store.settings import parse
from vfs.store.tables import TABLES
from vfs.store.unpushed import check_mark

if TYPE_CHECKING:
    from vfs.repo.fsck.run import Run

_OWN_STAGE: Final = frozenset(("blocks", "objects", "audit"))
PLAIN_TABLES: Final = tuple(name for name in TABLES if name not in _OWN_STAGE)


def check_table(run: Run, name: str) -> None:
    """Read a whole table, which is neither the index nor the blocks."""
    check = _CHECKS.get(name)
    total = run.store.count(name)
    for done, (key, value) in enumerate(run.store.rows(name)):
        if not done & 0xFFF:
            run.line.progress(done, total)
        if check is not None:
            message = check(run, key, value)
            if message:
                # Told at the end, unless an entry turns up whose number this is.
                run.loose[name, bytes(key)] = f"the table '{name}' is damaged: {message}"
    run.count("rows", total)


def _erased(run: Run, key: bytes, value: memoryview) -> str:
    problem = tombstone_problem(key, value)
    if problem:
        return problem
    if run.store.row("objects", key) is not None:
        return f"the object {key.hex()} was erased, and is in the index"
    number = tombstone_number(value)
    row = run.store.row("audit", number_key(number))
    try:
        if row is None or AuditLine.decode(bytes(row)).action not in (BEGIN, LEARN):
            return f"the object {key.hex()} was erased by line {number}, which is no such line"
    except CorruptObject:
        return ""  # told of the audit record
    run.erased.add(ObjectId(key))
    run.count("erased objects")
    if is_pending(value):
        run.count("erased objects not yet overwritten")
    return ""


def check_audit(run: Run) -> None:
    """Follow the chain of the audit record."""
    chain = Chain()
    total = run.store.count("audit")
    for done, (key, value) in enumerate(run.store.rows("audit")):
        if not done & 0xFFF:
            run.line.progress(done, total)
        _tell(run, chain.follow(key, bytes(value)))
    meta = run.store.row("meta", META_KEY)
    _tell(run, chain.end(None if meta is None else bytes(meta)))


def _tell(run: Run, problem: str) -> None:
    if problem:
        run.found("table", f"the audit record is damaged: {problem}")


def _leaf(run: Run, key: bytes, value: memoryview) -> str:
    if len(key) == 8 and not value:
        return ""  # keeps its number from coming back
    if len(key) != 8 or len(value) != ID_BYTES:
        return "a row of a wrong length"
    oid = ObjectId(bytes(value))
    row = run.store.row("objects", oid)
    try:
        if row is not None and unpack_location(row).kind == Kind.TREE:
            return ""
    except CorruptObject:
        return ""  # told of the object
    return f"row {key_number(key)} leads to {oid.hex()}, which is no tree node"


def _number(run: Run, key: bytes, value: memoryview) -> str:
    if len(key) != 8 or len(value) != 10:
        return "a row of a wrong length"
    if key_number(key) < RESERVED or key_number(key) >> 62:
        return f"{key_number(key)} is no inode number"
    leaf = unpack_number_row(value).leaf
    if run.store.row("leaves", number_key(leaf)) is None:
        return f"the number {key_number(key)} is of the tree leaf {leaf}, which is missing"
    return ""


def _birth(run: Run, key: bytes, value: memoryview) -> str:
    try:
        first, _ = unpack_birth(value)
    except CorruptObject:
        first = 0
    last = int.from_bytes(key, "big")
    if len(key) != 8 or not 0 < first <= last:
        return "a row that is no run of leaves"
    nearest = next(run.store.rows("births", number_key(first)), None)
    if nearest is not None and nearest[0] < key:
        return f"the runs that end at {key_number(nearest[0])} and {last} overlap"
    return ""


def _collision(run: Run, key: bytes, value: memoryview) -> str:
    if len(key) != 16 or len(value) != 8:
        return "a row of a wrong length"
    row = run.store.row("numbers", bytes(value))
    if row is None or len(row) != 10:
        return f"the number {key_number(value)} is missing"
    if unpack_number_row(row).check != int.from_bytes(key[8:12], "little"):
        return f"the number {key_number(value)} is of another entry"
    return ""


def _pruned(run: Run, key: bytes, value: memoryview) -> str:
    try:
        unpack_pruned(value)
    except CorruptObject as error:
        return str(error)
    row = run.store.row("objects", key)
    if len(key) != ID_BYTES or row is None or unpack_location(row).kind != Kind.COMMIT:
        return f"{key.hex()} is no commit"
    return ""


def _setting(_: Run, key: bytes, value: memoryview) -> str:
    try:
        parse(key.decode(errors="replace"), bytes(value))
    except CorruptObject as error:
        return str(error)
    return ""


def _mark(run: Run, key: bytes, value: memoryview) -> str:
    try:
        check_mark(key, value)
    except CorruptObject as error:
        return str(error)
    if run.store.row("objects", key) is None:
        return f"the object {key.hex()}, which was not pushed yet, is missing"
    run.count("objects not yet pushed")
    return ""


_CHECKS: Final = {
    "leaves": _leaf,
    "numbers": _number,
    "collisions": _collision,
    "births": _birth,
    "erased": _erased,
    "pruned": _pruned,
    "settings": _setting,
    "unpushed": _mark,
}
