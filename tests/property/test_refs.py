"""References: compare-and-set, all or nothing, a log of everything, slots that never return."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.stores import children, finish
from vfs.errors import AlreadyExists, Conflict, CorruptObject, NotFound
from vfs.ids import ObjectId, object_id
from vfs.store.layout import Slot
from vfs.store.refrows import TEXT_MAX_BYTES
from vfs.store.refs import RefChange, RefTable
from vfs.store.store import Store

SETS = ("data", "dat", "data2")
NAMES = ("main", "v1", "v", "v10")
COMMITS = [object_id(b"commit %d" % number) for number in range(4)]
KINDS = st.sampled_from(("branch", "tag"))


class References(RuleBasedStateMachine):
    """The table against a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.store = Store.create(self.path / "store")
        self.refs: RefTable = self.store.refs
        self.model: dict[tuple[str, str], tuple[str, ObjectId]] = {}
        self.log: dict[tuple[str, str], list[tuple[object, ...]]] = {}
        self.slots: list[Slot] = []
        self.times = itertools.count(1)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.path)

    @initialize()
    def make_data_sets(self) -> None:
        for name in SETS[:2]:
            self.refs.add_data_set(name, 1)

    @rule(
        changes=st.lists(
            st.tuples(
                st.sampled_from(SETS), st.sampled_from(NAMES), KINDS, st.sampled_from(COMMITS),
                st.sampled_from((*COMMITS, None, "right", "force")),
            ),
            min_size=1, max_size=3,
        )
    )  # fmt: skip
    def move(self, changes: list[tuple[str, str, str, ObjectId, object]]) -> None:
        model = dict(self.model)
        wanted, entered, error = [], [], None
        time_ns = next(self.times)
        for data_set, name, kind, new, how in changes:
            old_kind, old = model.get((data_set, name), (kind, None))
            expected = old if how == "right" else None if how == "force" else how
            wanted.append(
                RefChange(
                    data_set=data_set, name=name, kind=kind, new=new,  # type: ignore[arg-type]
                    expected=expected, force=how == "force",  # type: ignore[arg-type]
                )
            )  # fmt: skip
            if error is None:
                if data_set == SETS[2]:
                    error = NotFound
                elif old_kind != kind:
                    error = AlreadyExists  # type: ignore[assignment]
                elif how != "force" and expected != old:
                    error = Conflict  # type: ignore[assignment]
            model[data_set, name] = (kind, new)
            entered.append(((data_set, name), (kind, old, new, time_ns, "who", "why")))
        if error is not None:
            with pytest.raises(error):
                self.refs.move(wanted, time_ns=time_ns, who="who", why="why")
            return
        made = self.refs.move(wanted, time_ns=time_ns, who="who", why="why")
        assert [(r.data_set, r.name, r.kind, r.commit, r.time_ns) for r in made] == [
            (c.data_set, c.name, c.kind, c.new, time_ns) for c in wanted
        ]
        assert all(ref.slot > len(self.slots) for ref in made)
        self.model = model
        for key, line in entered:
            self.log.setdefault(key, []).append(line)

    @rule(data_set=st.sampled_from(SETS), name=st.sampled_from(NAMES), kind=KINDS)
    def delete(self, data_set: str, name: str, kind: str) -> None:
        old = self.model.get((data_set, name))
        time_ns = next(self.times)
        if old is None or old[0] != kind:
            with pytest.raises(NotFound):
                self.refs.delete(data_set, name, kind, time_ns=time_ns, who="w", why="y")  # type: ignore[arg-type]
            return
        self.refs.delete(data_set, name, kind, time_ns=time_ns, who="w", why="y")  # type: ignore[arg-type]
        del self.model[data_set, name]
        self.log[data_set, name].append((kind, old[1], None, time_ns, "w", "y"))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path / "store")
        self.refs = self.store.refs

    @invariant()
    def references_are_those_of_the_model(self) -> None:
        found = {(ref.data_set, ref.name): (ref.kind, ref.commit) for ref in self.refs.all()}
        assert found == self.model
        for data_set in SETS:
            own = [name for known, name in sorted(self.model) if known == data_set]
            assert [ref.name for ref in self.refs.of(data_set)] == own
        for data_set, name in itertools.product(SETS, NAMES):
            ref = self.refs.get(data_set, name)
            assert (ref and (ref.kind, ref.commit)) == self.model.get((data_set, name))

    @invariant()
    def the_log_has_every_update(self) -> None:
        for data_set, name in itertools.product(SETS, NAMES):
            lines = [
                (line.kind, line.old, line.new, line.time_ns, line.who, line.why)
                for line in self.refs.log(data_set, name)
            ]
            assert lines[::-1] == self.log.get((data_set, name), [])

    @invariant()
    def slots_are_for_ever(self) -> None:
        found: list[Slot] = []
        while (slot := self.refs.slot(len(found) + 1)) is not None:
            found.append(slot)
        assert found[: len(self.slots)] == self.slots
        self.slots = found
        for commit in {commit for _, commit in self.model.values()}:
            own = self.refs.commit_slot(commit)
            assert own is not None
            assert found[own - 1].name == commit.hex()
        for ref in self.refs.all():
            assert found[ref.slot - 1] == Slot(ref.commit, ref.data_set, ref.name)


