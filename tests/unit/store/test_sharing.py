"""One store in several processes: a map that grows, writers at once, readers that are killed."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

from tests.support.stores import children, finish, run_child, start_child
from vfs.store.store import Store

SMALL_MAP = 1 << 20

WRITER = """
import random, sys
from pathlib import Path
from vfs.store.store import Store
path, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chunks = random.Random(seed)
sys.stdin.readline()
with Store.open(path, map_bytes=1 << 20) as store, store.ingest() as ingest:
    reader = store.reader()
    for number in range(count):
        body = chunks.randbytes(60_000)
        (oid,) = ingest.add_chunks([body])
        if number % 10 == 9:
            ingest.flush()
            assert reader.get(oid) == body
print("done")
"""


def chunks(seed: int, count: int) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(60_000) for _ in range(count)]


def test_the_map_grows_under_an_ingest(tmp_path: Path) -> None:
    Store.create(tmp_path / "s").close()
    bodies = chunks(1, 150)  # 9 MB
    with Store.open(tmp_path / "s", map_bytes=SMALL_MAP) as store:
        with store.ingest() as ingest:
            ids = ingest.add_chunks(bodies)
        reader = store.reader()
        assert [reader.get(oid) for oid in ids] == bodies
        assert store.page_bytes() > 8 * SMALL_MAP


def test_a_map_smaller_than_the_file_is_enough_to_open(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store, store.ingest() as ingest:
        (oid, *_) = ingest.add_chunks(chunks(2, 60))
    with Store.open(tmp_path / "s", map_bytes=4096) as store:
        assert store.reader().has(oid)
        with store.ingest() as ingest:
            ingest.add_chunks(chunks(3, 60))


def test_a_reader_adopts_what_another_process_has_grown(tmp_path: Path) -> None:
    Store.create(tmp_path / "s").close()
    with Store.open(tmp_path / "s", map_bytes=SMALL_MAP) as store:
        reader = store.reader()
        assert not reader.has(bytes(32))  # type: ignore[arg-type]
        with children(WRITER, [(tmp_path / "s", 4, 60)]) as (child,):
            assert child.communicate("\n", timeout=60)[0] == "done\n"
        with store.ingest() as ingest:
            ids = ingest.add_chunks(chunks(4, 60))
            ingest.flush()
            assert ingest.stored_bytes == 0
        assert [reader.get(oid) for oid in ids] == chunks(4, 60)


def test_a_map_grows_while_threads_read(tmp_path: Path) -> None:
    Store.create(tmp_path / "s").close()
    with Store.open(tmp_path / "s", map_bytes=SMALL_MAP) as store:
        with store.ingest() as ingest:
            (oid,) = ingest.add_chunks([b"small" * 1000])
        done = threading.Event()
        wrong: list[object] = []

        def read() -> None:
            reader = store.reader(cache_bytes=0)
            while not done.is_set():
                try:
                    if reader.get(oid) != b"small" * 1000:
                        wrong.append("bytes")
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        with store.ingest() as ingest:
            for body in chunks(5, 100):
                ingest.add_chunks([body])
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong


def test_processes_write_at_once_and_the_map_grows_under_all_of_them(tmp_path: Path) -> None:
    Store.create(tmp_path / "s").close()
    seeds = (11, 12, 13, 11)  # two store the same
    with children(WRITER, [(tmp_path / "s", seed, 50) for seed in seeds]) as running:
        for child in running:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in running:
            assert finish(child) == "done\n"
    with Store.open(tmp_path / "s") as store:
        with store.ingest() as ingest:
            ids = [ingest.add_chunks(chunks(seed, 50)) for seed in seeds]
            ingest.flush()
            assert ingest.stored_bytes == 0
        assert ids[0] == ids[3]
        assert store.count_objects()[0].objects == 150  # type: ignore[index]
        reader = store.reader()
        for seed, oids in zip(seeds, ids, strict=True):
            assert [reader.get(oid) for oid in oids] == chunks(seed, 50)


HOLD = """
import sys
from pathlib import Path
from vfs.store.store import Store
store = Store.open(Path(sys.argv[1]))
with store._env.read() as txn:
    print("reading", flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_reader_held_is_free_again(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        child = start_child(HOLD, tmp_path / "s")
        assert child.stdout is not None
        assert child.stdout.readline() == "reading\n"
        assert store.check_readers() == 0  # it lives
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert store.check_readers() == 1
        assert store.check_readers() == 0


def test_opening_a_store_frees_what_killed_readers_held(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        for _ in range(3):
            child = start_child(HOLD, tmp_path / "s")
            assert child.stdout is not None
            child.stdout.readline()
            child.kill()
            child.communicate()
        opened = "import sys; from pathlib import Path; from vfs.store.store import Store\n"
        run_child(opened + "Store.open(Path(sys.argv[1])).close()", tmp_path / "s")
        assert store.check_readers() == 0
