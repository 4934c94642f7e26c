"""Running a check in a process of its own, as often as it dies of what it reads."""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Final

import vfs
from vfs.errors import StoreError, VfsError
from vfs.repo.fsck.report import Damage, Report
from vfs.repo.fsck.run import RECORDER_BYTES
from vfs.repo.stages import OnStage, Stage

DEATHS_MAX: Final = 16
"""A damaged page of LMDB kills whoever reads it: so many times, the check goes on behind it."""

SILENCE_S: Final = 120.0
"""A worker that neither says anything nor reads another object for so long hangs."""

_PACKAGE: Final = Path(vfs.__file__).parent
_WORKER: Final = """
import sys
sys.path.insert(0, sys.argv.pop())
from vfs.repo.fsck.worker import main
main()
"""
_READ_BYTES: Final = 1 << 16


def check_store(path: Path, *, data: bool, on_stage: OnStage | None = None) -> Report:
    """Check the store at *path*; with *data* the bytes of every object, too.

    Raises StoreError when there is no store.
    """
    check = _Checking(path, data=data, on_stage=on_stage)
    for _ in range(DEATHS_MAX):
        if check.run():
            return check.report
    check.note(
        Damage("lmdb", f"the check was given up: the process that reads died {DEATHS_MAX} times")
    )
    return check.report


class _Checking:
    """One check, in as many processes as it takes."""

    def __init__(self, path: Path, *, data: bool, on_stage: OnStage | None) -> None:
        self.report = Report()
        self._path = path
        self._data = data
        self._on_stage = on_stage
        self._told: set[str] = set()
        self._stage = ""
        self._is_done = False
        self._skipped_objects: list[str] = []
        self._skipped_stages: list[str] = []

    def note(self, damage: Damage) -> None:
        """Add a damage, unless an earlier process found the same."""
        key = json.dumps(damage.record())
        if key not in self._told:
            self._told.add(key)
            self.report.damages.append(damage)

    def run(self) -> bool:
        """Run a worker; say whether it came to its end. Raises StoreError."""
        self._is_done = False
        self.report.untold = 0
        with tempfile.TemporaryFile() as shared, tempfile.TemporaryFile() as errors:
            shared.truncate(RECORDER_BYTES)
            with mmap.mmap(shared.fileno(), RECORDER_BYTES) as recorder:
                worker = self._start(shared, errors)
                try:
                    assert worker.stdout is not None
                    hangs = self._listen(worker.stdout, recorder)
                finally:
                    if not self._is_done:
                        worker.kill()
                    worker.communicate()
                if self._is_done:
                    return True
                last = recorder[:32]
            errors.seek(0)
            self._died(worker.returncode, last, errors.read().decode(errors="replace"), hangs=hangs)
        return False

    def _start(self, shared: IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-c", _WORKER, str(self._path), str(_PACKAGE.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[shared.fileno()],
        )
        options = {
            "data": self._data,
            "recorder": shared.fileno(),
            "objects": self._skipped_objects,
            "stages": self._skipped_stages,
        }
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(options).encode() + b"\n")
        worker.stdin.flush()
        return worker

    def _listen(self, source: IO[bytes], recorder: mmap.mmap) -> bool:
        """Take messages until there are no more; say whether that is because nothing moves."""
        rest = b""
        before, since = recorder[:32], time.monotonic()
        waiting = select.poll()  # select(2) can't wait for descriptors from 1,024 on
        waiting.register(source, select.POLLIN)
        while True:
            if not waiting.poll(SILENCE_S * 100):  # ms: a tenth of it
                now = recorder[:32]
                if now != before:
                    before, since = now, time.monotonic()
                elif time.monotonic() - since > SILENCE_S:
                    return True
                continue
            since = time.monotonic()
            data = os.read(source.fileno(), _READ_BYTES)
            if not data:
                return False
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(*json.loads(line))

    def _take(self, kind: str, value: Any) -> None:
        if kind == "damage":
            self.note(Damage.of_record(value))
        elif kind == "progress" and self._on_stage is not None:
            self._on_stage(Stage(*value))
        elif kind == "stage":
            self._stage = value
            if self._on_stage is not None:
                self._on_stage(Stage(value))
        elif kind == "untold":
            self.report.untold += 1
        elif kind == "counts":
            self.report.counts = value
        elif kind == "refused":
            self._is_done = True
            raise StoreError(value[0], hint=value[1])
        elif kind == "done":
            self._is_done = True

    def _died(self, code: int, last: bytes, errors: str, *, hangs: bool) -> None:
        """Note of what a worker died, and that the next one is to leave it alone."""
        if code >= 0 and not hangs:
            reason = errors.strip().splitlines()
            raise VfsError(
                f"the check failed: {reason[-1] if reason else f'exit code {code}'}",
                hint="this is an error of vfs, not of the store",
            )
        what = "hangs" if hangs else f"ends the process ({signal.Signals(-code).name})"
        oid = last.hex()
        if any(last) and oid not in self._skipped_objects:
            self._skipped_objects.append(oid)
            self.note(Damage("lmdb", f"reading {self._stage} {what}, at the object {oid}"))
        else:
            self._skipped_stages.append(self._stage)
            self.note(Damage("lmdb", f"reading {self._stage} {what}: LMDB's pages are damaged"))
