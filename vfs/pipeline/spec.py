"""What a pipeline is, and its specification. Knows no store. Keys: docs/pipelines.md."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from vfs.errors import InvalidInput, InvalidName, NotSupported
from vfs.model.names import (
    DEFAULT_BRANCH,
    check_data_set_name,
    check_ref_name,
    datums_branch,
    parse_target,
)
from vfs.pipeline.cron import Cron
from vfs.pipeline.glob import Glob
from vfs.pipeline.tables import Table

SPEC_MAX_BYTES: Final = 64 << 10  # it stands in each commit that it makes
COMBINATIONS: Final = ("cross", "union", "join", "group")
Combination = Literal["cross", "union", "join", "group"]
Sandbox = Literal["", "bubblewrap", "podman", "docker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Atom:
    """A branch, cut into pieces by a pattern."""

    name: str
    data_set: str
    branch: str
    glob: Glob
    key: str = ""  # of a join or a group: of captured groups, as "$1-$2"
    outer: bool = False  # of a join: pieces without a match are datums, too

    @property
    def variable(self) -> str:
        """Return what variables call it."""
        return "".join(c if c.isascii() and c.isalnum() else "_" for c in self.name.upper())


@dataclass(frozen=True, slots=True)
class Combined:
    """Inputs that make datums together."""

    kind: Combination
    inputs: tuple[Input, ...]


Input: TypeAlias = Atom | Combined


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What has to come together before a job begins; without anything, each commit is enough."""

    commits: int = 0
    size: int = 0  # bytes of files that are new
    cron: Cron | None = None
    every: bool = False  # all of these, and not any of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a pipeline does. `document` is what it was read from."""

    document: Mapping[str, Any]
    name: str
    input: Input
    command: tuple[str, ...]
    data_set: str  # of the output
    branch: str
    directory: str  # in which commands run
    code: tuple[str, ...]  # files below it whose content counts
    env: Mapping[str, str]
    version: str  # another one runs everything again
    parallelism: int
    tries: int
    timeout_s: float  # of one try of one datum; 0: none
    memory: int  # bytes for one datum; 0: as much as there is
    cpus: int  # of one datum
    sandbox: Sandbox
    image: str
    network: bool
    scheduler: str  # of Dask, as "tcp://host:8786"; "": commands run on this machine
    remote: str  # through which the scheduler's workers get the inputs; "": they see the job's
    trigger: Trigger

    def atoms(self) -> Iterator[Atom]:
        """Yield all branches that it reads."""
        waiting = [self.input]
        while waiting:
            one = waiting.pop(0)
            if isinstance(one, Atom):
                yield one
            else:
                waiting[:0] = one.inputs

    @property
    def has_containers(self) -> bool:
        """Say whether each command runs in a container of an image."""
        return self.sandbox in ("podman", "docker")

    def transform(self) -> dict[str, Any]:
        """Return what decides on the output of a datum, but for code and inputs."""
        return {
            "command": list(self.command),
            "env": dict(self.env),
            "version": self.version,
            "sandbox": self.sandbox,
            "image": self.image,
            "network": self.network,
        }


def read_spec(path: Path) -> Spec:
    """Read a specification: TOML, or YAML or JSON by the file's name.

    Raises InvalidInput, with the place; NotSupported for YAML where nothing can read it.
    """
    text = path.read_text("utf-8", "surrogateescape")
    try:
        document = _document(path, text)
    except ValueError as error:  # of all three; each says the line
        raise InvalidInput(f"{path} can't be read: {error}") from None
    table = Table(document, str(path))
    directory = path.parent.resolve() / table.text("directory", ".")
    return parse_spec({**document, "directory": str(directory)}, str(path))


