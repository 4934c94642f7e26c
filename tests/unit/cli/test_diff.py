"""diff and show: letters, sizes, formats, sides, exit codes; patches that git and patch(1) take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.conftest import MTIME_NS, Run, Tree, commit
from tests.unit.cli.test_branches import changed, lines, writing
from vfs.model.entry import Entry
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository

__all__ = ["changed"]  # a fixture

V1_TO_V2 = [
    b"M         +1 B  README",
    b"A         +5 B  caf\xe9",
    b"A               devices/",
    b"A          0 B  devices/fifo",
    b"A          0 B  devices/null",
    b"A          0 B  escape\x1b[31m",
    b"A          0 B  hard",
    b"A          0 B  link",
    b"A          0 B  run",
]


def test_what_differs_between_two_versions(run: Run) -> None:
    assert lines(run("diff", "data@v1", "data@v2")) == V1_TO_V2
    assert lines(run("diff", "data@v1")) == V1_TO_V2
    back = lines(run("diff", "-R", "data@v1", "data@v2"))
    assert back[:2] == [b"M         -1 B  README", b"D         -5 B  caf\xe9"]
    assert lines(run("diff", "data@v2", "data@v1")) == back
    assert lines(run("diff", "data@v1", "data@v1")) == []


def test_formats(run: Run) -> None:
    names = [line[16:] for line in V1_TO_V2]
    assert lines(run("diff", "--name-only", "data@v1", "data@v2")) == [n.lstrip() for n in names]
    status = lines(run("diff", "--name-status", "data@v1", "data@v2"))
    assert status[:3] == [b"M\tREADME", b"A\tcaf\xe9", b"A\tdevices/"]
    zero = run("diff", "-z", "--name-status", "data@v1", "data@v2").stdout_bytes
    assert zero.startswith(b"M\0README\0A\0caf\xe9\0A\0devices/\0A\0devices/fifo\0")
    zero = run("diff", "-z", "--name-only", "data@v1", "data@v2").stdout_bytes
    assert zero.split(b"\0") == [*(n.lstrip() for n in names), b""]
    assert lines(run("diff", "--collapse", "data@v1", "data@v2"))[2:4] == [
        b"A          0 B  devices/  (2 files)",
        b"A          0 B  escape\x1b[31m",
    ]


def test_filter(run: Run) -> None:
    assert lines(run("diff", "--filter", "DM", "data@v1", "data@v2")) == V1_TO_V2[:1]
    assert lines(run("diff", "--filter", "DR", "data@v1", "data@v2")) == []
    assert run("diff", "--filter", "D", "-q", "data@v1", "data@v2").exit_code == 0
    assert run("diff", "--filter", "A", "-q", "data@v1", "data@v2").exit_code == 1
    assert run("diff", "--filter", "X", "data@v1", "data@v2").exit_code == 2


def test_stat(run: Run) -> None:
    assert [line.split() for line in lines(run("diff", "--stat", "data@v1", "data@v2"))] == [
        [b"added", b"7", b"files", b"1", b"directory", b"+5", b"B"],
        [b"modified", b"1", b"file", b"0", b"directories", b"+1", b"B"],
        [b"together", b"+6", b"B"],
    ]
    assert json.loads(run("diff", "--stat", "--json", "data@v1", "data@v2").stdout) == {
        "added": {"files": 7, "directories": 1, "old_bytes": 0, "new_bytes": 5},
        "modified": {"files": 1, "directories": 0, "old_bytes": 6, "new_bytes": 7},
    }


def test_json(run: Run) -> None:
    found = json.loads(run("diff", "--json", "data@v1", "data@v2").stdout)
    assert (found[0]["path"], found[0]["kind"], found[0]["changed"]) == (
        "README", "modified", ["content"],
    )  # fmt: skip
    assert (found[0]["old"]["size"], found[0]["new"]["size"]) == (6, 7)
    assert found[1]["path_base64"] == "Y2Fm6Q=="
    assert found[1]["old"] is None
    assert found[4]["new"]["device"] == [1, 3]


def test_paths_and_directories(run: Run) -> None:
    assert lines(run("diff", "data@v1", "data@v2", "--", "README", "./devices//")) == [
        V1_TO_V2[0], *V1_TO_V2[2:5],
    ]  # fmt: skip
    assert lines(run("diff", "data@v1", "--", "devices/null", "devices")) == V1_TO_V2[2:5]
    assert lines(run("diff", "data@v1", "--", "sub")) == []
    inside = lines(run("diff", "data@v1", "data@v1:sub", "--name-status"))
    assert b"R\tsub/deep/\tdeep/" in inside
    assert inside[-1] == b"D\tsub/"
    assert lines(run("diff", "data@v1:README", "data@v2:README")) == V1_TO_V2[:1]
    missing = run("diff", "data@v1", "data@v2", "--", "no\x1b")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "there is no 'no\\x1b' in either version" in missing.stderr
    assert "no 'data@v2:none'" in run("diff", "data@v1", "data@v2:none").stderr


def test_exit_codes(run: Run) -> None:
    for option in ("--exit-code", "--quiet"):
        assert run("diff", option, "data@v1", "data@v2").exit_code == 1
        assert run("diff", option, "data@v2", "data@main").exit_code == 0
        trouble = run("diff", option, "data@v1", "data@none")
        assert trouble.exit_code == 2
        assert "no revision 'none'" in trouble.stderr
    assert run("diff", "--quiet", "data@v1", "data@v2").stdout == ""
    assert run("diff", "data@v1", "data@none").exit_code == 1
    for wrong in (["-p", "--stat"], ["--json", "-p"], ["-z"], ["-z", "--json"]):
        assert run("diff", "data@v1", *wrong).exit_code == 2


def store(tmp_path: Path, *trees: Tree) -> Run:
    from click.testing import CliRunner

    from vfs.cli.main import vfs

    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        for number, tree in enumerate(trees, start=1):
            commit(repo, tree, f"Version {number}", f"v{number}")
    return lambda *args: CliRunner().invoke(vfs, ["--store", str(path), *args])


def attributes(**changes: object) -> Entry:
    from vfs.ids import NO_CONTENT

    return Entry(b"?", 0o100644, 1, 2, MTIME_NS, 0, NO_CONTENT, 0, b"")._replace(
        **changes  # type: ignore[arg-type]
    )


def test_attributes_and_types(tmp_path: Path) -> None:
    run = store(
        tmp_path,
        {b"mode": attributes(), b"owner": attributes(), b"time": attributes(), b"type": b"x"},
        {
            b"mode": attributes(mode=0o100755, mtime_ns=1),
            b"owner": attributes(uid=7),
            b"time": attributes(mtime_ns=1),
            b"type": {b"below": b"y"},
        },
    )
    assert lines(run("diff", "data@v1")) == [
        b"m               mode  (mode 0644 -> 0755, time)",
        b"m               owner  (owner 1:2 -> 7:2)",
        b"m               time  (time)",
        b"T         -1 B  type/  (file -> directory)",
        b"A         +1 B  type/below",
    ]
    assert lines(run("diff", "--ignore-times", "data@v1", "--name-only")) == [
        b"mode", b"owner", b"type/", b"type/below",
    ]  # fmt: skip
    changes = [item["changed"] for item in json.loads(run("diff", "data@v1", "--json").stdout)]
    assert changes == [["mode", "time"], ["owner"], ["time"], ["content"], []]


def test_renames(tmp_path: Path) -> None:
    old: Tree = {
        b"a": {b"1": b"one", b"2": b"two"},
        b"b": {b"3": b"three", b"4": b"four", b"same": b"twice"},
        b"empty": b"",
        b"s": b"twice",
    }
    new: Tree = {
        b"A": {b"1": b"one", b"2": b"two"},
        b"B": {b"3": b"three", b"4": b"FOUR", b"s": b"twice", b"same": b"twice"},
        b"void": b"",
    }
    run = store(tmp_path, old, new)
    assert lines(run("diff", "--name-status", "data@v1")) == [
        b"R\ta/\tA/",
        b"A\tB/",
        b"R\tb/3\tB/3",
        b"A\tB/4",
        b"R\ts\tB/s",
        b"R\tb/same\tB/same",
        b"D\tb/",
        b"D\tb/4",
        b"D\tempty",
        b"A\tvoid",
    ]
    assert b"R               a/ -> A/" in lines(run("diff", "data@v1"))
    assert lines(run("diff", "--name-status", "--collapse", "data@v1")) == [
        b"R\ta/\tA/", b"A\tB/", b"D\tb/", b"D\tempty", b"D\ts", b"A\tvoid",
    ]  # fmt: skip
    assert run("diff", "-z", "--name-status", "data@v1").stdout_bytes.startswith(b"R\0a/\0A/\0A\0")
    few = run("diff", "--rename-limit", "5", "--name-status", "data@v1")
    assert "more than 5 changes: none is shown as a rename" in few.stderr
    assert lines(few) == lines(run("diff", "--no-renames", "--name-status", "data@v1"))
    assert not any(line.startswith(b"R") for line in lines(few))


def test_what_a_branch_has_not_committed(changed: Path, change: Run) -> None:
    assert lines(change("diff", "data@v2", "data@main")) == []
    status = lines(change("diff", "-u", "data", "--name-status"))
    assert status == [
        b"M\tREADME",
        b"D\tcaf\xe9",
        b"A\tdevices/run",
        b"T\tlink",
        b"D\trun",
        b"A\tsub/new\x1b[2J",
        b"R\tsub/deep/\tup/",
    ]
    for sides in (["data@v2", "data"], ["data@main~0", "data@main"]):
        assert lines(change("diff", "-u", *sides, "--name-status")) == status
    assert lines(change("diff", "-u", "data", "data@main~0", "-R", "--name-status")) == status
    assert b"-second\n+third\n" in change("diff", "-u", "-p", "data").stdout_bytes
    assert change("diff", "-u", "data@v2").exit_code == 1
    assert "'data@v2' is no branch" in change("diff", "-u", "data@v2").stderr
    change("commit", "data", "-m", "Third")
    assert lines(change("diff", "data@v2", "data", "--name-status")) == status
    assert lines(change("diff", "-u", "data")) == []


def test_a_branch_without_a_version(new_store: Path, change: Run) -> None:
    change("create", "fresh")
    assert lines(change("diff", "-u", "fresh")) == []
    assert change("diff", "fresh").exit_code == 1


OLD: Tree = {
    b"gone": b"bye\n",
    b"lines": b"".join(b"line %d\n" % n for n in range(50)),
    b"mode": attributes(),
    b"no newline": b"a",
    b'odd \xff"\n': b"x\n",
    b"sub": {b"moved": b"stays the same\n"},
    b"type": b"file\n",
}
NEW: Tree = {
    b"added": b"hello\n",
    b"empty": b"",
    b"lines": b"".join(b"line %d\n" % n if n != 25 else b"other\n" for n in range(50)),
    b"mode": attributes(mode=0o100755),
    b"no newline": b"b\nc",
    b'odd \xff"\n': b"y\n",
    b"sub": {b"there": b"stays the same\n"},
    b"type": attributes(mode=0o120777, size=5, extra=b"\x05\x05\x00lines"),
}


def write_out(tree: Tree, top: bytes) -> None:
    for name, value in tree.items():
        path = os.path.join(top, name)
        if isinstance(value, Entry):
            if value.size:
                os.symlink("lines", path)
                continue
            Path(os.fsdecode(path)).touch()
            os.chmod(path, value.mode & 0o777)
        elif isinstance(value, bytes):
            Path(os.fsdecode(path)).write_bytes(value)
        else:
            os.mkdir(path)
            write_out(value, path)


def read_in(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(top))] = str(path.readlink())
        elif path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            found[str(path.relative_to(top))] = path.read_bytes(), executable
    return found


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_git_takes_the_patch(tmp_path: Path) -> None:
    run = store(tmp_path, OLD, NEW)
    for name, tree in (("old", OLD), ("new", NEW)):
        (tmp_path / name).mkdir()
        write_out(tree, os.fsencode(tmp_path / name))
    result = run("diff", "-p", "data@v1")
    assert result.exit_code == 0, result.stderr
    done = subprocess.run(
        ["git", "apply", "--verbose", "-"], cwd=tmp_path / "old", input=result.stdout_bytes,
        capture_output=True, check=False, env={**os.environ, "GIT_DIR": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.returncode == 0, (done.stderr, result.stdout)
    assert read_in(tmp_path / "old") == read_in(tmp_path / "new")


def test_a_patch_names_what_is_not_text(run: Run, tmp_path: Path) -> None:
    patch = run("diff", "-p", "data@v1", "--", "devices", "README").stdout
    assert "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-first\n+second\n" in patch
    binary = store(tmp_path, {b"b": b"a\0"}, {b"b": b"a\0b"})("diff", "-p", "data@v1")
    assert binary.stdout == ("diff --git a/b b/b\nBinary files a/b and b/b differ (2 B -> 3 B)\n")


def test_without_the_program_diff(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run("diff", "-p", "data@v1", "--", "README")
    assert result.exit_code == 1
    assert "install diffutils" in result.stderr


def test_show_a_version(run: Run) -> None:
    shown = lines(run("show", "data@v2"))
    assert shown[0].startswith(b"commit ")
    assert shown[-9:] == V1_TO_V2
    first = lines(run("show", "--name-only", "data@v1"))
    assert first[-4:] == [b"sub/", b"sub/a", b"sub/deep/", b"sub/deep/b"]
    assert b"./" not in first
    assert lines(run("show", "--name-only", "data@v1", "--", "sub/deep"))[-2:] == first[-2:]
    found = json.loads(run("show", "--json", "data@v2").stdout)
    assert (found["message"].partition("\n")[0], len(found["changes"])) == ("Second", 9)
    assert (
        json.loads(run("show", "--json", "--stat", "data").stdout)["changes"]["added"]["files"] == 7
    )


def test_show_a_file(run: Run) -> None:
    facts = dict(line.split(b":", 1) for line in lines(run("show", "data@v2:big")))
    assert facts[b"Kind"].strip() == b"file"
    assert facts[b"Size"].strip() == b"250 KiB (256,000 bytes)"
    assert facts[b"Owner"].strip() == b"1:2"
    found = json.loads(run("show", "--json", "data@v2:big").stdout)
    assert found["introduced"]["commit"] == versions(run)["First"]
    assert found["introduced"]["author"] == "me"
    assert found["xattrs"] == []
    assert run("show", "data@v2:none").exit_code == 1
    assert b"Holds:      1 file, 0 directories" in lines(run("show", "data@v2:sub/deep"))


def versions(run: Run) -> dict[str, str]:
    found = map(json.loads, run("log", "data", "--json").stdout.splitlines())
    return {one["message"].partition("\n")[0]: one["commit"] for one in found}


def test_who(run: Run) -> None:
    made = versions(run)
    told = {
        item["path"]: item["commit"] for item in json.loads(run("who", "data", "--json").stdout)
    }
    assert told["README"] == told["link"] == told["devices/"] == made["Second"]
    assert told["big"] == told["empty"] == told["sub/"] == made["First"]
    below = {i["path"]: i["commit"] for i in json.loads(run("who", "-r", "data", "--json").stdout)}
    assert below["devices/null"] == made["Second"]
    assert below["sub/deep/b"] == made["First"]
    assert "sub/" not in below
    assert len(below) == 12
    (line,) = lines(run("who", "data@v2:sub/deep/b"))
    assert line.startswith(made["First"][:12].encode())
    assert line.endswith(b" me  sub/deep/b")
    assert [line.rpartition(b"  ")[2] for line in lines(run("who", "data:sub"))] == [b"a", b"deep/"]


def test_a_root_that_has_another_mode(changed: Path, change: Run) -> None:
    with writing(changed) as branch:
        branch.change(ROOT_INO, mode=0o040700)
    assert lines(change("diff", "-u", "data"))[0].startswith(b"m               ./  (mode ")
