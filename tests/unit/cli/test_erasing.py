"""vfs erase: what it asks, tells and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import BIG, Run

WHY = ("--reason", "request 17")


def test_what_would_go_is_shown_and_stays(change: Run) -> None:
    shown = change("erase", "data", "--path", "sub", *WHY, "--dry-run")
    assert shown.exit_code == 0
    assert "to be erased: 1 B: data@main:sub/a" in shown.stdout
    assert "sub/deep/b" in shown.stdout
    assert "2 contents, 3 B, in 2 versions" in shown.stderr
    assert change("cat", "data:sub/a").stdout == "A"
    assert "erase" not in change("audit").stdout


def test_what_is_erased_says_why(change: Run) -> None:
    done = change("erase", "data", "--path", "**/deep/*", *WHY, "--yes")
    assert done.exit_code == 0, done.stderr
    assert "erased 1 content, 2 B; line" in done.stdout
    for version in ("v1", "v2", "main"):
        read = change("cat", f"data@{version}:sub/deep/b")
        assert read.exit_code == 1
        assert f"'data@{version}:sub/deep/b' can't be read: the content was erased" in read.stderr
        assert "request 17" in read.stderr
    assert change("cat", "data@v1:sub/a").stdout == "A"
    assert "1 object erased on purpose" in change("fsck", "--data").stderr
    again = change("erase", "data", "--path", "**/deep/*", *WHY, "--yes")
    assert "erased before" in again.stdout


def test_an_export_promises_no_repair_of_what_was_erased(change: Run, tmp_path: Path) -> None:
    change("erase", "data", "--path", "**/deep/*", *WHY, "--yes")
    for arguments in (["data@v1", str(tmp_path / "out")], ["--tar", "data@v1"]):
        done = change("export", *arguments)
        assert done.exit_code == 1
        assert "'sub/deep/b' can't be exported: the content was erased" in done.stderr
        assert "--repair" not in done.stderr
    assert change("export", "--partial", "data@v1", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out/sub/a").read_text() == "A"


def test_a_patch_goes_on_behind_what_was_erased(change: Run) -> None:
    change("erase", "data", "--path", "README", *WHY, "--yes")
    patch = change("diff", "-p", "data@v1", "data@v2")
    assert patch.exit_code == 0
    assert "Files a/README and b/README differ: the content was erased" in patch.stdout
    assert "+latin" in patch.stdout


def test_by_a_file_that_is_at_hand(change: Run, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(BIG)
    done = change("erase", "--content", str(tmp_path / "copy"), *WHY, "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["erased"] is True
    assert [content["size"] for content in found["contents"]] == [len(BIG)]
    assert change("cat", "data@v1:big").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", *WHY), "--path or --content"),
        (("--path", "a", *WHY), "--path needs a data set"),
        (("data", "--path", "a"), "--reason is missing"),
        (("data", "--path", "a", "--reason", " "), "--reason is missing"),
        (("data", "--path", "a", "--reason", "x" * 1001), "more than 1,000 characters"),
        (("data", "--resume"), "--resume stands alone"),
    ],
)
def test_wrong_usage(change: Run, arguments: tuple[str, ...], message: str) -> None:
    done = change("erase", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", "--path", "nothing", *WHY, "--yes"), "no file matches"),
        (("none", "--path", "a", *WHY, "--yes"), "no data set 'none'"),
        (("data", "--path", "a/..", *WHY, "--yes"), "matches no path"),
        (("--content", "zz", *WHY, "--yes"), "neither a file nor the id"),
        (("data", "--path", "README", *WHY), "nobody is there to confirm"),
    ],
)
def test_what_can_not_be_done(change: Run, arguments: tuple[str, ...], message: str) -> None:
    done = change("erase", *arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert change("cat", "data:README").stdout == "second\n"


def test_there_may_be_nothing_to_finish(change: Run) -> None:
    done = change("erase", "--resume")
    assert done.exit_code == 0
    assert "no erase to finish" in done.stderr
