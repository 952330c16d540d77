"""A process that forks while its threads hold locks has a child that works."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
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
