"""vfs run, rerun and provenance: real commands on real mounts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.branches import happens_soon, left_in_run
from tests.support.hub import COMMAND, Hub, a_hub
from tests.support.mounting import lazy_unmount, wait_for_end
from vfs import mountinfo

pytestmark = pytest.mark.mounted

TRAIN = """
import json, os, pathlib, sys
data = pathlib.Path(os.environ["VFS_IN_DATA"])
rows = [line.split(",") for name in sorted(data.glob("*.csv")) for line in name.open()]
mean = sum(float(value) for _, value in rows) / len(rows)
weight = 0.0
for _ in range(int(sys.argv[1])):
    weight += 0.1 * (mean - weight)
out = pathlib.Path(os.environ["VFS_OUT"])
(out / "checkpoints").mkdir(exist_ok=True)
(out / "checkpoints/last.json").write_text(json.dumps({"weight": weight}))
(out / "model.json").write_text(json.dumps({"weight": weight, "rows": len(rows)}))
print("trained")
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The data sets data, with v1, and results, which is empty. Nothing is left of any run."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    source = tmp_path / "source"
    (source / "more").mkdir(parents=True)
    (source / "a.csv").write_text("x,1\ny,2\n")
    (source / "b.csv").write_text("z,6\n")
    (source / "more/c").write_text("c")
    (tmp_path / "train.py").write_text(TRAIN)
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        made.vfs("create", "results")
        try:
            yield made
        finally:
            for mount in mountinfo.mounts():
                if mount.ours and mount.mountpoint.startswith(f"{tmp_path}/"):
                    lazy_unmount(Path(mount.mountpoint))


def train(hub: Hub, *options: str, steps: int = 5) -> subprocess.CompletedProcess[str]:
    script = hub.store.parent / "train.py"
    return hub.vfs(
        "run", "--in", "data@v1", "--out", "results@main", *options,
        "--", sys.executable, script, steps,
    )  # fmt: skip


def shell(hub: Hub, script: str, *options: str, check: bool = True) -> Any:
    command = ("run", "--in", "data@v1", "--out", "results", *options, "--", "sh", "-c", script)
    return hub.vfs(*command, check=check)


