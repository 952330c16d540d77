"""Memory is used again only when nobody can see it any more."""

from __future__ import annotations

import numpy as np
import pytest

from atdata.shards.columns.column import Buffers

pytestmark = pytest.mark.parametrize("size", [1 << 21, 1 << 24])


def test_what_is_held_is_never_given_again(size: int) -> None:
    """Views of any sort keep a buffer in use, also when the array itself is gone."""
    buffers = Buffers()
    held = [
        buffers.take(size).data,
        buffers.take(size)[5:10],
        np.ndarray((4,), "<u4", buffers.take(size).data, 0, (1,)),
        buffers.take(size).view(np.float32),
    ]
    for _ in range(10):
        new = buffers.take(size)
        assert not any(np.shares_memory(new, np.asarray(view)) for view in held)


def test_what_nobody_holds_is_given_again(size: int) -> None:
    """A buffer that was let go is used for the next one of its size, or a smaller one."""
    buffers = Buffers()
    place = buffers.take(size).ctypes.data
    assert buffers.take(size).ctypes.data == place
    assert buffers.take(size - 100).ctypes.data == place
