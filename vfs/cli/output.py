"""What commands write: sizes, times, names, tables and JSON. rich is imported only for tables."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from vfs.clock import NS

if TYPE_CHECKING:
    from rich.console import Console

ID_DIGITS: Final = 12  # of a commit id, as tables show it
PIPE_WIDTH: Final = 10_000  # columns: nothing is cut or wrapped for a program that reads a table
BATCH_BYTES: Final = 16 * 1024
COLUMN_GAP: Final = 2
LAST_COLUMN_MIN: Final = 10
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: float) -> str:
    """Return a number of bytes for people: three digits or so, and a binary unit."""
    for unit in UNITS:
        if abs(count) < 1000 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """Return "1 file", "2,000 files"; "directory" and the like change their ending."""
    if count != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun}"


def seconds(duration: float) -> str:
    """Return how long something took, for people."""
    return f"{duration:.1f} s" if duration < 60 else clock(duration)


def clock(duration: float) -> str:
    """Return a duration as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(max(0, round(duration)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def local_time(time_ns: int) -> str:
    """Return a time in ISO 8601, in the local zone, to the second."""
    try:
        return datetime.fromtimestamp(time_ns // NS).astimezone().isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a year that datetime has no room for
        return f"@{time_ns // NS}"


def printable(text: str) -> str:
    """Return *text* with what a terminal would act on, or can't show, as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def path_text(path: bytes) -> str:
    """Return a path for a message, with odd bytes as escapes."""
    return printable(os.fsdecode(path))


def name_bytes(name: bytes) -> bytes:
    """Return a name for standard output: exact in a pipe, escaped on a terminal."""
    if sys.stdout.isatty():
        return printable(os.fsdecode(name)).encode()
    return name


def write_all(data: bytes) -> None:
    """Write *data* to standard output, which with PYTHONUNBUFFERED may take only a part at once."""
    sys.stdout.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]


def write_lines(lines: Iterable[bytes]) -> None:
    """Write lines as they come, many at a time: click's echo flushes after each."""
    write_all_of(line + b"\n" for line in lines)


def write_all_of(parts: Iterable[bytes]) -> None:
    """Write *parts* as they come, many at a time."""
    batch = bytearray()
    try:
        for part in parts:
            batch += part
            if len(batch) >= BATCH_BYTES:
                write_all(bytes(batch))
                batch.clear()
    finally:  # what was found before an error is shown
        write_all(bytes(batch))


def text_fields(key: str, value: str | bytes) -> dict[str, str]:
    """Return JSON fields for text that may hold any bytes.

    The text stands under *key*, with U+FFFD for what is not UTF-8; only where there is such, the
    exact bytes stand in Base64 under *key*_base64.
    """
    raw = value if isinstance(value, bytes) else os.fsencode(value)
    try:
        return {key: raw.decode()}
    except UnicodeDecodeError:
        return {
            key: raw.decode(errors="replace"),
            f"{key}_base64": base64.b64encode(raw).decode(),
        }


def write_json(document: Any, *, indent: int | None = 2) -> None:
    """Write one JSON document, UTF-8 whatever the locale, and a newline."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=indent).encode())


def write_json_list(documents: Iterable[Any]) -> None:
    """Write one JSON document, a list, an item a line, as the items come."""
    write_lines(_list_lines(documents))


def _list_lines(documents: Iterable[Any]) -> Iterator[bytes]:
    # A comma belongs to the line before it, which is known to need one only when the next comes.
    waiting = b"["
    separator = b""
    for document in documents:
        yield waiting + separator
        waiting = b"  " + json.dumps(document, ensure_ascii=False).encode()
        separator = b","
    yield from (b"[]",) if not separator else (waiting, b"]")


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a rich console that styles only for a terminal, and never cuts in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    on_terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=on_terminal,  # FORCE_COLOR must not put ANSI into a pipe
        width=width if on_terminal else PIPE_WIDTH,
    )


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, cut: bool = True) -> None:
    """Write a table; a column whose title starts with '>' is aligned to the right.

    Where a terminal is too narrow, the last column is cut if it is for reading only (*cut*); names
    that may be wanted elsewhere never are: then the terminal breaks the lines.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    target = console()
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    titles = [title.removeprefix(">") for title in columns]
    widths = [
        max(len(title), *(row[number].cell_len for row in cells), 0)
        for number, title in enumerate(titles)
    ]
    room = target.width - sum(widths[:-1]) - COLUMN_GAP * (len(widths) + 1)
    if room < widths[-1] and (not cut or room < LAST_COLUMN_MIN):
        target = console(width=PIPE_WIDTH)
        room = widths[-1]
    table = Table(
        box=SIMPLE_HEAD if target.is_terminal else None,
        header_style="bold",
        pad_edge=False,
        padding=(0, COLUMN_GAP, 0, 0),
    )
    for title, column, width in zip(titles, columns, [*widths[:-1], room], strict=True):
        justify: Literal["left", "right"] = "left" if title == column else "right"
        table.add_column(title, justify=justify, no_wrap=True, max_width=width)
    for row in cells:
        table.add_row(*row)
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as capture:
        target.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def json_safe(value: Any) -> Any:
    """Return a JSON value in which text that is not UTF-8 has U+FFFD for what is not."""
    match value:
        case str():
            return os.fsencode(value).decode(errors="replace")
        case list() | tuple():
            return [json_safe(item) for item in value]
        case dict():
            return {json_safe(key): json_safe(item) for key, item in value.items()}
        case _:
            return value
