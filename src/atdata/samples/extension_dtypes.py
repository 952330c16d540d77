"""Dtypes that the package ml_dtypes adds to NumPy, such as bfloat16, float8 and int4, by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from atdata._registry import install_line, require
from atdata.errors import MissingExtraError

EXTENSION_DTYPES: Final = frozenset(
    {
        *("bfloat16", "bcomplex32", "complex32", "float4_e2m1fn"),
        *("int1", "int2", "int4", "uint1", "uint2", "uint4"),
        *("float6_e2m3fn", "float6_e3m2fn", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    }
)
"""Their names, which no dtype of NumPy has. The header of a stored array has them as they are."""


@lru_cache(maxsize=64)
def extension_dtype(name: str) -> np.dtype[Any]:
    """The dtype of one of `EXTENSION_DTYPES`. Imports ml_dtypes.

    Raises:
        MissingExtraError: It is not installed, or a version without this dtype.
    """
    package = require("ml_dtypes", purpose=f"Arrays of {name}")
    scalar = getattr(package, name, None)
    if scalar is None:
        raise MissingExtraError(
            f"Arrays of {name} need a newer version of the package 'ml_dtypes'. Install it with: "
            f"{install_line('dtypes')} --upgrade"
        )
    found: np.dtype[Any] = np.dtype(scalar)
    return found


def is_extension(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of them."""
    return dtype.name in EXTENSION_DTYPES and dtype.fields is None


def has_nan(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of them whose values can be NaN."""
    return is_extension(dtype) and "int" not in dtype.name
