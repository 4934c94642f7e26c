"""A cache of a remote, read in one process: what is fetched, when, and what is kept of it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounting import wait_until
from tests.support.remotes import FaultyBucket, WatchedBucket, commit, connect, patient
from vfs.errors import Erased, Interrupted, NotFound, RemoteProblem, RemoteUnavailable, StoreError
from vfs.ids import ObjectId
from vfs.remote import objects
from vfs.remote.bucket import Bucket
from vfs.remote.files import FileBucket
from vfs.remote.journal import JOURNAL
from vfs.remote.layout import PACKS
from vfs.remote.remote import Remote
from vfs.repo.blobs import FileReader
from vfs.repo.erasing import Query, carry_out, make_plan
from vfs.repo.gc import Rules
from vfs.repo.repository import Repository
from vfs.repo.trees import walk
from vfs.store.store import Store
from vfs.sync import ondemand
from vfs.sync.cache import fetch_ahead, make_cache, open_cache, refresh_cache
from vfs.sync.collecting import Options, collect
from vfs.sync.erasing import erase_from_remote
from vfs.sync.hints import Hints
from vfs.sync.ondemand import OnDemand, Patience, Source
from vfs.sync.push import push
from vfs.sync.readahead import ReadAhead
from vfs.sync.remotes import RemotePlace, connected
from vfs.sync.windows import Windows

FILES = {f"f{number:03}": bytes([number % 251 + 1]) * (50 + number) for number in range(300)}
CONTENT = {"dir": FILES, "top": b"top" * 999, "empty": b"", "hole": bytes(5000) + b"end"}
PATIENT = Patience(20)


@pytest.fixture
def place(tmp_path: Path) -> RemotePlace:
    """A remote with the version data@main."""
    place = RemotePlace("", f"file://{tmp_path}/remote")
    with Repository.create(tmp_path / "origin") as repo:
        commit(repo, CONTENT)
        _push(repo, place)
    return place


@pytest.fixture
def cache(tmp_path: Path, place: RemotePlace) -> Path:
    """A cache that shows data@main and has read none of its files."""
    return _make(tmp_path / "cache", place)


def _make(path: Path, place: RemotePlace) -> Path:
    make_cache(path, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "WINDOW_BYTES", 1)  # else all comes with the commit
        refresh_cache(path, PATIENT)
    return path


def _push(repo: Repository, place: RemotePlace) -> None:
    with connected(repo.store, place, write=True) as remote:
        push(repo, remote, "", repo.all_refs())


def _through(cache: Path, bucket: Bucket, patience: Patience = PATIENT) -> Repository:
    """Open a cache that is filled from *bucket*."""
    store = Store.open(cache, partial=True)
    value = store.settings.get("promised")
    assert value is not None
    source = Source(value["url"], None, value["uuid"], value["limit"])
    store.bring = OnDemand(store, source, patience, lambda _: bucket)
    return Repository(store)


def connected_to(cache: Path) -> Remote:
    return connect(cache.parent / "remote")


class NoBucket(FileBucket):
    """A bucket of which nothing may be asked."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))


def _windows(store: Store, bucket: Bucket) -> Windows:
    value = store.settings.get("promised")
    assert value is not None
    return Windows(store, value["uuid"], value["limit"], lambda: bucket)


@contextmanager
def _fetched_ahead(cache: Path, bucket: Bucket) -> Iterator[Hints]:
    """Fetch ahead from *bucket* in another process, as mounts do, which is killed at the end."""

    def fetch() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Source, "bucket", lambda _: bucket)
            fetch_ahead(cache, PATIENT, hints, lambda: None)

    with Hints() as hints:
        process = multiprocessing.get_context("fork").Process(target=fetch)
        process.start()
        try:
            yield hints
        finally:
            process.kill()
            process.join()
            process.close()


def _tree(repo: Repository) -> ObjectId:
    return repo.commit(repo.resolve("data", "main").commit).root.content


def _remote(cache: Path) -> FileBucket:
    return FileBucket(cache.parent / "remote")


