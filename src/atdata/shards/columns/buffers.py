"""Memory that is used again: the pages of fresh memory cost more time than filling them."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from atdata._arrays import Bytes
from atdata.system.calls import fresh_memory
from atdata.system.forks import ForkLock

_SMALLEST_KEPT_BYTES: Final = 1 << 18
"""Bytes from which on a buffer is kept: smaller ones are kept by the allocator."""
_MAPPED_BYTES: Final = 1 << 23
"""Bytes from which on memory is taken from the system by itself."""
_LARGEST_KEPT_BYTES: Final = 1 << 27
"""Bytes of the largest buffer that is kept when nobody uses it."""
_SPARE_BYTES: Final = 1 << 22
"""Most bytes that a buffer is made larger than asked for."""
_FREED_BYTES: Final = 1 << 24
"""Half of what the allocator keeps of freed memory, in bytes."""
_UNUSED_REFERENCES: Final = 3
"""References to a buffer that nobody holds: the list's, the loop's and the question's own."""


class Buffers:
    """Buffers that are given again when nobody holds a view of them any more.

    Args:
        most: How many are kept: by default one in use, and one that is filled meanwhile.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._kept: list[Bytes] = []
        self._lock = ForkLock()

    def take(self, size: int) -> Bytes:
        """So many bytes, of any content. In use as long as an array or a memoryview of them is."""
        if not _SMALLEST_KEPT_BYTES <= size <= _LARGEST_KEPT_BYTES:
            return np.empty(size, np.uint8)
        with self._lock:
            for kept in self._kept:
                if len(kept) >= size and sys.getrefcount(kept) <= _UNUSED_REFERENCES:
                    return kept[:size]
            # The next one is likely to be a little longer.
            made = _fresh(size + min(size // 8, _SPARE_BYTES))
            self._kept = [made, *self._kept][: self._most]
            return made[:size]


def _fresh(size: int) -> Bytes:
    """Memory; straight from the system where it is large: the allocator would keep it."""
    if size < _MAPPED_BYTES:
        return np.empty(size, np.uint8)
    return np.frombuffer(fresh_memory(size), np.uint8)


# How much of what is freed glibc keeps, it learns from the largest piece that it saw freed. This
# one is never touched and costs nothing; without it, temporary arrays are of fresh memory always.
np.empty(_FREED_BYTES, np.uint8)
