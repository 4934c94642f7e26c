"""The process beside those that serve a remote's mount: fetches what they expect to be read.

It may be killed at any moment, and is: what it has not stored yet is fetched again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from vfs.daemon.linux import set_process_name

if TYPE_CHECKING:
    from vfs.daemon.spec import MountSpec

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
