"""Aliases for the NumPy arrays that pass between modules, and rows as bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

# NumPy imports it on first use, as in np.unique: see `atdata.system.forks.importing`.
import numpy.ma

AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""Counts, sizes in bytes, offsets in a file, positions of samples."""

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

Indices: TypeAlias = slice | np.ndarray[Any, np.dtype[np.intp]]
"""Which rows of an array, as NumPy takes them."""


def slices(rows: Bytes) -> list[bytes]:
    """The rows of a matrix, shape (n, size), as n copies of `size` bytes."""
    size, data = rows.shape[1], rows.tobytes()
    return [data[at : at + size] for at in range(0, len(data), size)]
