"""What a datum wrote on another machine, on its way: a bundle that holds it as a version.

So all of it is verified as what comes from any remote: each object by its id, each node by its
parent. Memory does not grow with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.errors import RemoteProblem
from vfs.model.commit import Commit
from vfs.model.names import DEFAULT_BRANCH
from vfs.pipeline.collect import Collector
from vfs.repo.repository import Repository
from vfs.store.layout import Kind
from vfs.sync.accepting import Acceptance
from vfs.sync.progress import SILENT
from vfs.sync.push import push
from vfs.sync.receiving import Receiver
from vfs.sync.remotes import RemotePlace, connected

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.store.ingest import Ingest

NAME: Final = "output.vfsbundle"
_DATA_SET: Final = "datum"


def pack(output: Path, datum: str, directory: Path) -> Path:
    """Make the parcel of what the datum *datum* wrote to *output*, in *directory*; return its path.

    Raises SourceProblem for what can't be in an output.
    """
    scratch = directory / "store"
    with Repository.create(scratch) as repo:
        repo.create_data_set(_DATA_SET)
        with repo.store.ingest() as ingest:
            with Collector(ingest) as collector:
                root = collector.collect(output)
            ingest.flush()
            repo.commit_root(
                _DATA_SET, DEFAULT_BRANCH, lambda _head: root, ingest=ingest, message=datum
            )
        place = RemotePlace("", str(directory / NAME))
        with connected(repo.store, place, write=True) as remote:
            push(repo, remote, "", repo.refs(_DATA_SET))
    shutil.rmtree(scratch)
    return directory / NAME


def unpack(repo: Repository, ingest: Ingest, parcel: Path, datum: str) -> Entry:
    """Store what a parcel holds, and return its root. Raises RemoteProblem."""
    with connected(repo.store, RemotePlace("", str(parcel))) as remote:
        remote.refresh()
        head = remote.refs.head(_DATA_SET, DEFAULT_BRANCH)
        if head is None or head.commit is None:
            raise RemoteProblem(f"the parcel {parcel} is empty")
        commit = Commit.decode(remote.objects.nodes({head.commit: Kind.COMMIT})[head.commit])
        if commit.message != datum:
            raise RemoteProblem(f"the parcel {parcel} is of another datum")
        receiver = Receiver(repo.reader, ingest, remote, SILENT)
        Acceptance(receiver, repo.nodes).version(commit, None)
        receiver.run()
    return commit.root