def _document(path: Path, text: str) -> Any:
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix not in (".yaml", ".yml"):
        return tomllib.loads(text)
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotSupported(
            "a specification in YAML needs PyYAML",
            hint="pip install 'vfs[yaml]', or write it in TOML",
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def parse_spec(document: Mapping[str, Any], where: str = "the specification") -> Spec:
    """Return what a specification says. Raises InvalidInput."""
    table = Table(document, where)
    name = table.text("name", required=True)
    try:
        datums_branch(check_data_set_name(name))
        output = parse_target(table.text("output", name))
        branch = check_ref_name(output.revision or DEFAULT_BRANCH)
    except InvalidName as error:
        raise InvalidInput(f"{where}: {error}", hint=error.hint) from None
    if output.path:
        table.fail("has a path: the output is a whole branch", "output")
    resources = Table(table.take("resources") or {}, f"{where}.resources")
    spec = Spec(
        document=document,
        name=name,
        input=_input(table.take("input", required=True), f"{where}.input"),
        command=_command(table),
        data_set=output.data_set,
        branch=branch,
        directory=table.text("directory", "/"),
        code=table.texts("code"),
        env=table.mapping("env"),
        version=table.text("version"),
        parallelism=table.number("parallelism", 1),
        tries=table.number("tries", 3),
        timeout_s=table.seconds("timeout"),
        memory=resources.size("memory"),
        cpus=resources.number("cpus", 1),
        sandbox=_sandbox(table),
        image=table.text("image"),
        network=table.flag("network"),
        scheduler=table.text("scheduler"),
        remote=table.text("remote"),
        trigger=_trigger(table.take("trigger") or {}, f"{where}.trigger"),
    )
    table.text("description")
    resources.end()
    table.end()
    _check(spec, table)
    return spec


def _check(spec: Spec, table: Table) -> None:
    """Raise InvalidInput for what each key may say and all of them together may not."""
    names: dict[str, Atom] = {}
    for atom in spec.atoms():
        if names.setdefault(atom.variable, atom) is not atom:
            table.fail(f"has two inputs called '{atom.name}'", hint="name one of them otherwise")
        if (atom.data_set, atom.branch) == (spec.data_set, spec.branch):
            table.fail(f"writes to {atom.data_set}@{atom.branch}, which it reads", "output")
    if bool(spec.image) != spec.has_containers:
        table.fail('stands with sandbox = "podman" or "docker", and these need one', "image")
    if len(json.dumps(dict(spec.document)).encode()) > SPEC_MAX_BYTES:
        table.fail(f"has more than {SPEC_MAX_BYTES:,} bytes")


def _command(table: Table) -> tuple[str, ...]:
    words = table.texts("command")
    if not words or not words[0]:
        hint = 'for the shell: ["sh", "-c", "..."]'
        table.fail("has to be a program and its arguments", "command", hint)
    return words


def _sandbox(table: Table) -> Sandbox:
    value = table.text("sandbox")
    if value not in get_args(Sandbox):
        table.fail('has to be "bubblewrap", "podman" or "docker"', "sandbox")
    return cast("Sandbox", value)


def _trigger(value: Any, where: str) -> Trigger:
    table = Table(value, where)
    cron = table.text("cron")
    try:
        trigger = Trigger(
            commits=table.number("commits", 0),
            size=table.size("size"),
            cron=Cron(cron) if cron else None,
            every=table.flag("all"),
        )
    except ValueError as error:
        table.fail(str(error), "cron")
    table.end()
    return trigger


def _input(value: Any, where: str, inside: Combination | None = None) -> Input:
    table = Table(value, where)
    for kind in COMBINATIONS:
        if table.has(kind):
            return _combined(table, kind, where, inside)
    return _atom(table, inside)


def _combined(table: Table, kind: Combination, where: str, inside: Combination | None) -> Combined:
    if inside in ("join", "group"):
        table.fail(f"has a {kind}, which can't stand in a {inside}")
    value = table.take(kind)
    if not isinstance(value, list) or not value:
        table.fail("has to be a list of inputs", kind)
    table.end()
    inputs = (_input(one, f"{where}.{kind}[{i}]", kind) for i, one in enumerate(value))
    return Combined(kind, tuple(inputs))


def _atom(table: Table, inside: Combination | None) -> Atom:
    text = table.text("data", required=True)
    try:
        target = parse_target(text)
        branch = check_ref_name(table.text("branch", target.revision or DEFAULT_BRANCH))
        name = check_data_set_name(table.text("name", target.data_set))
        glob = Glob(table.text("glob", required=True))
    except (InvalidName, ValueError) as error:
        table.fail(f"can't be used: {error}")
    if target.path:
        table.fail("has a path: use a pattern in 'glob'", "data")
    key = ""
    if inside in ("join", "group"):
        word = "join_on" if inside == "join" else "group_by"
        key = table.text(word, required=True)
        if problem := glob.problem_of(key):
            table.fail(problem, word)
    outer = inside == "join" and table.flag("outer_join")
    table.end()
    return Atom(name=name, data_set=target.data_set, branch=branch, glob=glob, key=key, outer=outer)
