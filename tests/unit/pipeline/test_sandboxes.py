"""The command lines of sandboxes, and local processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from vfs.cli.main import vfs
from vfs.pipeline import sandbox
from vfs.pipeline.executor import Ended, LocalExecutor, Task
from vfs.pipeline.spec import Spec, parse_spec
from vfs.run.guard import Guard


def spec(**more: Any) -> Spec:
    document = {"name": "p", "command": ["run", "it"], "input": {"data": "a", "glob": "/"}}
    return parse_spec({**document, "directory": "/code", **more})


VIEW = sandbox.View(Path("/scratch/1"), {})
BINDS = [(Path("/mnt/a/x"), Path("/pfs/a/x"))]


def test_a_container_sees_inputs_read_only_and_has_no_network() -> None:
    one = spec(sandbox="podman", image="busybox", resources={"memory": "1 GiB", "cpus": 2})
    line = sandbox.container(one, VIEW, BINDS, {"A": "b"}, Path("/scratch/1/id"))
    assert line[:2] == ["podman", "run"]
    assert line[-3:] == ["busybox", "run", "it"]
    text = " ".join(line)
    for part in (
        "--cidfile /scratch/1/id",
        "--network none",
        "--memory 1073741824 --cpus 2",
        "source=/mnt/a/x,target=/pfs/a/x,readonly",
        "source=/scratch/1/pfs/out,target=/pfs/out --mount",
        "--env A=b",
    ):
        assert part in text


def test_a_sandbox_has_the_network_only_where_asked() -> None:
    lines = [
        sandbox.bubblewrap(spec(sandbox="bubblewrap", network=on), VIEW, BINDS, {})
        for on in (False, True)
    ]
    assert ["--share-net" in line for line in lines] == [False, True]
    assert all(line[-3:] == ["--", "run", "it"] for line in lines)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with Guard() as guard:
        made = LocalExecutor(2, guard)
        yield made
        made.close()


def task(tmp_path: Path, name: str, script: str, **more: Any) -> Task:
    return Task(
        name=name,
        command=[sys.executable, "-c", script],
        directory=tmp_path,
        environment={},
        log=tmp_path / f"{name}.log",
        **more,
    )


def all_of(executor: LocalExecutor) -> dict[str, Ended]:
    found = {}
    while ended := executor.wait():
        found |= {one.task: one for one in ended}
    return found


def test_each_task_ends_once_and_says_how(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(task(tmp_path, "good", "print('hello')"))
    executor.submit(task(tmp_path, "bad", "raise SystemExit(7)"))
    executor.submit(task(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"))
    executor.submit(task(tmp_path, "slow", "import time; time.sleep(999)", timeout_s=0.2))
    executor.submit(task(tmp_path, "large", "bytearray(1 << 30)", memory=256 << 20))
    missing = task(tmp_path, "missing", "")
    executor.submit(replace(missing, command=["/no/such/program"]))
    problems = {name: one.problem for name, one in all_of(executor).items()}
    assert problems == {
        "good": "",
        "bad": "it exited with 7",
        "killed": "it exited with 137",
        "slow": "it took more than 0.2 s",
        "large": "it exited with 1",
        "missing": "can't run /no/such/program: No such file or directory",
    }
    assert (tmp_path / "good.log").read_text() == "hello\n"
    assert "MemoryError" in (tmp_path / "large.log").read_text()


def test_every_command_of_pipeline_has_help_and_examples_that_it_takes() -> None:
    group = vfs.get_command(click.Context(vfs), "pipeline")
    assert isinstance(group, click.Group)
    assert set(group.commands) == set(
        "create list inspect logs run start stop delete wait serve".split()
    )
    for name, command in group.commands.items():
        assert command.help
        known = {option for param in command.params for option in param.opts} | {"--json"}
        for _, line in command.examples:  # type: ignore[attr-defined]
            words = line.split()
            assert words[:3] == ["vfs", "pipeline", name]
            assert {word for word in words if word.startswith("-")} <= known
