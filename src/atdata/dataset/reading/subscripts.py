"""Subscripts of a dataset: numbers, slices and lists → positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from atdata._arrays import AnyArray, Integers
from atdata.errors import OptionError, SampleNotFoundError


def positions_of(index: Any, samples: int) -> Integers:
    """The positions that an index means.

    Args:
        index: A number, a slice, or numbers; negative ones count from the end.
        samples: Samples of the dataset.

    Raises:
        SampleNotFoundError: One is out of range.
        OptionError: Not numbers.
    """
    if isinstance(index, slice):
        return np.arange(samples, dtype=np.int64)[index]
    if type(index) is int:
        if not -samples <= index < samples:
            raise _missing(index, samples)
        return np.array([index if index >= 0 else index + samples])
    wanted = _numbers(index)
    # Compared as what they are: a conversion would wrap numbers that int64 does not hold.
    wrong = (wanted < -samples) | (wanted >= samples)
    if wrong.any():
        raise _missing(int(wanted[wrong][0]), samples)
    positions = wanted.astype(np.int64)
    return np.where(positions < 0, positions + samples, positions)


def listed(index: Any) -> Integers:
    """Numbers of positions before the number of samples is known.

    Raises:
        SampleNotFoundError: One that no dataset has.
        OptionError: Not numbers.
    """
    wanted = _numbers(index)
    beyond = [int(number) for number in wanted[(wanted >= 2**62) | (wanted < -(2**62))]]
    if beyond:
        raise SampleNotFoundError(f"There is no sample {beyond[0]}: no dataset has so many.")
    return wanted.astype(np.int64)


def check_slice(index: slice) -> None:
    """Validate a slice before the number of samples is known.

    Raises:
        OptionError: Its ends are no whole numbers, or its step is 0.
    """
    try:
        slice(*index.indices(0)), range(0)[index]
    except (TypeError, ValueError) as error:
        raise OptionError(f"{index}: {error}.") from None


def _numbers(index: Any) -> AnyArray:
    """Numbers as an array: int64, uint64, or Python's own where these do not hold them."""
    try:
        wanted = np.atleast_1d(np.asarray(index, np.int64 if not np.size(index) else None))
        listed = wanted.dtype.kind == "f" and not isinstance(index, np.ndarray)
        if listed or wanted.dtype == object:
            # NumPy makes floats of integers that no type of its own holds together.
            wanted = np.array([*index] if np.ndim(index) else [index], object)
    except (TypeError, ValueError, OverflowError):
        wanted = np.array([[None]])
    good = wanted.ndim == 1 and wanted.dtype.kind in "iuO"
    if good and (wanted.dtype == object or isinstance(index, list | tuple)):
        kinds = set(map(type, wanted if wanted.dtype == object else index))
        good = all(issubclass(kind, int | np.integer) for kind in kinds) and bool not in kinds
    if not good:
        raise OptionError(
            f"dataset[{index!r:.80}]: expected a whole number, a slice, or a list of numbers. "
            "Samples by key: dataset.by_key(key)."
        )
    return wanted


def _missing(position: int, samples: int) -> SampleNotFoundError:
    there = (
        f"the dataset has {samples:,}. Positions go from 0 to {samples - 1}, and from -1 for the "
        f"last to {-samples} for the first."
    )
    return SampleNotFoundError(
        f"There is no sample {position}: {there if samples else 'the dataset has none.'}"
    )
