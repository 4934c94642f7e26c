"""Merges by git, of trees that are given as plain values: many in one scratch repository."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mode = Literal["100644", "100755", "120000"]
Files = Mapping[str, tuple[Mode, bytes]]
"""What git keeps of a tree: modes and contents by path."""


@dataclass(frozen=True)
class GitMerge:
    """What git made of two versions."""

    clean: bool
    files: dict[str, tuple[str, bytes]]  # of the merged tree, where it is clean
    conflicts: set[str]  # paths, as they are called in the index


class GitRepository:
    """A bare repository in which merges never look into files, and only exact renames count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blobs: dict[str, bytes] = {}
        self._git("init", "-q", "--bare", str(path), at=None)
        (path / "info").mkdir(exist_ok=True)
        (path / "info/attributes").write_text("* -merge\n")
        for key, value in (
            ("merge.directoryRenames", "false"),
            ("merge.renames", "true"),
            ("merge.renameLimit", "10000"),
            ("gc.auto", "0"),
        ):
            self._git("config", key, value)

    def _git(
        self, *args: str, at: str | None = "", input_: bytes = b"", check: bool = True
    ) -> bytes:
        where = [] if at is None else ["--git-dir", str(self._path)]
        done = subprocess.run(
            ["git", *where, *args],
            input=input_,
            capture_output=True,
            check=False,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"},
        )
        assert not check or done.returncode == 0, done.stderr
        self.code = done.returncode
        return done.stdout

    def commits(self, versions: list[tuple[Files, list[int]]]) -> list[str]:
        """Make commits of trees, each with the numbers of those before that are its parents."""
        stream = bytearray()
        for number, (files, parents) in enumerate(versions):
            # A reset first: without it the version before would be a parent.
            stream += f"reset refs/heads/c\n\ncommit refs/heads/c\nmark :{number + 1}\n".encode()
            stream += f"committer A <a@b> {1_000_000 + number} +0000\ndata 0\n".encode()
            for at, parent in enumerate(parents):
                stream += f"{'merge' if at else 'from'} :{parent + 1}\n".encode()
            stream += b"deleteall\n"
            for path, (mode, data) in files.items():
                stream += f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
            stream += b"\n"
        marks = self._path / "marks"
        self._git(
            "fast-import", "--quiet", "--force", f"--export-marks={marks}", input_=bytes(stream)
        )
        ids = dict(line.split() for line in marks.read_text().splitlines())
        return [ids[f":{number + 1}"] for number in range(len(versions))]

    def merge(self, ours: str, theirs: str) -> GitMerge:
        """Merge two commits."""
        out = self._git(
            "merge-tree",
            "--write-tree",
            "--name-only",
            "-z",
            "--no-messages",
            "--allow-unrelated-histories",
            ours,
            theirs,
            check=False,
        ).decode()
        tree, *paths = out.rstrip("\0").split("\0")
        if self.code == 1:
            return GitMerge(False, {}, set(paths))
        assert self.code == 0, out
        return GitMerge(True, self.files(tree), set())

    def files(self, tree: str) -> dict[str, tuple[str, bytes]]:
        """Return what is in a tree."""
        found = {}
        for line in self._git("ls-tree", "-r", "-z", tree).decode().split("\0")[:-1]:
            match = re.fullmatch(r"(\d+) blob ([0-9a-f]+)\t(.*)", line, re.DOTALL)
            assert match is not None, line
            if match[2] not in self._blobs:
                self._blobs[match[2]] = self._git("cat-file", "blob", match[2])
            found[match[3]] = match[1], self._blobs[match[2]]
        return found
