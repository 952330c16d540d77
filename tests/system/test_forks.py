"""A process that forks while its threads hold locks has a child that works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.lenses.network import LensNetwork
from atdata.schema import build, reflect
from atdata.shards.columns.column import Buffers


@atdata.packable
class Whole:
    image: NDArray[np.float32]
    label: int


@atdata.packable
class Part:
    label: int


buffers = Buffers()
HELD: list[tuple[Any, Callable[[], object]]] = [
    (buffers._lock, lambda: buffers.take(1 << 20)),
    (build._lock, lambda: build.build_type(reflect.schema_of(Whole))),
    (LensNetwork._lock, lambda: LensNetwork().find(Whole, Part)),
]


@pytest.mark.parametrize(("lock", "use"), HELD, ids=["buffers", "types", "lenses"])
def test_a_lock_that_a_thread_holds_is_free_in_the_child(
    lock: Any, use: Callable[[], object]
) -> None:
    """The child does at once what waits for the thread in the parent."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)
        use()
        use()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    thread.join()
    use()


_ENDING = """
import _thread, os, sys, time
from atdata.system import forks

child = os.fork()  # What runs now is no thread of Python's.
if not child:
    os._exit(0)
os.waitpid(child, 0)
forks._ENDING_SECONDS = 600
ended = []

def end():
    time.sleep(0.05)
    ended.append(True)

_thread.start_new_thread(end, ())  # threading does not list it, as one that was joined.
child = os.fork()
if not child:
    os._exit(0 if ended else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system lists no threads")
def test_a_fork_waits_for_threads_that_end() -> None:
    """While the system ends a thread, OpenSSL holds a lock that a child could never take."""
    subprocess.run([sys.executable, "-c", _ENDING], check=True)


_JOINED = """
import os, signal, ssl, threading
import atdata.system.forks

def use():
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

for _ in range(400):
    threads = [threading.Thread(target=use) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if not child:
        signal.alarm(60)
        use()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_uses_openssl_right_after_threads_that_did() -> None:
    """Of 1,900 such forks, 2 hung when no fork waited."""
    subprocess.run([sys.executable, "-c", _JOINED], check=True)