@contextmanager
def started(
    hub: Hub, script: str, *, before: str = "true", stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """A run whose command has written the line "ready"."""
    command = [*COMMAND, "--store", str(hub.store), "run", "--in", "data@v1", "--out", "results"]
    with subprocess.Popen(
        [*command, "--", "sh", "-c", f"{before}; echo ready; {script}"],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def shown(hub: Hub, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.vfs("show", version, "--json").stdout)
    return found


def cat(hub: Hub, path: str) -> str:
    return hub.vfs("cat", path).stdout


def branches(hub: Hub) -> list[str]:
    rows = json.loads(hub.vfs("branch", "results", "--json").stdout)
    return [row["branch"] if "branch" in row else row["name"] for row in rows]


def runs_left(hub: Hub) -> list[str]:
    """What is left of runs: directories, mounts, records, locks."""
    here = hub.store.parent
    mounted = [m.mountpoint for m in mountinfo.mounts() if f"{here}/vfs-run-" in m.mountpoint]
    records = [str(path) for path in (hub.store / "run/runs").iterdir()]
    files = [name for name in left_in_run(hub.store) if name != "runs"]
    return mounted + records + files + [str(path) for path in here.glob("vfs-run-*")]


def test_a_run_makes_a_version_with_a_record(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNING_RATE", "0.1")
    monkeypatch.setenv("API_TOKEN", "hush")
    done = train(hub, "-m", "First model", "--env", "LEARNING_RATE", "--env", "API_TOKEN")
    assert done.stdout == "trained\n"
    assert "API_TOKEN" in done.stderr
    version, data = shown(hub, "results"), shown(hub, "data@v1")
    record = version["provenance"]
    assert version["message"] == "First model"
    assert (record["kind"], record["version"], record["exit_code"]) == ("run", 1, 0)
    assert record["command"][1:] == [str(hub.store.parent / "train.py"), "5"]
    assert record["inputs"] == [
        {
            "name": "data",
            "data_set": "data",
            "revision": "v1",
            "commit": data["commit"],
            "path": "",
        }
    ]
    assert record["environment"]["LEARNING_RATE"] == "0.1"
    assert record["withheld"] == ["API_TOKEN"]
    assert "hush" not in json.dumps(version)
    assert record["python"].startswith("Python 3")
    assert record["log"]["tail"] == "trained\n"
    assert json.loads(cat(hub, "results:model.json"))["rows"] == 3
    entry = json.loads(hub.vfs("ls", "--json", "results:model.json").stdout)[0]
    assert entry["mtime"] == data["time"]
    assert branches(hub) == ["main"]
    assert runs_left(hub) == []


def test_the_same_command_gives_the_same_tree_at_another_time_by_another_user(hub: Hub) -> None:
    train(hub)
    first = shown(hub, "results")["provenance"]["output"]
    parent = shown(hub, "results@main~1")["commit"]
    hub.vfs("branch", "results", "other", "--from", parent)
    script = "python=$1; shift; chown -R 1000:1000 $VFS_OUT; umask 022; exec $python $@"
    hub.vfs(
        "run", "--in", "data@v1", "--out", "results@other", "--",
        "sh", "-c", f"{script}", "sh", sys.executable, hub.store.parent / "train.py", 5,
    )  # fmt: skip
    assert shown(hub, "results@other")["provenance"]["output"]["tree"] == first["tree"]


def test_inputs_can_not_be_written_and_are_directories_of_versions(hub: Hub) -> None:
    shell(
        hub,
        "! touch $VFS_IN_DATA/new 2>&1 && ls $VFS_IN_MORE_1 && ls $VFS_RUN $VFS_RUN/in"
        " && cp $VFS_IN_MORE_1/c $VFS_OUT",
        "--in",
        "more.1=data@v1:more",
        "--out",
        "results:deep/er",
    )
    record = shown(hub, "results")["provenance"]
    assert [one["path"] for one in record["inputs"]] == ["", "more"]
    assert cat(hub, "results:deep/er/c") == "c"
    assert record["log"]["tail"].endswith("data\nmore.1\n")


def test_a_command_that_fails_leaves_its_log_and_nothing_else(hub: Hub) -> None:
    shell(hub, "echo kept > $VFS_OUT/kept")
    before = shown(hub, "results")["commit"]
    done = shell(hub, "echo lost > $VFS_OUT/lost; echo why >&2; exit 7", check=False)
    assert done.returncode == 7
    assert shown(hub, "results")["commit"] == before
    assert branches(hub) == ["main"]
    assert runs_left(hub) == []
    run_id = hub.vfs("run", "--logs").stdout.splitlines()[1].split()[0]
    assert hub.vfs("run", "--logs", run_id).stdout == "why\n"
    done = shell(hub, "kill -9 $$", check=False)
    assert done.returncode == 128 + signal.SIGKILL


def test_fresh_begins_with_nothing_and_no_change_makes_no_version(hub: Hub) -> None:
    shell(hub, "touch $VFS_OUT/old")
    assert "changed nothing" in shell(hub, "ls $VFS_OUT").stderr
    shell(hub, "ls $VFS_OUT; touch $VFS_OUT/new", "--fresh")
    assert shown(hub, "results")["provenance"]["log"]["tail"] == ""
    assert hub.vfs("ls", "results").stdout.split() == ["new"]


def test_rerun_says_whether_it_is_the_same(hub: Hub) -> None:
    train(hub)
    again = hub.vfs("rerun", "results")
    assert "the same" in again.stdout
    shell(hub, "echo $VFS_OUT; echo $RANDOM$$ > $VFS_OUT/chance; date +%N >> $VFS_OUT/chance")
    before = shown(hub, "results")["commit"]
    differs = hub.vfs("rerun", "results", "--json", "--keep", "again", check=False)
    assert differs.returncode == 1
    document = json.loads(differs.stdout)
    assert (document["same"], [one["path"] for one in document["different"]]) == (False, ["chance"])
    assert shown(hub, "results")["commit"] == before
    kept = shown(hub, "results@again")
    assert (kept["commit"], kept["provenance"]["rerun_of"]) == (document["kept"], before)
    refused = hub.vfs("rerun", "data@v1", check=False)
    assert (refused.returncode, "vfs run" in refused.stderr) == (1, True)
    assert runs_left(hub) == []


def test_a_rerun_has_the_same_paths(hub: Hub) -> None:
    place = hub.store.parent / "fixed"
    shell(hub, "echo $VFS_RUN $VFS_IN_DATA > $VFS_OUT/paths", "--dir", str(place))
    assert cat(hub, "results:paths") == f"{place} {place}/in/data\n"
    assert hub.vfs("rerun", "results").returncode == 0
    assert not place.exists()
    place.mkdir()
    taken = shell(hub, "true", "--dir", str(place), check=False)
    assert (taken.returncode, "already" in taken.stderr) == (1, True)
    assert hub.vfs("rerun", "results", check=False).returncode == 1
    assert runs_left(hub) == []


def test_two_runs_at_once_both_get_in_unless_they_change_the_same(hub: Hub) -> None:
    shell(hub, "echo 0 > $VFS_OUT/shared")
    fifo = hub.store.parent / "fifo"
    os.mkfifo(fifo)
    with started(hub, f"echo 1 > $VFS_OUT/one; cat {fifo}") as process:
        shell(hub, "echo 2 > $VFS_OUT/two")
        fifo.write_text("go")
        assert finish(process)[0] == 0
    assert [cat(hub, f"results:{name}") for name in ("one", "two")] == ["1\n", "2\n"]
    with started(hub, f"echo 1 > $VFS_OUT/shared; cat {fifo}") as process:
        shell(hub, "echo 2 > $VFS_OUT/shared")
        fifo.write_text("go")
        code, errors = finish(process)
    assert (code, "'shared'" in errors, "vfs merge" in errors) == (1, True, True)
    assert cat(hub, "results:shared") == "2\n"
    kept = next(name for name in branches(hub) if name.startswith("run-"))
    assert cat(hub, f"results@{kept}:shared") == "1\n"
    hub.vfs("merge", f"results@{kept}", "into", "results@main", "--theirs")
    assert cat(hub, "results:shared") == "1\n"


def test_signals_end_the_command_and_the_mounts(hub: Hub) -> None:
    shell(hub, "touch $VFS_OUT/begin")
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(hub, "sleep 60 & wait", before="trap 'exit 3' INT TERM") as process:
            process.send_signal(number)
            assert finish(process)[0] == 3
        assert runs_left(hub) == []
        assert branches(hub) == ["main"]


def test_what_the_command_leaves_running_is_ended(hub: Hub) -> None:
    shell(hub, "(while :; do date > $VFS_OUT/late; done) & sleep 0.1; echo 1 > $VFS_OUT/done")
    assert cat(hub, "results:done") == "1\n"
    assert runs_left(hub) == []


def test_the_next_run_clears_what_a_killed_one_left(hub: Hub) -> None:
    shell(hub, "touch $VFS_OUT/begin")
    with started(hub, "echo $$ > $VFS_OUT/pid; sleep 60") as process:
        process.kill()
        process.wait()
        assert len([name for name in branches(hub) if name.startswith("running-")]) == 1
        with started(hub, "sleep 60") as other:  # it lives: it is left alone
            done = shell(hub, "touch $VFS_OUT/next")
            assert "which was killed" not in done.stderr
            assert len([name for name in branches(hub) if name.startswith("running-")]) == 1
            other.terminate()
            finish(other)
    assert branches(hub) == ["main"]
    assert runs_left(hub) == []


@pytest.mark.crash
@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_command_started_ends_with_a_run_that_is_killed(hub: Hub, terminal: bool) -> None:
    with ExitStack() as undo:
        stdin = subprocess.DEVNULL
        if terminal:  # there it shares the run's process group
            ends = os.openpty()
            for fd in ends:
                undo.callback(os.close, fd)
            stdin = ends[1]
        script = "timeout 1000 sh -c 'echo $$; exec sleep 1000' & wait"
        process = undo.enter_context(started(hub, script, stdin=stdin))
        assert process.stdout is not None
        left = int(process.stdout.readline())
        process.kill()
        wait_for_end(left)
        process.wait()
    shell(hub, "touch $VFS_OUT/next")
    assert runs_left(hub) == []


def test_a_mounted_target_shows_the_result_and_uncommitted_changes_are_not_lost(hub: Hub) -> None:
    shell(hub, "touch $VFS_OUT/begin")
    hub.mount()
    main = hub.mountpoint / "results@main"
    with started(hub, "echo 1 > $VFS_OUT/one; sleep 0.6") as process:
        assert finish(process)[0] == 0
    happens_soon((main / "one").exists)
    assert f"{hub.mountpoint}/results@running-" not in hub.log
    (main / "mine").write_text("not committed")
    done = shell(hub, "echo 2 > $VFS_OUT/two", check=False)
    assert (done.returncode, "not committed" in done.stderr) == (1, True)
    assert (main / "mine").read_text() == "not committed"
    kept = next(name for name in branches(hub) if name.startswith("run-"))
    assert cat(hub, f"results@{kept}:two") == "2\n"
    assert not [name for name in runs_left(hub) if "vfs-run-" in name]
    assert not list((hub.store / "log").glob("*vfs-run-*"))


def test_a_ledger_has_what_was_opened_and_nothing_else(hub: Hub) -> None:
    shell(hub, "ls -lR $VFS_IN_DATA; cat $VFS_IN_DATA/a.csv > $VFS_OUT/a", "--ledger")
    read = shown(hub, "results")["provenance"]["inputs"][0]["read"]
    assert (read["files"], read["of"], read["paths"]) == (1, 3, ["a.csv"])
    users = json.loads(hub.vfs("provenance", "--reverse", "data@v1:a.csv", "--json").stdout)
    assert [use["read"] for use in users["used_by"]] == [True]
    for path in ("b.csv", "more"):
        document = hub.vfs("provenance", "--reverse", f"data@v1:{path}", "--json").stdout
        assert json.loads(document)["used_by"] == []


def test_provenance_goes_through_the_inputs_of_inputs(hub: Hub) -> None:
    hub.vfs("create", "final")
    train(hub)
    hub.vfs(
        "run", "--in", "m=results@main", "--out", "final", "--",
        "sh", "-c", "cp $VFS_IN_M/model.json $VFS_OUT",
    )  # fmt: skip
    text = hub.vfs("provenance", "final:model.json").stdout
    for part in ("final@", "m: results@main", "data: data@v1", "import"):
        assert part in text
    document = json.loads(hub.vfs("provenance", "final", "--json").stdout)
    ids = [shown(hub, version)["commit"] for version in ("final", "results", "data@v1")]
    assert sorted(document["versions"]) == sorted(ids)
    back = json.loads(hub.vfs("provenance", "--reverse", "data@v1:a.csv", "--json").stdout)
    assert [use["commit"] for use in back["used_by"]] == [ids[1]]
    assert [use["commit"] for use in back["versions"][ids[1]]["used_by"]] == [ids[0]]
    dot = hub.vfs("provenance", "final", "--dot").stdout
    assert f'"{ids[1]}"' in dot
    assert dot.startswith("digraph")
