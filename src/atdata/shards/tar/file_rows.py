"""Rows of a file read into arrays: one copy, without the page faults of a map."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

from atdata._arrays import AnyArray
from atdata.errors import ShardError
from atdata.system.calls import read_into
from atdata.system.forks import at_fork
from atdata.system.regular_files import open_number

_HALVED_BYTES: Final = 1 << 22
"""Bytes from which on two threads read a half each."""
_MOST_BUFFERS: Final = 1024
"""Most buffers of one `preadv`; Linux takes as many."""


class FileRows:
    """A file whose rows are read straight into arrays.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = open_number(path)
        """The file's descriptor."""
        self.size = os.fstat(self.number).st_size
        """Bytes of the file when it was opened."""

    # When the interpreter ends, modules may be gone before this.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "number"):
            close(self.number)

    def read(self, out: AnyArray, first: int, stride: int) -> None:
        """Fill an array with rows of the file.

        Args:
            out: Shape (n, size), uint8, in C order.
            first: Where the first row begins.
            stride: Bytes from the start of one row to that of the next, at least ``size``.

        Raises:
            ShardError: The file ends before.
        """
        half = len(out) // 2 if out.nbytes >= _HALVED_BYTES else 0
        first_half: Future[None] | None = None
        if half:
            first_half = _helper().submit(self._read, out[:half], first, stride)
        try:
            self._read(out[half:], first + half * stride, stride)
        finally:
            if first_half is not None:
                first_half.result()

    def _read(self, out: AnyArray, first: int, stride: int) -> None:
        self.read_rows(list(out), first, stride)

    def read_rows(self, rows: Sequence[AnyArray], first: int, stride: int) -> None:
        """As `read`, for rows that are separate arrays of one size."""
        # preadv cannot skip bytes: those between the rows go to one buffer, which is not used.
        between = bytearray(stride - rows[0].nbytes if len(rows) else 0)
        most = _MOST_BUFFERS // 2
        for start in range(0, len(rows), most):
            parts: list[Any] = []
            for row in rows[start : start + most]:
                parts += (row, between)
            parts.pop()
            self._fill(parts, first + start * stride)

    def _fill(self, parts: list[Any], at: int) -> None:
        """Read until every part is full: one read may give less than was asked for."""
        while parts:
            count = read_into(self.number, parts, at)
            if not count:
                raise ShardError("cut short while it was read", shard=str(self._path), offset=at)
            at += count
            done = 0
            while done < len(parts) and count >= len(parts[done]):
                count -= len(parts[done])
                done += 1
            del parts[:done]
            if count:
                parts[0] = memoryview(parts[0])[count:]


@cache
def _helper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "atdata-copy")


# A forked child has no threads.
at_fork(after_in_child=_helper.cache_clear)