def _read_all(repo: Repository, tree: ObjectId | None = None) -> dict[str, object]:
    tree = tree or repo.commit(repo.resolve("data", "main").commit).root.content
    found: dict[str, object] = {}
    for place in walk(repo.nodes, tree):
        entry = place.entry
        is_dir = entry.is_dir
        found[entry.name.decode()] = (
            _read_all(repo, entry.content)
            if is_dir
            else FileReader(repo.reader).read(entry, 0, entry.size)
        )
    return found


def test_what_is_read_is_what_was_pushed(cache: Path) -> None:
    with open_cache(cache, PATIENT) as repo:
        assert _read_all(repo) == CONTENT


def test_neighbours_come_together_and_nothing_twice(cache: Path) -> None:
    bucket = WatchedBucket(_remote(cache))
    with _through(cache, bucket) as repo:
        assert _read_all(repo) == CONTENT
    assert 1 <= bucket.calls["get_range"] <= 3  # of 300 files
    assert bucket.calls.total() == bucket.calls["get_range"]
    again = WatchedBucket(_remote(cache))
    with _through(cache, again) as repo:
        assert _read_all(repo) == CONTENT
    assert not again.calls


def test_a_version_that_came_later_is_shown_after_a_refresh(
    cache: Path, place: RemotePlace
) -> None:
    with Repository.open(cache.parent / "origin") as repo:
        commit(repo, {"new": b"new"})
        _push(repo, place)
    refresh_cache(cache, PATIENT, "data")
    with open_cache(cache, PATIENT) as repo:
        assert _read_all(repo) == {"new": b"new"}


def test_offline_shows_what_was_fetched_and_asks_for_nothing(cache: Path) -> None:
    bucket = WatchedBucket(_remote(cache))
    with (
        _through(cache, bucket, Patience(offline=True)) as repo,
        pytest.raises(RemoteUnavailable, match="offline"),
    ):
        _read_all(repo)
    with open_cache(cache, PATIENT) as repo:
        _read_all(repo)
    with _through(cache, bucket, Patience(offline=True)) as repo:
        assert _read_all(repo) == CONTENT
    assert not bucket.calls


def test_faults_on_the_way_are_survived(cache: Path) -> None:
    faulty = FaultyBucket(_remote(cache), 1, rate=0.3, wrong_rate=0.2)
    with _through(cache, patient(faulty)) as repo:
        assert _read_all(repo) == CONTENT


def test_wrong_bytes_are_never_kept(cache: Path) -> None:
    wrong = FaultyBucket(_remote(cache), 1, rate=0, wrong_rate=1)
    with _through(cache, wrong) as repo, pytest.raises(RemoteProblem):
        _read_all(repo)
    with open_cache(cache, PATIENT) as repo:
        assert _read_all(repo) == CONTENT


def test_a_pack_that_is_gone_is_no_missing_file(cache: Path) -> None:
    for pack in (cache.parent / "remote" / PACKS).iterdir():
        pack.unlink()
    with open_cache(cache, PATIENT) as repo:
        try:
            _read_all(repo)
        except NotFound:
            pytest.fail("it looks as if the file were not there")
        except RemoteProblem:
            pass


def test_a_remote_that_hangs_is_given_up_and_found_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ondemand, "REST_SECONDS", 0.0)
    hangs, answers = threading.Event(), threading.Event()

    def wait(call: str, name: str) -> None:
        hangs.set()
        answers.wait()

    bucket = WatchedBucket(_remote(cache), before=wait)
    with _through(cache, bucket, Patience(0.2)) as repo:
        with pytest.raises(RemoteUnavailable, match="in time"):
            _read_all(repo)
        assert hangs.is_set()
        answers.set()
    with _through(cache, bucket) as repo:
        assert _read_all(repo) == CONTENT


def test_after_a_failure_nothing_is_asked_for_a_while(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ondemand, "REST_SECONDS", 1e6)
    down = FaultyBucket(_remote(cache), 1, rate=1)
    with _through(cache, down) as repo:
        for _ in range(5):
            with pytest.raises(RemoteUnavailable):
                _read_all(repo)
    assert down.calls.total() == 1


def _read_in_a_process(cache: Path, start: object, calls: object) -> None:
    bucket = WatchedBucket(_remote(cache))
    start.wait()  # type: ignore[attr-defined]
    with _through(cache, bucket) as repo:
        assert _read_all(repo) == CONTENT
    calls.put(bucket.calls["get_range"])  # type: ignore[attr-defined]


