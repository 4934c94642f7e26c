"""Memory stays bounded, whatever the source holds."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest

LIMIT_KB = 200_000  # of 300 MB that are allowed for any input

CHILD = """
import sys, threading
from pathlib import Path
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

peak, over = 0, threading.Event()

def watch():
    global peak
    while not over.wait(0.01):
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]))

watcher = threading.Thread(target=watch)
watcher.start()
try:
    with Repository.create(Path(sys.argv[1])) as repo:
        repo.create_data_set("data")
        source = sys.stdin.buffer if sys.argv[2] == "-" else Path(sys.argv[2])
        options = ImportOptions(message="", jobs=16)
        import_source(repo, source, parse_target("data"), options)
finally:
    over.set()
    watcher.join()
print(peak)
"""


def peak_kb(tmp_path: Path, source: Path) -> int:
    command = [sys.executable, "-c", CHILD, tmp_path / "store", source]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def peak_kb_of_tar(tmp_path: Path, members: Iterable[tuple[str, dict[str, str]]]) -> int:
    """Return the peak for an archive of files with names and pax headers, from a pipe."""
    command = [sys.executable, "-c", CHILD, tmp_path / "store", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        with tarfile.open(fileobj=child.stdin, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for number, (name, headers) in enumerate(members):
                member = tarfile.TarInfo(name)
                member.pax_headers = headers
                content = b"%d" % number
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                archive.members = []  # type: ignore[assignment]
        child.stdin.close()
        peak = int(child.stdout.read())
    assert child.returncode == 0
    return peak


@pytest.mark.slow
def test_many_names_and_links(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    directory = os.open(source, os.O_RDONLY)
    first = ""
    for number in range(150_000):
        name = f"a name that is neither short nor long {number:07}"
        if number % 10 == 0:
            first = name
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        else:
            os.link(first, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.close(directory)
    assert peak_kb(tmp_path, source) < LIMIT_KB


@pytest.mark.slow
def test_a_large_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    block = os.urandom(4 << 20)
    with source.open("wb") as file:
        for number in range(128):
            file.write(block[number * 1000 :] + block[: number * 1000])
    assert peak_kb(tmp_path, source) < LIMIT_KB


@pytest.mark.slow
def test_an_archive_of_tiny_files_in_any_order(tmp_path: Path) -> None:
    numbers = list(range(150_000))
    random.Random(1).shuffle(numbers)
    members = ((f"{n % 100}/a name of some length {n}", {}) for n in numbers)
    assert peak_kb_of_tar(tmp_path, members) < LIMIT_KB // 2


@pytest.mark.slow
def test_an_archive_of_large_attributes(tmp_path: Path) -> None:
    members = (
        (f"file {n}", {"SCHILY.xattr.user.large": os.urandom(30_000).hex()}) for n in range(3000)
    )
    assert peak_kb_of_tar(tmp_path, members) < LIMIT_KB


@pytest.mark.slow
def test_an_archive_of_deep_paths(tmp_path: Path) -> None:
    members = ((f"d{n}/" + "d/" * 7000 + "file", {}) for n in range(60))
    again = ((f"d{n % 60}/" + "d/" * 7000 + f"file {n}", {}) for n in range(3000))
    assert peak_kb_of_tar(tmp_path, chain(members, again)) < LIMIT_KB
