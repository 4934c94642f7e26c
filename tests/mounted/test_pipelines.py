"""Pipelines, with real commands on real mounts: what runs, what is skipped, what survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMAND, Hub, a_hub
from tests.support.mounting import lazy_unmount, wait_for_end, wait_until
from tests.support.podman import put_podman
from vfs import mountinfo
from vfs.model.names import parse_target
from vfs.pipeline import records
from vfs.pipeline.output import files_of
from vfs.pipeline.spec import read_spec
from vfs.repo.fsck import check_store
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

pytestmark = pytest.mark.mounted

DATUMS = int(os.environ.get("VFS_PIPELINE_DATUMS", "40"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty store; nothing is left of any job."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pipelines_hub(tmp_path) as made:
        yield made


@contextmanager
def pipelines_hub(directory: Path) -> Iterator[Hub]:
    """A hub in a directory; mounts of jobs are taken away from there, and from TMPDIR."""
    places = (f"{directory}/", f"{os.environ['TMPDIR']}/")
    with a_hub(directory) as made:
        try:
            yield made
        finally:
            for mount in mountinfo.mounts():
                if mount.ours and mount.mountpoint.startswith(places):
                    lazy_unmount(Path(mount.mountpoint))


def put(hub: Hub, data_set: str, files: dict[str, str]) -> str:
    """Import files as the new version of a data set; return the commit."""
    source = hub.store.parent / "source"
    shutil.rmtree(source, ignore_errors=True)
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    source.mkdir(exist_ok=True)
    with Repository.open(hub.store) as repo:
        if data_set not in repo.data_sets():
            repo.create_data_set(data_set)
        options = ImportOptions(message="files", author="A Tester")
        return import_source(repo, source, parse_target(data_set), options).commit.hex()


def create(hub: Hub, name: str, script: str, input_: Any, *options: str, **more: Any) -> None:
    """Make a pipeline of a shell script."""
    path = hub.store.parent / f"{name}.json"
    spec = {"name": name, "command": ["sh", "-euc", script], "input": input_, **more}
    path.write_text(json.dumps(spec))
    with Repository.open(hub.store) as repo:
        records.create(repo, read_spec(path), update="--update" in options)


def run(hub: Hub, name: str, *options: str) -> dict[str, Any]:
    done = hub.vfs("pipeline", "run", name, "--json", *options, check=False)
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def numbers(job: dict[str, Any]) -> tuple[int, ...]:
    """How many datums there are, and were run, skipped and dropped."""
    assert job["state"] == "success", job
    return tuple(job[key] for key in ("total", "done", "skipped", "dropped"))


def datum_ids(hub: Hub, name: str) -> dict[str, str]:
    """The ids of the datums that are done, by the paths they were made from."""
    rows = json.loads(hub.vfs("pipeline", "inspect", name, "--datums", "--json").stdout)
    return {" ".join(one["path"] for one in row["inputs"]): row["id"] for row in rows}


def ran(hub: Hub, name: str) -> list[str]:
    """The datums whose commands ended in the last job that ran any, one for each try."""
    lines = hub.vfs("pipeline", "logs", name).stdout.splitlines()
    return [line.split()[2] for line in lines if line.startswith("== datum ")]


def files(hub: Hub, data_set: str) -> dict[str, str]:
    """What a branch main holds, by path."""
    with Repository.open(hub.store, readonly=True) as repo:
        root = repo.commit(repo.resolve(data_set).commit).root
        return {
            os.fsdecode(b"/".join(path)): b"".join(repo.read_file(entry)).decode()
            for path, entry in sorted(files_of(repo.nodes, root.content))
        }


def shown(hub: Hub, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.vfs("show", version, "--json").stdout)
    return found


def jobs(hub: Hub, name: str) -> list[dict[str, Any]]:
    return [asdict(job) for job in records.jobs(hub.store, name)]


EDGES = 'tr a-z A-Z < $VFS_FILE_IMAGES > "$VFS_OUT/$(basename $VFS_FILE_IMAGES)"'
MONTAGE = "cat $VFS_IN_IMAGES/* $VFS_IN_EDGES/* > $VFS_OUT/montage"


def opencv(hub: Hub) -> None:
    """Pachyderm's first example: edges of each image, and a montage of all of both."""
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"})
    both = [{"data": "images", "glob": "/"}, {"data": "edges", "glob": "/"}]
    create(hub, "montage", MONTAGE, {"cross": both})