def test_processes_at_once_fetch_nothing_twice(cache: Path) -> None:
    alone = _make(cache.parent / "alone", RemotePlace("", f"file://{cache.parent}/remote"))
    bucket = WatchedBucket(_remote(alone))
    with _through(alone, bucket) as repo:
        _read_all(repo)
    context = multiprocessing.get_context("fork")
    start, calls = context.Barrier(3), context.Queue()
    readers = [
        context.Process(target=_read_in_a_process, args=(cache, start, calls)) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    asked = [calls.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    assert sum(asked) == bucket.calls["get_range"]


def test_a_cache_is_no_store_of_its_own(cache: Path, place: RemotePlace) -> None:
    with pytest.raises(StoreError, match="cache of a remote"):
        Repository.open(cache)
    with pytest.raises(StoreError, match="store of its own"):
        make_cache(cache.parent / "origin", place)
    with pytest.raises(StoreError, match="no cache"):
        open_cache(cache.parent / "origin", PATIENT)


def test_packs_that_went_are_looked_for_anew(cache: Path) -> None:
    with connected_to(cache) as remote:
        collect(remote, Options(keep_s=0, grace_s=0, repack_share=2))
    assert list(_remote(cache).items(JOURNAL))
    with open_cache(cache, PATIENT) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        assert b"".join(repo.read_file(repo.entry_at(root, (b"top",)))) == CONTENT["top"]


def test_what_was_erased_from_the_remote_says_so(cache: Path, tmp_path: Path) -> None:
    with Repository.open(tmp_path / "origin") as origin:
        query = Query(reason="request 17", data_set="data", paths=("dir/f123",))
        carry_out(origin, make_plan(origin, query, lambda *_: None), lambda *_: None)
        with connected_to(cache) as remote:
            assert erase_from_remote(origin.store, remote).packs == 1
    with open_cache(cache, PATIENT) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        entry = repo.entry_at(root, (b"dir", b"f123"))
        with pytest.raises(Erased, match="request 17"):
            list(repo.read_file(entry))


def test_versions_without_content_say_so(cache: Path, place: RemotePlace, tmp_path: Path) -> None:
    with Repository.open(tmp_path / "origin") as origin:
        old = origin.resolve("data").commit
        commit(origin, {"new": b"content"})
        _push(origin, place)
    with connected_to(cache) as remote:
        rules = {"data": Rules(last=1)}
        collect(remote, Options(keep_s=0, grace_s=0, rules=rules))
    refresh_cache(cache, PATIENT)
    with open_cache(cache, PATIENT) as repo, pytest.raises(NotFound, match="retention of data"):
        repo.resolve("data", old.hex()[:12])


def _fill(cache: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """Push files of bytes that nothing compresses; return what they hold."""
    files = {name: os.urandom(size) for name, size in sizes.items()}
    with Repository.open(cache.parent / "origin") as repo:
        commit(repo, files)
        _push(repo, RemotePlace("", f"file://{cache.parent}/remote"))
    return files


def test_a_full_cache_lets_go_and_stays_within_its_limit(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WINDOW_BYTES", 256 << 10)
    limit = 6 << 20
    files = _fill(cache, {f"f{number:02}": 1 << 20 for number in range(24)})
    make_cache(cache, RemotePlace("", f"file://{cache.parent}/remote"), limit)
    refresh_cache(cache, PATIENT)
    for _ in range(2):
        with open_cache(cache, PATIENT) as repo:
            assert _read_all(repo) == files
            assert repo.store.used_bytes() <= limit + (2 << 20)
    assert (cache / "data.mdb").stat().st_size <= 2 * limit


def test_what_is_expected_comes_by_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WINDOW_BYTES", 256 << 10)
    (data,) = _fill(cache, {"large": 8 << 20}).values()
    refresh_cache(cache, PATIENT)
    with open_cache(cache, PATIENT) as repo:
        (entry,) = [place.entry for place in walk(repo.nodes, _tree(repo))]
        spans = [span.content for span in FileReader(repo.reader).spans(entry)][:2000]
    requests = cache.parent / "requests"

    def count(call: str, name: str) -> None:
        with requests.open("a") as file:
            file.write(".")

    with _fetched_ahead(cache, WatchedBucket(_remote(cache), before=count)) as hints:
        hints.tell(spans)
        hints.tell(spans)
        with _through(cache, NoBucket(), Patience(offline=True)) as repo:
            has = repo.reader.has
            wait_until(lambda: all(has(oid) for oid in spans), seconds=30)
            read = FileReader(repo.reader)
            assert read.read(entry, 0, 2_000_000) == data[:2_000_000]
    assert 1 <= requests.stat().st_size <= 2_000_000 // (448 << 10) + 2  # nothing comes twice


def test_what_is_waited_for_comes_by_the_process_that_fetches_ahead(cache: Path) -> None:
    with (
        _fetched_ahead(cache, _remote(cache)) as hints,
        _through(cache, NoBucket(), Patience(20, hints=hints)) as repo,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(ondemand, "SOON_SECONDS", 20.0)
        assert _read_all(repo) == CONTENT


def test_what_nobody_waits_for_any_more_is_given_up_and_keeps_no_other_from_asking(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked = threading.Event(), threading.Event()

    def wait(call: str, name: str) -> None:
        asked.set()
        assert held.wait(20)

    bucket = WatchedBucket(_remote(cache), before=wait)
    with Hints() as hints, _through(cache, bucket, Patience(20, hints=hints)) as repo:
        supply = repo.store.bring
        assert supply is not None
        oid = repo.commit(repo.resolve("data", "main").commit).root.content
        with pytest.raises(Interrupted):  # while another process is to bring it
            supply(oid, lambda: False)
        assert not asked.is_set()
        monkeypatch.setattr(ondemand, "SOON_SECONDS", 0.01)
        with pytest.raises(Interrupted):
            supply(oid, lambda: not asked.is_set())
        held.set()
        assert _read_all(repo) == CONTENT


def test_a_reader_helps_itself_where_nobody_fetches_ahead(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ondemand, "SOON_SECONDS", 0.01)
    with Hints() as hints, _through(cache, _remote(cache), Patience(20, hints=hints)) as repo:
        supply = repo.store.bring
        assert supply is not None
        for _ in range(1000):  # more than the way there holds
            supply.expect([ObjectId(bytes(32))] * 600)
        assert _read_all(repo) == CONTENT


def test_a_remote_that_is_gone_spoils_nothing_that_is_only_expected(cache: Path) -> None:
    bucket = FaultyBucket(_remote(cache), 1, rate=1)
    with open_cache(cache, PATIENT) as repo:
        ahead = ReadAhead(_windows(repo.store, bucket))
        ahead.expect([ObjectId(bytes(32))])  # which nobody knows: it looks for new packs
        assert bucket.calls["items"] == 1
        ahead.expect([ObjectId(bytes(32))])
        assert bucket.calls["items"] == 1  # but not all the time
        ahead.close()
        assert _read_all(repo) == CONTENT


def test_who_waits_for_a_window_is_woken_when_it_is_there(cache: Path) -> None:
    """Two readers in two processes: the second begins while the first one fetches."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(call: str, name: str) -> None:
        begun.set()
        go_on.wait(20)

    with open_cache(cache, PATIENT) as repo:
        first = _windows(repo.store, WatchedBucket(_remote(cache), before=wait))
        other = _windows(repo.store, NoBucket())
        (top,) = [p.entry for p in walk(repo.nodes, _tree(repo)) if p.entry.name == b"empty"]
        assert not top.size
        oid = next(p.entry.content for p in walk(repo.nodes, _tree(repo)) if p.entry.is_dir)
        window = first.find(oid)
        assert window is not None

        def bring() -> None:
            with first.turn(window) as is_mine:
                assert is_mine
                first.store([(window, first.fetch(window))])

        bringing = threading.Thread(target=bring)
        bringing.start()
        assert begun.wait(20)
        with other.turn(window) as is_mine:
            assert not is_mine
        waiting = threading.Thread(target=other.wait, args=(window,))
        waiting.start()
        assert waiting.is_alive()
        go_on.set()
        waiting.join(20)
        bringing.join(20)
        assert not waiting.is_alive()
        assert all(repo.reader.has(oid) for oid, _ in window.around)
