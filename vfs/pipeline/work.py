"""Running the datums of a job: tries, logs, and what is done kept for good now and then."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vfs.errors import CorruptObject, RemoteProblem, SourceProblem
from vfs.model.names import datums_branch
from vfs.pipeline import parcels, table
from vfs.pipeline.collect import Collector
from vfs.pipeline.records import Job, log_try
from vfs.pipeline.sandbox import View

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.pipeline.datums import Datum
    from vfs.pipeline.executor import Ended, Executor
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest

KEEP_SECONDS: Final = 0.5
"""What a job has done is kept for good so often; so much a killed one does again."""

WINDOW: Final = 4
"""So many datums for each that may run have their directories: a job may have a million."""

LOSSES: Final = 10
"""So often a datum is begun again, as what ran it was lost; its command is not to blame."""


@dataclass(frozen=True, slots=True)
class Way:
    """How datums are run: what makes tasks of them, and where these run."""

    prepare: Callable[[Datum, View], Any]  # returns what the executor takes
    executor: Executor[Any]
    mounts: Mapping[str, Path]  # of inputs, by name; none where it is not the job that mounts


@dataclass(slots=True)
class _Try:
    datum: Datum
    view: View
    number: int
    losses: int


class Work:
    """The datums of one job."""

    def __init__(
        self,
        repo: Repository,
        store: Path,
        spec: Spec,
        job: Job,
        scratch: Path,
        way: Way,
        told: Callable[[Job], None],
    ) -> None:
        """*told* is called when the job's numbers have changed."""
        self._repo, self._store, self._spec, self._job = repo, store, spec, job
        self._scratch, self._way, self._told = scratch, way, told
        self._tries: dict[str, _Try] = {}
        self._done: dict[str, tuple[Datum, View]] = {}
        self._kept_at = time.monotonic()

    def run(self, datums: Sequence[Datum]) -> bool:
        """Run all of *datums*; say whether all are done.

        As soon as one has failed for good, the others are stopped. What is done is kept.
        """
        executor = self._way.executor
        waiting = iter(datums)
        window = WINDOW * self._spec.parallelism
        try:
            self._fill(waiting, window)
            while ended := executor.wait():
                for one in ended:
                    if not self._take(one):
                        return False
                self._fill(waiting, window)
                if time.monotonic() - self._kept_at >= KEEP_SECONDS:
                    self._keep()
                self._told(self._job)
        finally:
            executor.close()
            self._keep()
        return not self._job.failed

    def _fill(self, waiting: Iterator[Datum], window: int) -> None:
        while len(self._tries) < window and (datum := next(waiting, None)) is not None:
            self._submit(datum, 1, 0)

    def _submit(self, datum: Datum, number: int, losses: int) -> None:
        view = View(self._scratch / f"{datum.id}-{number + losses}", self._way.mounts)
        self._tries[datum.id] = _Try(datum, view, number, losses)
        self._way.executor.submit(self._way.prepare(datum, view))

    def _take(self, ended: Ended) -> bool:
        """Take what became of a try; False where its datum has failed for good."""
        one = self._tries.pop(ended.task)
        self._job.seconds += ended.seconds
        outcome = ended.problem or "done"
        head = f"datum {one.datum.id} try {one.number}: {outcome} ({ended.seconds:.1f} s)"
        log_try(self._store, self._job, head, one.view.log)
        if not ended.problem:
            self._done[one.datum.id] = (one.datum, one.view)
            self._job.done += 1
            return True
        shutil.rmtree(one.view.directory, ignore_errors=True)
        if ended.lost and one.losses < LOSSES:
            self._submit(one.datum, one.number, one.losses + 1)
            return True
        if one.number < self._spec.tries:
            self._submit(one.datum, one.number + 1, one.losses)
            return True
        self._fail(one.datum, ended.problem)
        return False

    def _fail(self, datum: Datum, problem: str) -> None:
        self._job.failed.append(datum.id)
        names = ", ".join(
            f"{piece.atom.name}:/{os.fsdecode(b'/'.join(piece.path))}" for piece in datum.pieces
        )
        self._job.problem = f"the datum {datum.id[:12]} ({names}): {problem}"

    def _stored(self, view: View, datum: Datum, ingest: Ingest, collector: Collector) -> Entry:
        """Store what a datum wrote, here or on another machine."""
        parcel = view.directory / parcels.NAME
        if parcel.exists():
            return parcels.unpack(self._repo, ingest, parcel, datum.id)
        return collector.collect(view.output)

    def _keep(self) -> None:
        """Store what is done, so that nobody has to run it again."""
        done, self._done = self._done, {}
        self._kept_at = time.monotonic()
        if not done:
            return
        kept: dict[str, tuple[Datum, Entry]] = {}
        spec = self._spec
        with self._repo.store.ingest() as ingest:
            with Collector(ingest) as collector:
                for name, (datum, view) in done.items():
                    try:
                        kept[name] = (datum, self._stored(view, datum, ingest, collector))
                    except (SourceProblem, RemoteProblem, CorruptObject) as error:
                        self._job.done -= 1
                        self._fail(datum, str(error))
            ingest.flush()
            self._repo.commit_root(
                spec.data_set,
                datums_branch(spec.name),
                lambda head: table.with_changes(
                    self._repo, ingest, table.root_of(head), kept, set()
                ),
                ingest=ingest,
                message=f"Datums of {shlex.quote(spec.name)}",
                provenance={"kind": table.KIND, "pipeline": spec.name},
            )
        for _, view in done.values():
            shutil.rmtree(view.directory, ignore_errors=True)
