"""Work with a remote in a process of its own, for one that is to fork others afterwards.

Clients of object stores have threads. Behind a fork these are not there, and whoever asks the
client there waits for ever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from typing import TypeVar

from vfs.errors import RemoteUnavailable

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Return what *work* returns in a forked child, or raise what it raises there.

    Terminal and standard input are the child's, too. Raises RemoteUnavailable if it is killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    answers, answer = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            answer.send((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the parent
            answer.send((None, error))
        finally:
            os._exit(0)
    answer.close()
    outcome: tuple[T, BaseException | None]
    try:
        with answers:
            outcome = answers.recv()
    except EOFError:
        raise RemoteUnavailable("the process that asked the remote was killed") from None
    finally:
        os.waitpid(child, 0)
    result, problem = outcome
    if problem is not None:
        raise problem
    return result