TestReferences = References.TestCase


RACE = """
import sys
from pathlib import Path
from vfs.errors import Conflict
from vfs.ids import object_id
from vfs.store.refs import RefChange
from vfs.store.store import Store
with Store.open(Path(sys.argv[1])) as store:
    won = []
    for number in range(40):
        old, new = object_id(b"%d" % number), object_id(sys.argv[2].encode() + b"%d" % number)
        change = RefChange(data_set="data", name=f"b{number}", kind="branch", new=new, expected=old)
        try:
            store.refs.move([change], time_ns=2, who=sys.argv[2], why="race")
            won.append(number)
        except Conflict:
            pass
    print(*won)
"""


def test_of_two_processes_exactly_one_wins(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        store.refs.add_data_set("data", 1)
        first = [
            RefChange(data_set="data", name=f"b{n}", kind="branch", new=object_id(b"%d" % n))
            for n in range(40)
        ]
        store.refs.move(first, time_ns=1, who="w", why="start")
        with children(RACE, [(tmp_path / "s", who) for who in ("one", "two", "three")]) as running:
            won = [finish(child).split() for child in running]
        assert sorted(itertools.chain(*won), key=int) == [str(number) for number in range(40)]
        for who, numbers in zip(("one", "two", "three"), won, strict=True):
            for number in numbers:
                (last, _) = store.refs.log("data", f"b{number}")
                assert last.who == who
                assert last.new == object_id(who.encode() + number.encode())


@pytest.fixture
def refs(tmp_path: Path) -> RefTable:
    return Store.create(tmp_path / "s").refs


def test_a_data_set_is_made_once(refs: RefTable) -> None:
    refs.add_data_set("b", 1)
    refs.add_data_set("a", 1)
    with pytest.raises(AlreadyExists):
        refs.add_data_set("b", 2)
    assert refs.data_sets() == ["a", "b"]
    assert (refs.has_data_set("a"), refs.has_data_set("c")) == (True, False)


@pytest.mark.parametrize("name", ["", "x" * 600])
def test_names_that_nothing_can_have_are_not_there(refs: RefTable, name: str) -> None:
    refs.add_data_set("data", 1)
    assert not refs.has_data_set(name)
    assert refs.get("data", name) is None
    assert refs.get(name, "main") is None
    assert refs.of(name) == []
    assert refs.log("data", name) == []


def test_commits_by_prefix(refs: RefTable) -> None:
    refs.add_data_set("data", 1)
    ids = [ObjectId(bytes([0xAB, third, *bytes(30)])) for third in (0x10, 0x12, 0x13, 0x20, 0xFF)]
    for number, oid in enumerate(ids):
        change = RefChange(data_set="data", name=f"v{number}", kind="tag", new=oid)
        refs.move([change], time_ns=1, who="", why="")
    assert refs.commits_with_prefix(b"\xab", odd_digit=None) == ids[:3]
    assert refs.commits_with_prefix(b"\xab", odd_digit=1) == ids[:3]
    assert refs.commits_with_prefix(b"\xab", odd_digit=2) == ids[3:4]
    assert refs.commits_with_prefix(b"\xab\xff", odd_digit=None) == ids[4:]
    assert refs.commits_with_prefix(b"\xab\xff", odd_digit=0) == ids[4:]
    assert refs.commits_with_prefix(b"\xac", odd_digit=None) == []
    assert refs.commits_with_prefix(ids[2], odd_digit=None) == ids[2:3]


def test_long_texts_in_the_log_are_cut(refs: RefTable) -> None:
    refs.add_data_set("data", 1)
    change = RefChange(data_set="data", name="main", kind="branch", new=COMMITS[0])
    refs.move([change], time_ns=1, who="\udce9", why="ä" * TEXT_MAX_BYTES)
    (line,) = refs.log("data", "main")
    assert line.who == "\udce9"
    assert line.why.startswith("ä" * (TEXT_MAX_BYTES // 2))
    assert len(line.why) <= TEXT_MAX_BYTES // 2 + 1


def test_a_damaged_reference_is_said(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        store.refs.add_data_set("data", 1)
        for table, key in (("refs", b"data\0main"), ("ref_log", b"data\0main\0" + bytes(8))):
            for value in (b"", b"\xff" * 49, b"\1" * 20):

                def put(
                    txn: object, table: str = table, key: bytes = key, value: bytes = value
                ) -> None:
                    txn.put(key, value, db=store._env.tables[table])  # type: ignore[attr-defined]

                store._env.write(put)
                with pytest.raises(CorruptObject):
                    store.refs.get("data", "main") if table == "refs" else store.refs.log(
                        "data", "main"
                    )
