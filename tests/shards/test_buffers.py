"""Memory is used again only when nobody can see it any more."""

from __future__ import annotations

import numpy as np

from atdata.shards.buffers import Buffers

SIZE = 1 << 21


def test_what_is_held_is_never_given_again() -> None:
    """Views of any sort keep a buffer in use, also when the array itself is gone."""
    buffers = Buffers()
    held = [
        memoryview(buffers.take(SIZE)),
        buffers.take(SIZE)[5:10],
        np.ndarray((4,), "<u4", memoryview(buffers.take(SIZE)), 0, (1,)),
        buffers.take(SIZE).view(np.float32),
    ]
    for _ in range(10):
        new = buffers.take(SIZE)
        assert not any(np.shares_memory(new, np.asarray(view)) for view in held)


def test_what_nobody_holds_is_given_again() -> None:
    """A buffer that was let go is used for the next one of its size, or a smaller one."""
    buffers = Buffers()
    place = buffers.take(SIZE).ctypes.data
    assert buffers.take(SIZE).ctypes.data == place
    assert buffers.take(SIZE - 100).ctypes.data == place
