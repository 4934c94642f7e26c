"""Memory stays bounded, whatever the source holds."""

from __future__ import annotations

import os
import subprocess
import sys
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
        import_source(repo, Path(sys.argv[2]), parse_target("data"), ImportOptions(message=""))
finally:
    over.set()
    watcher.join()
print(peak)
"""


def peak_kb(tmp_path: Path, source: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "store", source],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


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
