"""Payloads read into memory in the order in which they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from atdata.dataset.files import APART, Piece, ShardFiles
from atdata.shards.agree import Spots
from atdata.shards.buffers import Buffers
from atdata.shards.columns import Payloads
from atdata.shards.header import BLOCK
from atdata.shards.keys import KeyMatrix

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

_SMALL: Final = 8 << 10
"""Bytes of a payload up to which neighbours are read together, and then moved to their places."""
_SCRATCH: Final = 1 << 20
"""Bytes that are read before payloads are moved out of them: what the cache has room for."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where samples are, as their tables say; in ascending order of their positions."""

    starts: Integers
    """Where each header begins, shards thought of as `APART` from each other."""
    sizes: Integers
    """Bytes of each payload."""
    shards: list[int]
    """Numbers of the shards that they are in."""
    keys: KeyMatrix | None
    """The key of each in UTF-8, zeros behind shorter ones, where none is long."""


Check: TypeAlias = Callable[[Located, slice, Bytes, Integers], None]
"""Takes which samples were read, memory, and where in it each payload begins."""


class Placer:
    """Reads samples and puts them into order.

    Args:
        files: Where they are read from.
    """

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._buffers = Buffers()
        self._scratch = Buffers()

    def payloads(self, found: Located, places: Integers, check: Check) -> Payloads:
        """Payloads in their order.

        Args:
            found: Where the samples are.
            places: Which one each of them becomes: the numbers from 0 to before n.
            check: Called with what was read; raises where a table was wrong.

        Raises:
            WrongTableError: They are not where a table says.
        """
        count = len(places)
        starts, sizes = np.zeros(count, np.int64), np.empty(count, np.int64)
        sizes[places] = found.sizes
        buffer = np.empty(0, np.uint8)
        if count > 1 and int(sizes.max()) <= _SMALL:
            buffer = self._moved(found, places, starts, sizes, check)
        elif self._files.are_local(found.shards):
            buffer = self._in_place(found, places, starts, sizes, check)
        else:
            for piece in self._pieces(found, None):
                buffer = self._buffers.take(piece.size)
                self._files.load(piece, buffer)
                check(found, piece.part, buffer, piece.at + BLOCK)
                starts[places[piece.part]] = piece.at + BLOCK
        view: Any = buffer
        return Payloads(memoryview(view).toreadonly(), starts, starts + sizes)

    def _moved(
        self, found: Located, places: Integers, starts: Integers, sizes: Integers, check: Check
    ) -> Bytes:
        """Small payloads, away from headers and padding; those of one width are a matrix.

        Args:
            found: Where the samples are.
            places: Which row each becomes.
            starts: Filled with where each row begins.
            sizes: Bytes of each row.
            check: As for `payloads`.
        """
        same = bool((sizes == sizes[0]).all())
        # With their padding, payloads of many sizes have few widths.
        widths = sizes if same else (sizes + BLOCK - 1) // BLOCK * BLOCK
        bases: dict[int, int] = {}
        total = 0
        for width in [int(sizes[0])] if same else np.unique(widths).tolist():
            rows = slice(None) if same else np.flatnonzero(widths == width)
            count = len(starts[rows])
            starts[rows] = np.arange(total, total + count * width, width) if width else total
            bases[width] = total
            total += count * width
        buffer = self._buffers.take(total)
        matrices = {
            width: (base, buffer[base : base + (total - base) // width * width].view(f"V{width}"))
            for width, base in bases.items()
            if width
        }
        for piece in self._pieces(found, _SCRATCH):
            data = self._scratch.take(piece.size)
            self._files.load(piece, data)
            at, to = piece.at + BLOCK, places[piece.part]
            check(found, piece.part, data, at)
            if same:
                for _, matrix in matrices.values():
                    matrix[to] = Spots(data, at).read(0, matrix.itemsize)
                continue
            width_of, start_of = widths[to], starts[to]
            for width, (base, matrix) in matrices.items():
                mine = np.flatnonzero(width_of == width)
                if len(mine):
                    rows = (start_of[mine] - base) // width
                    matrix[rows] = Spots(data, at[mine]).read(0, width)
        return buffer

    def _in_place(
        self, found: Located, places: Integers, starts: Integers, sizes: Integers, check: Check
    ) -> Bytes:
        """Large payloads, each read to its place with its header; arguments as for `_moved`."""
        ends = np.cumsum(sizes + BLOCK)
        starts[:] = ends - sizes
        buffer = self._buffers.take(int(ends[-1]) if len(ends) else 0)
        view: Any = memoryview(buffer)  # type: ignore[arg-type]
        spans = (found.starts // APART, starts[places], ends[places], found.starts % APART)
        self._files.read(
            [
                (number, view[begin - BLOCK : end], start)
                for number, begin, end, start in zip(*(x.tolist() for x in spans), strict=True)
            ]
        )
        check(found, slice(0, len(places)), buffer, starts[places])
        return buffer

    def _pieces(self, found: Located, portion: int | None) -> list[Piece]:
        """How the samples are read, with the headers before them and the padding behind."""
        ends = found.starts + BLOCK + (found.sizes + BLOCK - 1) // BLOCK * BLOCK
        return self._files.pieces(found.starts, ends, portion)