def test_opencv_s_edges_run_for_new_images_only(hub: Hub) -> None:
    put(hub, "images", {"liberty": "liberty."})
    opencv(hub)
    assert numbers(run(hub, "edges")) == (1, 1, 0, 0)
    assert numbers(run(hub, "montage")) == (1, 1, 0, 0)
    assert files(hub, "montage") == {"montage": "liberty.LIBERTY."}
    first = datum_ids(hub, "edges")

    cause = put(hub, "images", {"liberty": "liberty.", "kitten": "kitten.", "att": "att."})
    assert numbers(run(hub, "edges")) == (3, 2, 1, 0)
    second = datum_ids(hub, "edges")
    assert second["liberty"] == first["liberty"]
    assert set(ran(hub, "edges")) == {second["att"], second["kitten"]}
    assert numbers(run(hub, "montage")) == (1, 1, 0, 1)
    assert files(hub, "montage") == {"montage": "att.kitten.liberty.ATT.KITTEN.LIBERTY."}

    record = shown(hub, "montage")["provenance"]
    assert record["kind"] == "pipeline"
    assert record["global_id"] == cause == shown(hub, "edges")["provenance"]["global_id"]
    assert [one["commit"] for one in record["inputs"]] == [cause, shown(hub, "edges")["commit"]]
    lineage = json.loads(hub.vfs("provenance", "montage", "--json").stdout)["versions"]
    assert shown(hub, "edges")["commit"] in lineage

    put(hub, "images", {"kitten": "kitten.", "att": "ATTENTION."})
    assert numbers(run(hub, "edges")) == (2, 1, 1, 2)
    assert files(hub, "edges") == {"att": "ATTENTION.", "kitten": "KITTEN."}
    assert json.loads(hub.vfs("pipeline", "run", "edges", "--json").stdout) is None


def test_each_datum_of_a_cross_runs_again_when_what_they_share_changes(hub: Hub) -> None:
    put(hub, "shared", {"a": "a", "dir/b": "b"})
    put(hub, "settings", {"one": "1", "two": "2", "three": "3"})
    script = 'cat $VFS_FILE_SETTINGS $VFS_IN_SHARED/a > "$VFS_OUT/$(basename $VFS_FILE_SETTINGS)"'
    both = [{"data": "shared", "glob": "/"}, {"data": "settings", "glob": "/*"}]
    create(hub, "models", script, {"cross": both})
    assert numbers(run(hub, "models")) == (3, 3, 0, 0)
    put(hub, "shared", {"a": "x", "dir/b": "b"})
    assert numbers(run(hub, "models")) == (3, 3, 0, 3)
    assert files(hub, "models") == {"one": "1x", "two": "2x", "three": "3x"}


MAP = """
for word in $(cat $VFS_FILE_TEXT); do
    mkdir -p $VFS_OUT/$word
    echo $word >> $VFS_OUT/$word/$VFS_DATUM
done
"""
REDUCE = "cat $VFS_FILE_MAP/* | wc -l > $VFS_OUT/$(basename $VFS_FILE_MAP)"


