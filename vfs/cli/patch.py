"""A patch that `git apply` and `patch -p1` take. The lines come from diff(1).

Python's difflib takes minutes for two files of some ten thousand lines that have little in common.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from vfs.cli import output
from vfs.errors import Erased, NotSupported
from vfs.model.entry import Extra

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.blobs import FileReader
    from vfs.repo.treediff import Difference

TEXT_MAX_BYTES: Final = 16 << 20
"""Larger files differ, and that is all that is said: diff(1) holds both in memory."""

_LOOKED_AT_BYTES: Final = 8000  # for a NUL, which makes a file binary; as git does
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')
_ESCAPES: Final = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def write_patch(files: FileReader, found: Iterator[Difference]) -> None:
    """Write how old files become new ones. Directories are in no patch."""
    for difference in found:
        if difference.kind == "type changed":
            for side in (_only(difference, new=False), _only(difference, new=True)):
                _write_one(files, *side)
        elif not difference.is_dir:
            old_path = difference.path if difference.old_path is None else difference.old_path
            _write_one(files, old_path, difference.old, difference.path, difference.new)


def _only(difference: Difference, *, new: bool) -> tuple[bytes, Entry | None, bytes, Entry | None]:
    """Return one half of a change of type, which a patch tells in two."""
    path = difference.path
    entry = difference.new if new else difference.old
    if entry is not None and entry.is_dir:
        entry = None
    return (path, None, path, entry) if new else (path, entry, path, None)


def _write_one(
    files: FileReader,
    old_path: bytes,
    old: Entry | None,
    path: bytes,
    new: Entry | None,
) -> None:
    if old is None and new is None:
        return
    names = [quoted(b"a/" + old_path), quoted(b"b/" + path)]
    lines = [f"diff --git {names[0]} {names[1]}", *_header(old_path, old, path, new)]
    output.write_all("\n".join(lines).encode() + b"\n")
    if old is not None and new is not None and _same(old, new):
        return
    for at, entry in enumerate((old, new)):
        if entry is None:
            names[at] = "/dev/null"
    try:
        _write_contents(files, old, new, names)
    except Erased as error:
        output.write_all(f"Files {names[0]} and {names[1]} differ: {error}\n".encode())


def _write_contents(
    files: FileReader, old: Entry | None, new: Entry | None, names: list[str]
) -> None:
    texts = [_text(files, entry) for entry in (old, new)]
    if texts[0] is None or texts[1] is None:
        sizes = " -> ".join("nothing" if one is None else f"{one.size:,} B" for one in (old, new))
        output.write_all(f"Binary files {names[0]} and {names[1]} differ ({sizes})\n".encode())
        return
    _write_lines((texts[0], texts[1]), names)


def _same(old: Entry, new: Entry) -> bool:
    return (old.content, old.size, old.extra) == (new.content, new.size, new.extra) or (
        old.is_file and (old.content, old.size) == (new.content, new.size)
    )


def _header(old_path: bytes, old: Entry | None, path: bytes, new: Entry | None) -> Iterator[str]:
    if old is None or new is None:
        entry = old or new
        assert entry is not None
        yield f"{'new' if old is None else 'deleted'} file mode {_mode(entry)}"
        return
    if _mode(old) != _mode(new):
        yield f"old mode {_mode(old)}"
        yield f"new mode {_mode(new)}"
    if old_path != path:
        yield "similarity index 100%"
        yield f"rename from {quoted(old_path)}"
        yield f"rename to {quoted(path)}"


def _mode(entry: Entry) -> str:
    """Return a mode as git's patches have it, which know two of files."""
    if entry.is_file:
        return "100755" if entry.mode & stat.S_IXUSR else "100644"
    return f"{entry.kind:06o}"


def quoted(path: bytes) -> str:
    """Return a path as git's patches have it: in quotes, with escapes, where it holds odd bytes."""
    if _PLAIN.issuperset(path):
        return path.decode()
    shown = (chr(b) if b in _PLAIN else f"\\{_ESCAPES.get(b, f'{b:03o}')}" for b in path)
    return f'"{"".join(shown)}"'


def _text(files: FileReader, entry: Entry | None) -> Iterator[bytes] | None:
    """Return the content of a file or a link; None where it is none that a patch can show."""
    if entry is None:
        return iter(())
    target = Extra.decode(entry.extra).target
    if target:
        return iter((target,))
    if not entry.is_file or entry.size > TEXT_MAX_BYTES:
        return None
    if b"\0" in files.read(entry, 0, _LOOKED_AT_BYTES):
        return None
    return files.stream(entry)


def _write_lines(texts: tuple[Iterator[bytes], Iterator[bytes]], names: list[str]) -> None:
    # A tab ends a name with spaces in it, as git has it.
    labels = [name + "\t" * (" " in name) for name in names]
    with TemporaryFile() as old, TemporaryFile() as new:
        for file, text in zip((old, new), texts, strict=True):
            file.writelines(text)
            file.flush()
        command = ["diff", "-u", "--label", labels[0], "--label", labels[1]]
        paths = [f"/dev/fd/{file.fileno()}" for file in (old, new)]
        try:
            done = subprocess.run(
                [*command, *paths],
                pass_fds=(old.fileno(), new.fileno()),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise NotSupported(
                "-p needs the program diff, which is not there", hint="install diffutils"
            ) from None
    if done.returncode > 1:
        raise NotSupported(f"diff failed: {done.stderr.decode(errors='replace').strip()}")
    output.write_all(_safe(done.stdout))


def _safe(lines: bytes) -> bytes:
    """Return lines for standard output: exact in a pipe, without control characters elsewhere."""
    if not sys.stdout.isatty():
        return lines
    text = lines.decode("utf-8", "surrogateescape")
    return "\n".join(
        "\t".join(map(output.printable, line.split("\t"))) for line in text.split("\n")
    ).encode()
