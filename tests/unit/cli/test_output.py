"""Sizes, times, names, tables and JSON as a reader sees them."""

from __future__ import annotations

import base64
import io
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.cli import output


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_400, "100 KiB"),
        (1023 * 1024, "1.0 MiB"),
        (512 << 20, "512 MiB"),
        (3 << 40, "3.0 TiB"),
        (2**63 - 1, "8.0 EiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert output.size(count) == text


@given(st.integers(0, 2**63 - 1))
def test_a_size_is_short(count: int) -> None:
    assert len(output.size(count)) <= 8


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "file", "1 file"),
        (0, "file", "0 files"),
        (12345, "file", "12,345 files"),
        (2, "directory", "2 directories"),
    ],
)
def test_plural(count: int, noun: str, text: str) -> None:
    assert output.plural(count, noun) == text


@pytest.mark.parametrize(
    ("duration", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (75, "1:15"), (3675, "1:01:15")]
)
def test_seconds(duration: float, text: str) -> None:
    assert output.seconds(duration) == text


@pytest.mark.parametrize("time_ns", [0, 1_700_000_000_123_456_789, -1])
def test_local_time_is_iso_with_its_zone(time_ns: int) -> None:
    from datetime import datetime

    shown = datetime.fromisoformat(output.local_time(time_ns))
    assert shown.tzinfo is not None
    assert shown.timestamp() == time_ns // output.NS


def test_a_time_that_no_calendar_has_is_still_shown() -> None:
    assert output.local_time(2**63 - 1).startswith("2262-")
    assert output.local_time(10**21) == "@1000000000000"


def test_printable() -> None:
    assert output.printable("naïve 日本") == "naïve 日本"
    assert output.printable("a\tb\x1b[31m\x9b") == "a\\tb\\x1b[31m\\x9b"
    assert output.printable(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert output.printable("\u202egnp.exe") == "\\u202egnp.exe"


@given(st.binary(max_size=50))
def test_the_exact_bytes_of_a_name_are_in_the_json(raw: bytes) -> None:
    fields = json.loads(json.dumps(output.text_fields("name", raw)))
    if "name_base64" in fields:
        assert base64.b64decode(fields["name_base64"]) == raw
        assert "\ufffd" in fields["name"]
    else:
        assert fields["name"].encode() == raw


def test_json_safe_reaches_everywhere() -> None:
    odd = os.fsdecode(b"\xff")
    safe = output.json_safe({odd: [odd, 1, None, {"k": (odd,)}]})
    assert json.dumps(safe, ensure_ascii=False).encode()
    assert safe == {"\ufffd": ["\ufffd", 1, None, {"k": ["\ufffd"]}]}


@pytest.mark.parametrize("documents", [[], [1], [{"a": "ü"}, {"b": [1, 2]}]])
def test_a_list_is_one_document(documents: list[Any], capfdbinary: Any) -> None:
    output.write_json_list(iter(documents))
    assert json.loads(capfdbinary.readouterr().out) == documents


def test_a_table_in_a_pipe_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    output.write_table(("NAME", ">SIZE", "NOTE"), [("a", "1 B", long), ("bb", "10 KiB", "[b]\x1b")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "NAME    SIZE  NOTE",
        f"a        1 B  {long}",
        "bb    10 KiB  [b]\\x1b",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard output and error a terminal of 60 columns.

    Not a fixture, as pytest sets its own streams again behind the fixtures.
    """
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_a_table_on_a_terminal_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    output.write_table(("NAME", ">SIZE", "NOTE"), [("a" * 20, "1 B", "x" * 500)])
    shown = terminal.getvalue()
    assert "\x1b[1m" in shown
    assert "a" * 20 in shown
    assert "…" in shown


def test_no_color_takes_the_colours_off_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    output.write_table(("NAME",), [("a",)])
    assert "\x1b[3" not in terminal.getvalue()


def test_a_name_is_exact_in_a_pipe_and_escaped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_terminal(monkeypatch)
    assert output.name_bytes(b"a\x1b\xff") == b"a\\x1b\\xff"
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert output.name_bytes(b"a\x1b\xff") == b"a\x1b\xff"


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    from vfs.cli import progress as module
    from vfs.repo.importer import SILENT

    monkeypatch.setattr(module, "UPDATE_S", 0.0)
    monkeypatch.setattr(module, "SETTLED_S", -1.0)
    with module.Bar() as bar:
        bar.total(4, 4096)
        bar.advance(1, 1024)
        fields = bar._fields(2.0)
    assert fields == {
        "bytes": "1.0 KiB of 4.0 KiB",
        "files": "1 of 4 files",
        "rate": "512 B/s",
        "left": "0:06 left",
    }
    with module.progress() as shown:
        assert isinstance(shown, module.Bar)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with module.progress() as shown:
        assert shown is SILENT


def test_progress_without_a_total_counts_up(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    from vfs.cli.progress import Bar

    with Bar() as bar:
        bar.advance(3, 0)
        assert bar._fields(65.0) == {
            "bytes": "0 B",
            "files": "3 files",
            "rate": "0 B/s",
            "left": "1:05",
        }


def test_a_total_that_still_grows_promises_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    from vfs.cli import progress as module

    monkeypatch.setattr(module, "SETTLED_S", float("inf"))
    with module.Bar() as bar:
        bar.total(4, 4096)
        bar.advance(1, 1024)
        assert bar._fields(2.0)["left"] == "0:02"


def test_names_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    output.write_table(("NAME", "PATH"), [("a" * 40, "b" * 40)], cut=False)
    output.write_table(("NAME", "NOTE"), [("c" * 70, "d")])
    for name in ("a" * 40, "b" * 40, "c" * 70):
        assert name in terminal.getvalue()
    assert "…" not in terminal.getvalue()