def test_word_count_maps_and_reduces_what_changed(hub: Hub) -> None:
    put(hub, "text", {"one": "a b a", "two": "b c"})
    create(hub, "map", MAP, {"data": "text", "glob": "/*"}, parallelism=2)
    create(hub, "reduce", REDUCE, {"data": "map", "glob": "/*"})
    assert numbers(run(hub, "map")) == (2, 2, 0, 0)
    assert numbers(run(hub, "reduce")) == (3, 3, 0, 0)
    assert files(hub, "reduce") == {"a": "2\n", "b": "2\n", "c": "1\n"}
    first = datum_ids(hub, "reduce")

    put(hub, "text", {"one": "a b a", "two": "b d"})
    assert numbers(run(hub, "map")) == (2, 1, 1, 1)
    # Of the words, a has what it had; b is from another datum; c is gone, and d new.
    assert numbers(run(hub, "reduce")) == (3, 2, 1, 2)
    second = datum_ids(hub, "reduce")
    assert second["a"] == first["a"]
    assert sorted(ran(hub, "reduce")) == sorted((second["b"], second["d"]))
    assert files(hub, "reduce") == {"a": "2\n", "b": "2\n", "d": "1\n"}


def test_the_same_tree_comes_out_in_another_store_at_once(hub: Hub, tmp_path: Path) -> None:
    text = {"one": "a b a", "two": "b c", "dir/three": "c c"}
    for words in ({"one": "x"}, {**text, "two": "y"}, text):
        put(hub, "text", words)
        if words == {"one": "x"}:
            create(hub, "map", MAP, {"data": "text", "glob": "/**"})
        run(hub, "map")
    (tmp_path / "other").mkdir()
    with a_hub(tmp_path / "other") as other:
        put(other, "text", text)
        create(other, "map", MAP, {"data": "text", "glob": "/**"})
        assert numbers(run(other, "map")) == (3, 3, 0, 0)
        trees = [shown(one, "map")["provenance"]["output"]["tree"] for one in (hub, other)]
    assert trees[0] == trees[1]


def test_of_many_datums_only_the_one_that_changed_runs(hub: Hub) -> None:
    words = {f"f{i:04}": str(i) for i in range(DATUMS)}
    put(hub, "images", words)
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"}, parallelism=4)
    assert numbers(run(hub, "edges")) == (DATUMS, DATUMS, 0, 0)
    put(hub, "images", {**words, "f0007": "seven"})
    assert numbers(run(hub, "edges")) == (DATUMS, 1, DATUMS - 1, 1)
    assert ran(hub, "edges") == [datum_ids(hub, "edges")["f0007"]]


def test_a_datum_that_fails_is_tried_again_and_then_fails_the_job(hub: Hub) -> None:
    put(hub, "images", {"a": "a", "b": "bad", "c": "c"})
    script = f'grep -q bad $VFS_FILE_IMAGES && {{ echo "no good" >&2; exit 3; }}; {EDGES}'
    create(hub, "edges", script, {"data": "images", "glob": "/*"}, tries=2)
    job = run(hub, "edges")
    assert job["state"] == "failure"
    assert "images:/b): it exited with 3" in job["problem"]
    assert ran(hub, "edges").count(job["failed"][0]) == 2
    log = hub.vfs("pipeline", "logs", "edges", "--datum", job["failed"][0][:8]).stdout
    assert log.count("no good") == 2
    assert shown(hub, "edges")["provenance"]["kind"] == "begin"  # nothing half-done
    assert json.loads(hub.vfs("pipeline", "list", "--json").stdout)[0]["standing"] == "failed"

    put(hub, "images", {"a": "a", "b": "good", "c": "c"})
    done = datum_ids(hub, "edges")
    after = run(hub, "edges")
    assert after["skipped"] == len(done)
    assert set(done) == {"a", "c"} - ({"c"} - set(done))
    assert files(hub, "edges") == {"a": "A", "b": "GOOD", "c": "C"}


