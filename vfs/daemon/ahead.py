"""The process beside the workers of a remote's mount: fetches what they expect to be read.

It may be killed at any moment, and is: what it has not stored yet is fetched again.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from vfs.daemon.children import kill
from vfs.daemon.linux import die_with, set_process_name

if TYPE_CHECKING:
    from vfs.daemon.spec import MountSpec

log = logging.getLogger(__name__)

_ENDING: Final = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def fetch_ahead(spec: MountSpec, ready: Callable[[], None]) -> None:
    """Do so until a signal ends it. *spec* has hints."""
    from vfs.sync import cache  # noqa: PLC0415 - most mounts know no remote

    set_process_name("vfs-ahead")
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    assert spec.patience is not None
    assert spec.patience.hints is not None
    cache.fetch_ahead(spec.store, spec.patience, spec.patience.hints, ready)


@contextmanager
def beside(spec: MountSpec) -> Iterator[None]:
    """Have a child do so, for whoever keeps branches, if *spec* has hints. It is not replaced.

    Where it has died, what is missing comes a second later (`vfs.sync.ondemand`).
    """
    if spec.patience is None or spec.patience.hints is None:
        yield
        return
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            die_with(parent)
            fetch_ahead(spec, lambda: None)
        except BaseException:
            log.exception("nothing is fetched ahead")
        finally:
            os._exit(1)
    try:
        yield
    finally:
        kill([child])
