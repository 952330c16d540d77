"""Whether two samples are the same: types, NaN and dtypes included."""

from __future__ import annotations

from typing import Any

import numpy as np


def same(a: Any, b: Any) -> bool:
    """Whether two values are of one type and equal, NaN to NaN."""
    codec = getattr(type(a), "__atdata_codec__", None)
    if codec is not None:
        # The class may be another one, made of an equal schema.
        other = getattr(type(b), "__atdata_codec__", None)
        return (
            other is not None
            and codec.name == other.name
            and codec.fields == other.fields
            and all(same(getattr(a, f.name), getattr(b, f.name)) for f in codec.fields)
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        nan = a.dtype.kind in "fcmM"
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=nan)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b) or (a != a and b != b)
