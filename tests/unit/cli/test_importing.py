"""The command import: what it says, what it writes as JSON, how it refuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from vfs.repo import importer

VFS = [sys.executable, "-m", "vfs"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "sub").mkdir(parents=True)
    (directory / "a").write_bytes(b"A" * 2000)
    (directory / "sub" / "b").write_bytes(b"B")
    return directory


def test_an_import_is_summed_up_in_one_line(change: Run, source: Path) -> None:
    result = change("import", str(source), "data", "-m", "Third", "--tag", "v3")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("data@main is now ")
    for part in (", tag v3: ", "2 files, 2.0 KiB", "read 2.0 KiB", "newly stored ", "/s"):
        assert part in result.stdout
    assert change("ls", "-R", "data@v3").stdout == "a\nsub\nsub/b\n"
    assert change("log", "data", "-n", "1", "--oneline").stdout.endswith(" Third\n")


def test_the_rate_of_empty_files_is_in_files(change: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    result = change("import", str(tmp_path / "empty"), "data", "-m", "x")
    assert result.stdout.endswith(" files/s\n")


def test_a_tar_archive_from_standard_input(new_store: Path, source: Path) -> None:
    with subprocess.Popen(["tar", "-czC", source, "-f", "-", "."], stdout=subprocess.PIPE) as tar:
        command = [*VFS, "--store", str(new_store), "import", "-", "data", "-m", "x", "--json"]
        done = subprocess.run(command, stdin=tar.stdout, capture_output=True, check=True)
    assert json.loads(done.stdout)["files"] == 2


def test_nothing_changed(change: Run, source: Path) -> None:
    change("import", str(source), "data", "-m", "Third")
    again = change("import", str(source), "data", "-m", "Again")
    assert again.stdout.startswith("nothing changed: data@main is still ")
    assert len(change("log", "data", "--json").stdout.splitlines()) == 3


def test_json(change: Run, source: Path) -> None:
    args = ("import", "--json", str(source), "data:new/place", "-m", "x", "--author", "Ann")
    first, second = (json.loads(change(*args).stdout) for _ in range(2))
    assert (first["data_set"], first["branch"], first["changed"]) == ("data", "main", True)
    assert (first["files"], first["directories"], first["bytes"]) == (2, 2, 2001)
    assert (first["bytes_read"], first["problems"]) == (2001, [])
    assert (second["changed"], second["commit"]) == (False, first["commit"])
    newest = json.loads(change("log", "data", "--json", "-n", "1").stdout)
    assert (newest["commit"], newest["author"]) == (first["commit"], "Ann")
    assert change("cat", "data:new/place/sub/b").stdout == "B"
    assert change("cat", "data:README").stdout == "second\n"


def test_create_makes_the_data_set_once(change: Run, source: Path) -> None:
    args = ("import", str(source), "fresh", "-m", "x")
    missing = change(*args)
    assert missing.exit_code == 1
    assert "no data set 'fresh'" in missing.stderr
    assert change(*args, "--create").exit_code == 0
    assert change(*args, "--create").exit_code == 0


def test_an_import_that_fails_leaves_the_data_set_that_it_made(change: Run, source: Path) -> None:
    args = ("-m", "x", "--create")
    assert change("import", str(source / "none"), "typo", *args).exit_code == 2
    assert change("import", str(source), "made", *args, "--tag", "a b").exit_code == 1
    listed = json.loads(change("ls", "--json").stdout)
    assert [(one["name"], one["refs"]) for one in listed if one["name"] != "data"] == [("made", [])]
    told = " ".join(change("import", "--help").stdout.split())
    assert "If the import fails, it stays, empty." in told


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["data", "--tag", "v1"], "'data@v1'"),
        (["data", "--tag", "a b"], "'a b'"),
        (["data@v1"], "is a tag"),
        (["data@mian"], "'main'"),
    ],
)
def test_refusals_come_before_anything_is_read(
    change: Run, source: Path, args: list[str], says: str
) -> None:
    result = change("import", str(source), *args, "-m", "x")
    assert result.exit_code == 1
    assert says in result.stderr


def test_what_was_left_out_is_listed(
    change: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some_problems(*_: object) -> importer.ImportResult:
        return importer.ImportResult(
            commit=importer.api.ObjectId(bytes(32)),
            changed=True,
            files=1,
            directories=1,
            bytes=5,
            bytes_read=5,
            new_stored_bytes=5,
            problems=(importer.Problem(b"caf\xe9", "changed while it was read"),),
            problem_count=3,
            notes=(importer.Problem(b"mnt", "is the hub"),),
            seconds=0.0,
        )

    monkeypatch.setattr(importer, "import_source", some_problems)
    args = ("import", str(source), "data", "-m", "x", "--partial")
    assert change(*args).stderr.splitlines() == [
        "vfs: left out: mnt: is the hub",
        "vfs: left out: caf\\xe9: changed while it was read",
        "vfs: left out: 2 more",
    ]
    report = json.loads(change(*args, "--json").stdout)
    assert report["problem_count"] == 3
    assert report["problems"][0]["path_base64"] == "Y2Fm6Q=="
    assert report["notes"] == [{"path": "mnt", "reason": "is the hub"}]


def test_interrupted(change: Run, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importer, "import_source", interrupted)
    result = change("import", str(source), "data", "-m", "x")
    assert result.exit_code == 130
    assert result.stderr.startswith("vfs: interrupted\n")
    assert "Traceback" not in result.stderr


def test_the_bar_is_for_terminals_and_leaves_nothing(new_store: Path, source: Path) -> None:
    def command(message: str) -> list[str]:
        (source / "a").write_text(message)
        return [*VFS, "--store", str(new_store), "import", str(source), "data", "-m", message]

    piped = subprocess.run(command("one"), capture_output=True, check=True)
    assert piped.stderr == b""
    assert b"\x1b" not in piped.stdout

    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        command("two"), stdout=subprocess.PIPE, stderr=theirs, env=env, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"files" in shown
    assert shown.rstrip().endswith(b"\x1b[2K")  # transient: the line is wiped at the end
    assert done.stdout.startswith(b"data@main is now ")


def test_standard_input_that_is_a_terminal_is_refused(new_store: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*VFS, "--store", str(new_store), "import", "-", "data", "-m", "x"],
        stdin=theirs,
        capture_output=True,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"a terminal" in done.stderr


def test_the_same_import_with_the_same_tag(change: Run, source: Path) -> None:
    args = ("import", str(source), "data", "-m", "Third", "--tag", "v3")
    assert change(*args).exit_code == 0
    again = change(*args)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "nothing changed" in again.stdout
