"""Open files of datasets: bounded for the process, however many datasets there are."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol
from weakref import ref

from atdata.system.files import most_open_files
from atdata.system.forks import ForkLock

_MAX_OPEN_FILES: Final = 4096
"""Most files that are kept open, and no more than an eighth of what the system allows: a map takes
one more."""


class Holder(Protocol):
    """Who keeps files open, each by a number."""

    def let_go(self, number: int) -> None:
        """Close one of them, when nobody reads it any more; it can be opened again."""
        ...


def keep_open(holder: Holder, number: int) -> None:
    """Note that a file was opened; of all of them, the one that was opened first is let go."""
    with _lock:
        _held[id(holder), number] = ref(holder)
        _held.move_to_end((id(holder), number))
        over = []
        while len(_held) > min(_MAX_OPEN_FILES, max(1, most_open_files() // 8)):
            over.append(_held.popitem(last=False))
    for (_, of), other in over:
        found = other()
        if found is not None:
            found.let_go(of)


_held: OrderedDict[tuple[int, int], ref[Holder]] = OrderedDict()
_lock = ForkLock()