def test_two_datums_that_write_one_path_are_both_named(hub: Hub) -> None:
    put(hub, "images", {"a": "a", "b": "b"})
    create(hub, "edges", "echo $VFS_DATUM > $VFS_OUT/same", {"data": "images", "glob": "/*"})
    job = run(hub, "edges")
    ids = datum_ids(hub, "edges")
    assert job["state"] == "failure"
    assert "both wrote 'same'" in job["problem"]
    assert all(one[:12] in job["problem"] for one in ids.values())


def test_a_change_of_the_command_or_code_runs_all_again_and_others_none(hub: Hub) -> None:
    put(hub, "images", {"a": "a", "b": "b"})
    code = hub.store.parent / "code.sh"
    code.write_text("tr a-z A-Z")
    script = 'sh code.sh < $VFS_FILE_IMAGES > "$VFS_OUT/$(basename $VFS_FILE_IMAGES)"'
    input_ = {"data": "images", "glob": "/*"}
    create(hub, "edges", script, input_, code=["code.sh"])
    assert numbers(run(hub, "edges")) == (2, 2, 0, 0)
    create(hub, "edges", script, input_, "--update", code=["code.sh"], tries=7, timeout="1 h")
    assert json.loads(hub.vfs("pipeline", "run", "edges", "--json").stdout) is None
    code.write_text("tr a-z b-za")
    assert numbers(run(hub, "edges")) == (2, 2, 0, 2)
    assert files(hub, "edges") == {"a": "b", "b": "c"}
    assert numbers(run(hub, "edges", "--again")) == (2, 2, 0, 0)


def test_a_time_out_and_what_a_command_leaves_running(hub: Hub) -> None:
    put(hub, "images", {"a": "a"})
    script = "sleep 1000 & [ -e $VFS_OUT/x ] || exec sleep 1000"
    create(hub, "edges", script, {"data": "images", "glob": "/*"}, timeout="0.2 s", tries=1)
    assert "it took more than 0.2 s" in run(hub, "edges")["problem"]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no bwrap")
