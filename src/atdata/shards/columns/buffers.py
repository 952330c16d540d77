"""Reused buffers: fresh memory costs more in page faults than in filling it."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from atdata._arrays import Bytes
from atdata.system.calls import fresh_memory
from atdata.system.forks import ForkLock

_SMALLEST_KEPT_BYTES: Final = 1 << 18
"""Bytes from which on a buffer is kept; the allocator itself reuses smaller ones."""
_MAPPED_BYTES: Final = 1 << 23
"""Bytes from which on memory is mapped, not allocated."""
_LARGEST_KEPT_BYTES: Final = 1 << 27
"""Bytes of the largest buffer that is kept while unused."""
_SPARE_BYTES: Final = 1 << 22
"""Most bytes by which a buffer is larger than asked for."""
_FREED_BYTES: Final = 1 << 24
"""Half of the freed memory that the allocator then keeps, in bytes."""
_UNUSED_REFERENCES: Final = 3
"""References to a buffer that is not in use: the list, the loop variable, and the call itself."""


class Buffers:
    """Buffers that are reused once no view of them is left.

    Args:
        most: How many are kept. By default two: one in use while the other is filled.
        largest: Bytes of the largest buffer that is kept while unused.
    """

    def __init__(self, most: int = 2, largest: int = _LARGEST_KEPT_BYTES) -> None:
        self._most = most
        self._largest = largest
        self._kept: list[Bytes] = []
        self._lock = ForkLock()

    def take(self, size: int) -> Bytes:
        """A buffer of this many bytes, of any content; in use as long as a view of it exists."""
        if not _SMALLEST_KEPT_BYTES <= size <= self._largest:
            return np.empty(size, np.uint8)
        with self._lock:
            for kept in self._kept:
                # Every view of a buffer holds a reference to it, so the count shows if one is left.
                if len(kept) >= size and sys.getrefcount(kept) <= _UNUSED_REFERENCES:
                    return kept[:size]
            # The next one is likely to be a little longer.
            made = _fresh(size + min(size // 8, _SPARE_BYTES))
            self._kept = [made, *self._kept][: self._most]
            return made[:size]


def _fresh(size: int) -> Bytes:
    """New memory, mapped if large: the allocator would keep it after use."""
    if size < _MAPPED_BYTES:
        return np.empty(size, np.uint8)
    return np.frombuffer(fresh_memory(size), np.uint8)


# How much of what is freed glibc keeps, it learns from the largest piece that it saw freed. This
# one is never touched and costs nothing; without it, temporary arrays are of fresh memory always.
np.empty(_FREED_BYTES, np.uint8)
