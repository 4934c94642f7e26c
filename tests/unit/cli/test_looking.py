"""ls, cat, log and stats on a store with a history."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.unit.cli.conftest import BIG, Run
from vfs.cli import output
from vfs.repo.repository import Repository


def test_ls_lists_data_sets_and_their_versions(run: Run) -> None:
    lines = run("ls").stdout.splitlines()
    assert lines[0].split() == ["VERSION", "KIND", "FILES", "SIZE", "COMMIT", "TIME", "MESSAGE"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["data@main", "branch"],
        ["data@v1", "tag"],
        ["data@v2", "tag"],
        ["void", "empty"],
    ]
    assert lines[2].endswith("First")


def test_ls_json_of_data_sets(run: Run) -> None:
    data, void = json.loads(run("ls", "--json").stdout)
    assert void == {"name": "void", "refs": []}
    main, v1, v2 = data["refs"]
    assert (v1["name"], v1["kind"], v1["files"], v1["message"]) == ("v1", "tag", 5, "First")
    assert main["commit"] == v2["commit"] != v1["commit"]
    assert v1["bytes"] == 6 + len(BIG) + 3
    assert datetime.fromisoformat(v1["time"]).tzinfo is not None


def test_ls_of_a_version_in_a_pipe_has_exact_names(run: Run) -> None:
    assert run("ls", "data@v1").stdout_bytes == b"README\nbig\nempty\nsub\n"
    names = run("ls", "data").stdout_bytes.splitlines()
    assert b"caf\xe9" in names
    assert b"escape\x1b[31m" in names


def test_ls_of_a_directory_a_file_and_all(run: Run) -> None:
    assert run("ls", "data@v1:sub").stdout == "a\ndeep\n"
    assert run("ls", "data@v1:sub/").stdout == "a\ndeep\n"
    assert run("ls", "data@v1:sub/deep/b").stdout == "sub/deep/b\n"
    assert run("ls", "-R", "data@v1").stdout == (
        "README\nbig\nempty\nsub\nsub/a\nsub/deep\nsub/deep/b\n"
    )


def test_ls_long(run: Run) -> None:
    lines = {line.split()[7]: line for line in run("ls", "-l", "data@v2").stdout.splitlines()}
    assert lines["big"].startswith("-rw-r--r--   1 ")
    assert " 250 KiB " in lines["big"]
    assert lines["sub"].startswith("drwxr-xr-x   3 ")
    assert lines["hard"].startswith("-rw-r--r--   2 ")
    assert lines["link"].endswith("link -> README")
    assert lines["link"].startswith("lrwxrwxrwx")
    time = lines["big"].split()[6]
    assert datetime.fromisoformat(time).timestamp() == 1_700_000_000
    assert " 256000 " in run("ls", "-lb", "data@v2:big").stdout
    assert " 1, 3 " in run("ls", "-l", "data@v2:devices/null").stdout


def test_ls_json_of_files(run: Run) -> None:
    entries = {entry["path"]: entry for entry in json.loads(run("ls", "--json", "data@v2").stdout)}
    readme = entries["README"]
    assert (readme["kind"], readme["mode"], readme["size"]) == ("file", "0644", 7)
    assert (readme["uid"], readme["gid"], readme["links"]) == (1, 2, 1)
    assert readme["mtime"] == "2023-11-14T22:13:20.123456789Z"
    assert len(readme["content"]) == 64
    assert "content" not in entries["empty"]
    assert entries["link"]["target"] == "README"
    assert (entries["sub"]["files"], entries["sub"]["size"]) == (2, 3)
    assert base64.b64decode(entries["caf\ufffd"]["path_base64"]) == b"caf\xe9"
    devices = json.loads(run("ls", "--json", "data@v2:devices").stdout)
    assert [(entry["path"], entry["kind"]) for entry in devices] == [
        ("fifo", "fifo"),
        ("null", "character device"),
    ]
    assert devices[1]["device"] == [1, 3]


def test_equal_content_has_equal_ids(run: Run) -> None:
    def content(target: str) -> str:
        return str(json.loads(run("ls", "--json", target).stdout)[0]["content"])

    assert content("data@v1:big") == content("data@v2:big")
    assert content("data@v1:README") != content("data@v2:README")


def test_cat(run: Run) -> None:
    assert run("cat", "data@v1:big").stdout_bytes == BIG
    assert run("cat", "data@v1:README", "data:README", "data:empty").stdout == "first\nsecond\n"
    assert run("cat", "data@main~1:sub/deep/b").stdout == "BB"


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["ls", "dta"], "no data set 'dta'", "did you mean 'data'?"),
        (["ls", "data@v3"], "no revision 'v3'", "v1, v2"),
        (["log", "data@man"], "no revision 'man'", "'main'"),
        (["ls", "void"], "no version yet", "import"),
        (["ls", "data:REDME"], "no 'REDME'", "'README'"),
        (["ls", "data:README/x"], "not a directory", ""),
        (["cat", "data"], "'data' is a directory", "vfs ls 'data'"),
        (["cat", "data:sub"], "'data:sub' is a directory", "vfs ls 'data:sub'"),
        (["cat", "data:link"], "a symbolic link to 'README'", "mount"),
        (["cat", "data:devices/fifo"], "is a fifo", ""),
    ],
)
def test_what_is_not_there_is_said_with_near_misses(
    run: Run, args: list[str], message: str, hint: str
) -> None:
    result = run(*args)
    first, *rest = result.stderr.splitlines()
    assert result.exit_code == 1
    assert message in first
    assert hint in "".join(rest)
    assert result.stdout == ""


def test_log(run: Run) -> None:
    shown = run("log", "data").stdout
    first, second = shown.split("commit ")[2], shown.split("commit ")[1]
    assert "(main, tag: v2)" in second
    assert "(tag: v1)" in first
    assert "Author: me\n" in first
    assert "Holds:  5 files, 250 KiB\n" in first
    assert "    with odd names, \\xff and \\x1b[31m\n" in second
    assert "\x1b" not in shown
    assert run("log", "data", "-n", "1").stdout == shown[: shown.index("commit ", 10)]
    assert run("log", "data@v1", "--oneline").stdout.endswith(" (tag: v1) First\n")


def test_log_json_is_a_line_for_each_version(run: Run) -> None:
    lines = [json.loads(line) for line in run("log", "data", "--json").stdout.splitlines()]
    assert [line["message"][:6] for line in lines] == ["Second", "First"]
    assert lines[0]["parents"] == [lines[1]["commit"]]
    assert lines[1]["refs"] == [{"name": "v1", "kind": "tag"}]
    assert lines[1]["files"] == 5
    assert base64.b64decode(lines[0]["message_base64"]).endswith(b"\xff and \x1b[31m")


def test_stats(run: Run) -> None:
    shown = run("stats").stdout
    for words in ("VERSIONS", "logical size, 2 versions", "saved by deduplication", "on the disk"):
        assert words in shown
    stats = json.loads(run("stats", "--json").stdout)
    assert stats["versions"] == 2
    logical, unique = stats["logical_bytes"], stats["unique_bytes"]
    assert logical - stats["saved_by_deduplication"] == unique
    assert unique - stats["saved_by_compression"] == stats["stored_bytes"]
    assert stats["saved_by_deduplication"] >= len(BIG)
    assert [data_set["name"] for data_set in stats["data_sets"]] == ["data", "void"]


def test_stats_add_up_after_an_import_that_failed(change: Run, new_store: Path) -> None:
    lost = random.Random(0).randbytes(4 * len(BIG))
    with Repository.open(new_store) as repo, repo.store.ingest() as ingest:
        ingest.add_chunks([lost])
    stats = json.loads(change("stats", "--json").stdout)
    assert stats["saved_by_deduplication"] == 0
    shown = {
        line.rsplit("  ", 2)[0].strip(): line for line in change("stats").stdout.splitlines()[-7:]
    }
    in_no_version = stats["unique_bytes"] - stats["logical_bytes"]
    assert in_no_version > 0
    assert shown["in no version"].endswith(output.size(in_no_version))
    parts = stats["logical_bytes"] + in_no_version - stats["saved_by_compression"]
    assert parts == stats["stored_bytes"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(
    prepared: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `| head -c 1`: the file is larger than a pipe."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    for args in (["cat", "data:big"], ["cat", *["data:big"] * 9]):
        command = [sys.executable, "-m", "vfs", "--store", str(prepared), *args]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


@pytest.mark.parametrize("args", [["ls"], ["ls", "-l", "data"], ["log", "data"], ["stats"]])
def test_no_escape_sequences_in_a_pipe_whatever_the_environment(
    prepared: Path, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    command = [sys.executable, "-m", "vfs", "--store", str(prepared), *args]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b" not in shown.replace(b"escape\x1b[31m", b"")


def test_a_long_list_comes_whole(change: Run, tmp_path: Path) -> None:
    """Longer than what is written at once."""
    source = tmp_path / "many"
    source.mkdir()
    names = [f"a-rather-long-name-{number:05}" for number in range(1500)]
    for name in names:
        (source / name).write_text("")
    change("import", str(source), "data", "-m", "many")
    assert change("ls", "data").stdout.splitlines() == names
    listed = json.loads(change("ls", "--json", "data").stdout)
    assert [entry["path"] for entry in listed] == names
