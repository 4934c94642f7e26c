"""Help pages: complete, with examples, and quick, as they import next to nothing."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from vfs.cli.command import Command
from vfs.cli.main import COMMANDS, vfs

HEAVY = ("pyfuse3", "trio", "lmdb", "zstandard", "rich", "blake3", "vfs.repo", "vfs.store")
SPY = """
import sys
from vfs.cli.main import main
try:
    main()
finally:
    print("\\nIMPORTED:", *sorted(sys.modules))
"""


def run(*args: str) -> click.testing.Result:
    return CliRunner().invoke(vfs, args)


def imported_by(*args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SPY, *args], capture_output=True, text=True, check=False
    )
    return set(done.stdout.partition("IMPORTED:")[2].split())


def load(name: str) -> Command:
    command = vfs.get_command(click.Context(vfs), name)
    assert isinstance(command, Command)
    return command


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_the_group_names_every_command_and_exit_code(option: str) -> None:
    result = run(option)
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout
    for word in ("--store", "VFS_STORE", "--debug", "Exit codes", "130", "Examples:", "NO_COLOR"):
        assert word in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_a_synopsis_and_examples(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: vfs {name} ")
    examples = result.stdout.partition("Examples:")[2]
    assert "$ " in examples
    assert "vfs" in examples


@pytest.mark.parametrize("name", COMMANDS)
def test_the_group_s_line_for_a_command_is_the_first_of_its_help(name: str) -> None:
    command = load(name)
    assert command.name == name
    assert command.help is not None
    assert command.help.partition("\n")[0] == COMMANDS[name].summary


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    assert [param.name for param in load(name).params if not param.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_ones_that_the_command_takes(name: str) -> None:
    """Every word behind a dash is an option of the command that is named before it."""
    for _, line in load(name).examples:
        for part in line.replace("$(", "; ").replace("<(", "; ").replace("|", ";").split(";"):
            words = part.replace("&&", " && ").split()
            command = None
            for before, word in zip(["", *words], words, strict=False):
                if before == "vfs":
                    command = load(word)
                elif word in {"&&", ">", "--"}:
                    command = None
                elif command is not None and word.startswith("-") and word != "-":
                    known = {option for param in command.params for option in param.opts}
                    assert word in known | {"--help"}, line


def test_help_imports_nothing_heavy() -> None:
    modules = imported_by("--help")
    assert "vfs.cli.main" in modules
    assert modules.isdisjoint(HEAVY)
    assert not {module for module in modules if module.startswith("vfs.cli.")} - {
        "vfs.cli.main",
        "vfs.cli.command",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_no_fuse_and_no_store(name: str) -> None:
    assert imported_by(name, "--help").isdisjoint(set(HEAVY) - {"blake3"})


def test_no_arguments_show_the_help_as_a_usage_error() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Usage: vfs" in result.stderr
    assert result.stdout == ""


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("vfs ")