def test_a_sandbox_shows_the_inputs_as_files_and_nothing_else(hub: Hub) -> None:
    put(hub, "images", {"a": "a", "dir/b": "b"})
    script = f"""
        [ ! -L /pfs/images/a ]
        ! touch /pfs/images/a /usr/x {hub.store} 2>/dev/null
        [ ! -e {hub.store} ]
        [ $(ls /sys/class/net 2>/dev/null | wc -l) = 0 ]
        touch /pfs/out/seen
        find /pfs -type f | sort > /pfs/out/seen
    """
    create(
        hub, "box", script, {"data": "images", "glob": "/"}, sandbox="bubblewrap", tries=1,
        directory="/usr",
    )  # fmt: skip
    job = run(hub, "box")
    assert job["state"] == "success", hub.vfs("pipeline", "logs", "box").stdout
    assert files(hub, "box") == {"seen": "/pfs/images/a\n/pfs/images/dir/b\n/pfs/out/seen\n"}


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program; the image is called scikit-learn. No container is left."""
    if os.geteuid() != 0:
        pytest.skip("only root's containers see root's mounts")
    home = Path(tempfile.mkdtemp(prefix="vfs-podman-"))  # a short path, as Podman wants it
    (home / "programs").mkdir()
    try:
        if problem := put_podman(home / "programs"):
            pytest.skip(problem)
        monkeypatch.setenv("PATH", f"{home / 'programs'}:{os.environ['PATH']}")
        yield home / "programs" / "podman"
    finally:
        subprocess.run([home / "programs" / "podman", "rm", "-af"], check=False, timeout=60)
        shutil.rmtree(home)


def containers(podman: Path) -> list[str]:
    done = subprocess.run([podman, "ps", "-aq"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.crash
def test_a_container_sees_its_datum_and_none_is_left_of_a_job(hub: Hub, podman: Path) -> None:
    put(hub, "images", {"a": "a", "b": "b"})
    box = {"sandbox": "podman", "image": "scikit-learn", "directory": "/usr", "tries": 1}
    images = {"data": "images", "glob": "/*"}
    create(hub, "edges", f"test $VFS_FILE_IMAGES != /pfs/images; {EDGES}", images, **box)
    assert numbers(run(hub, "edges")) == (2, 2, 0, 0)
    assert files(hub, "edges") == {"a": "A", "b": "B"}
    assert containers(podman) == []

    create(hub, "edges", "sleep 1000", images, "--update", **box)
    command = [*COMMAND, "--store", str(hub.store), "pipeline", "run", "edges"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: containers(podman))
            process.send_signal(number)
        if number == signal.SIGTERM:
            assert containers(podman) == []
        else:  # the job could not; what watches it does
            wait_until(lambda: containers(podman) == [])
    create(hub, "edges", EDGES, images, "--update", **box)
    assert run(hub, "edges")["state"] == "success"
    assert containers(podman) == []


# the service


@contextmanager
def service(hub: Hub) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--store", str(hub.store), "pipeline", "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "running the pipelines" in process.stderr.readline()
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_service_runs_a_chain_once_for_each_commit(hub: Hub) -> None:
    put(hub, "images", {"liberty": "liberty."})
    opencv(hub)
    with service(hub):
        hub.vfs("pipeline", "wait", "montage")
        cause = put(hub, "images", {"liberty": "liberty.", "kitten": "kitten."})
        hub.vfs("pipeline", "wait")
        assert files(hub, "montage") == {"montage": "kitten.liberty.KITTEN.LIBERTY."}
        second = hub.vfs("pipeline", "serve", check=False)
        assert second.returncode == 1
    assert [len(jobs(hub, name)) for name in ("edges", "montage")] == [2, 2]
    assert {jobs(hub, name)[0]["global_id"] for name in ("edges", "montage")} == {cause}
    lone = hub.vfs("pipeline", "wait", check=False)
    assert lone.returncode == 0
    put(hub, "images", {})
    assert "nobody runs what is due" in hub.vfs("pipeline", "wait", check=False).stderr


def test_a_failed_job_is_not_begun_again_and_holds_up_what_follows(hub: Hub) -> None:
    put(hub, "images", {"a": "a"})
    create(hub, "edges", "exit 1", {"data": "images", "glob": "/*"}, tries=1)
    both = [{"data": "images", "glob": "/"}, {"data": "edges", "glob": "/"}]
    create(hub, "montage", MONTAGE, {"cross": both})
    with service(hub):
        assert hub.vfs("pipeline", "wait", check=False).returncode == 1
    assert len(jobs(hub, "edges")) == 1
    assert jobs(hub, "montage") == []


def test_a_trigger_waits_for_so_many_commits(hub: Hub) -> None:
    put(hub, "images", {"a": "a"})
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"}, trigger={"commits": 2})
    with service(hub):
        hub.vfs("pipeline", "wait")
        put(hub, "images", {"a": "b"})
        hub.vfs("pipeline", "wait")
        assert files(hub, "edges") == {"a": "A"}
        assert json.loads(hub.vfs("pipeline", "list", "--json").stdout)[0]["standing"] == "waiting"
        put(hub, "images", {"a": "c"})
        hub.vfs("pipeline", "wait")
        assert files(hub, "edges") == {"a": "C"}


def standing(hub: Hub) -> str:
    return str(json.loads(hub.vfs("pipeline", "list", "--json").stdout)[0]["standing"])


def test_a_trigger_waits_for_so_many_new_bytes(hub: Hub) -> None:
    put(hub, "images", {"a": "a", "old": "o" * 50})
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"}, trigger={"size": "10 B"})
    assert standing(hub) == "due"  # the first job waits for nothing
    run(hub, "edges")
    put(hub, "images", {"a": "b" * 9, "old": "o" * 50})
    assert standing(hub) == "waiting"
    put(hub, "images", {"a": "b" * 9, "new": "n", "old": "o" * 50})
    assert standing(hub) == "due"
    run(hub, "edges")
    assert standing(hub) == "current"


def test_a_trigger_may_want_all_at_once(hub: Hub) -> None:
    put(hub, "images", {"a": "a"})
    trigger = {"size": "10 B", "commits": 2, "all": True}
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"}, trigger=trigger)
    run(hub, "edges")
    for text, then in (("b" * 10, "waiting"), ("b", "waiting"), ("b" * 10, "due")):
        put(hub, "images", {"a": text})
        assert standing(hub) == then


BLOCKED = f"""
echo x >> {{here}}/ran
if [ $(wc -l < {{here}}/ran) -ge 4 ] && [ ! -e {{here}}/go ]; then
    sleep 1000 &
    echo $! > {{here}}/left
    mv {{here}}/left {{here}}/stuck
    wait
