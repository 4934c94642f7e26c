"""The job's side of workers on other machines: inputs go to a remote, parcels come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.errors import InvalidInput, RemoteUnavailable
from vfs.model.names import inputs_branch
from vfs.pipeline.executor import Ended
from vfs.pipeline.orders import Answer, CodeFile, Order
from vfs.pipeline.parcels import NAME
from vfs.pipeline.sandbox import View
from vfs.pipeline.workermounts import Version
from vfs.store.refrows import Ref
from vfs.sync.push import push
from vfs.sync.remotes import RemotePlace, connected, find_remote

if TYPE_CHECKING:
    from vfs.pipeline.datums import Datum
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository
    from vfs.run.inputs import Input

CODE_MAX_BYTES: Final = 1 << 20  # it goes with each datum

Unlock = Callable[[RemotePlace], RemotePlace]
ReadPart = Callable[[str, Path, int], bytes]
"""Gets part of a parcel: of which worker, which one, from which byte. Raises OSError."""


class Elsewhere:
    """Makes the orders of a job, and takes what comes back."""

    def __init__(self, spec: Spec, versions: dict[str, Version]) -> None:
        """Raises InvalidInput where the code can't travel."""
        self._spec = spec
        self._versions = versions
        self._code = _code(spec)

    def order(self, datum: Datum, view: View) -> Order:
        """Return what a worker is to be sent."""
        view.directory.mkdir(parents=True)
        return Order(
            name=datum.id,
            spec=self._spec,
            datum=datum,
            versions=self._versions,
            code=self._code,
            directory=view.directory,
        )


def send_inputs(
    repo: Repository, spec: Spec, sources: Sequence[Input], where: str, unlock: Unlock
) -> dict[str, Version]:
    """See to it that a remote has the inputs; return where each is to be had, by its name.

    Each is on a branch of the remote, so that it stays as long as the pipeline does not need
    another one. Raises NotFound, RemoteProblem, RemoteUnavailable.
    """
    place = unlock(find_remote(repo.store, where))
    refs = [
        Ref(
            one.wanted.target.data_set,
            inputs_branch(spec.name, number),
            "branch",
            one.commit,
            one.slot,
            one.time_ns,
        )
        for number, one in enumerate(sources)
    ]
    with connected(repo.store, place, write=True) as remote:
        push(repo, remote, place.name, refs, force=True)
    return {
        one.wanted.name: Version(
            place.url,
            place.endpoint,
            place.key_file,
            one.wanted.target.data_set,
            one.commit.hex(),
        )
        for one in sources
    }


def settle(order: Order, answer: Answer, read_part: ReadPart) -> Ended:
    """Bring what a worker has of an order; *lost* where the worker has it no more."""
    view = View(order.directory, {})
    view.log.write_bytes(answer.log)
    problem, lost = answer.problem, answer.lost
    if not problem:
        try:
            _bring(view.directory / NAME, answer, read_part)
        except (OSError, RemoteUnavailable) as error:
            problem, lost = f"what it wrote on {answer.worker} was lost: {error}", True
    return Ended(order.name, problem, answer.seconds, lost=lost)


def _bring(parcel: Path, answer: Answer, read_part: ReadPart) -> None:
    digest, size = blake3(), 0
    with parcel.open("wb") as file:
        while size < answer.size:
            part = read_part(answer.worker, answer.parcel, size)
            if not part:
                break
            file.write(part)
            digest.update(part)
            size += len(part)
    if (size, digest.digest()) != (answer.size, answer.digest):
        raise RemoteUnavailable("it did not come as it was")


def _code(spec: Spec) -> dict[str, CodeFile]:
    found: dict[str, CodeFile] = {}
    for name in spec.code:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise InvalidInput(
                f"the code '{name}' of the pipeline '{spec.name}' is not below {spec.directory}",
                hint="workers of other machines get what is there",
            )
        file = Path(spec.directory, name)
        found[name] = CodeFile(file.stat().st_mode & 0o777, file.read_bytes())
    if sum(len(file.data) for file in found.values()) > CODE_MAX_BYTES:
        raise InvalidInput(
            f"the code of the pipeline '{spec.name}' has more than {CODE_MAX_BYTES:,} bytes",
            hint="install it on the workers, or put it into a data set that is an input",
        )
    return found
