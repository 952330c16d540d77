"""Worker processes that end soon after the process that they work for."""

from __future__ import annotations

import multiprocessing
import os
import threading
from functools import cache
from multiprocessing.connection import wait
from typing import Any, Final

_CHECK_SECONDS: Final = 1.0
"""Seconds between two checks of the parent's id, where the system does not signal its end."""


@cache
def end_with_parent() -> None:
    """Let this worker end soon after the process that it works for, however that one ended.

    A worker that waits for room in a pipe would wait forever: it holds the pipe's other end, too.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="atdata-parent", daemon=True).start()


def _watch(parent: Any) -> None:
    before = os.getppid()
    ends = [parent.sentinel]
    if hasattr(os, "pidfd_open"):
        try:
            # The sentinel is open as long as any process has its other end, by a fork perhaps.
            ends.append(os.pidfd_open(parent.pid))
        except ProcessLookupError:
            os._exit(1)
        except OSError:
            pass
    while os.getppid() == before and not wait(ends, _CHECK_SECONDS):
        pass
    os._exit(1)