fi
{EDGES}
"""
"""From the fourth datum on it waits for the file `go`, with a child, whose number is in `stuck`."""


def stuck(here: Path) -> int:
    """Wait until BLOCKED waits; return the number of its child."""
    wait_until((here / "stuck").exists, seconds=60)
    return int((here / "stuck").read_text())


@pytest.mark.crash
@pytest.mark.parametrize("whom", ["service", "job", "all in order"])
def test_a_job_that_was_killed_goes_on_where_it_was(hub: Hub, whom: str) -> None:
    here = hub.store.parent
    words = {f"f{i}": f"w{i}" for i in range(8)}
    put(hub, "images", words)
    script = BLOCKED.format(here=here)
    create(hub, "edges", script, {"data": "images", "glob": "/*"})
    with service(hub) as process:
        left = stuck(here)
        pid = records.runner(hub.store, "edges")
        assert pid is not None
        (here / "go").touch()
        how = signal.SIGTERM if whom == "all in order" else signal.SIGKILL
        os.kill(pid if whom == "job" else process.pid, how)
        if whom == "job":
            hub.vfs("pipeline", "wait", "--timeout", "50")
        else:
            process.wait(timeout=60)
        wait_for_end(left)
    if whom != "job":
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        with service(hub):
            hub.vfs("pipeline", "wait", "--timeout", "50")
    assert files(hub, "edges") == {name: text.upper() for name, text in words.items()}
    assert numbers(jobs(hub, "edges")[0])[0] == 8
    if whom == "all in order":  # what was done is not done again, but for the one it was at
        assert (here / "ran").read_text().count("x") == 8 + 1
    assert check_store(hub.store, data=False).damages == []


def test_each_command_does_what_it_says(hub: Hub) -> None:
    put(hub, "images", {"a": "a"})
    spec = hub.store.parent / "edges.json"
    spec.write_text(json.dumps({
        "name": "edges", "command": ["sh", "-c", EDGES], "input": {"data": "images", "glob": "/*"},
    }))  # fmt: skip
    hub.vfs("pipeline", "create", spec)
    assert hub.vfs("pipeline", "create", spec, check=False).returncode == 1
    hub.vfs("pipeline", "create", "--update", spec)
    run(hub, "edges")
    shown = json.loads(hub.vfs("pipeline", "inspect", "edges", "--json").stdout)
    assert shown["jobs"] == jobs(hub, "edges")
    assert shown["spec"]["command"] == ["sh", "-c", EDGES]
    hub.vfs("pipeline", "stop", "edges")
    put(hub, "images", {"a": "b"})
    assert json.loads(hub.vfs("pipeline", "list", "--json").stdout)[0]["standing"] == "stopped"
    hub.vfs("pipeline", "start", "edges")
    assert json.loads(hub.vfs("pipeline", "list", "--json").stdout)[0]["standing"] == "due"
    hub.vfs("pipeline", "delete", "edges")
    assert json.loads(hub.vfs("pipeline", "list", "--json").stdout) == []
    assert hub.vfs("pipeline", "inspect", "edges", check=False).returncode == 1
    assert files(hub, "edges") == {"a": "A"}
