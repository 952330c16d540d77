"""Exact numbers: whether a float equals one, and how one is printed."""

from __future__ import annotations

from typing import Any

import numpy as np


def has_float(value: Any) -> bool:
    """Whether a 64-bit float is equal to a number; for NaN, that it is one."""
    # NumPy makes a float of its own integer to compare the two.
    given = int(value) if isinstance(value, np.integer) else value
    try:
        plain = float(given)
    except OverflowError:
        return False
    return bool(plain == given or plain != plain)


def shown_number(value: Any) -> str:
    """A number in a few characters: Python prints no integer above 10^4300."""
    if not isinstance(value, int):
        return repr(value)
    bits = value.bit_length()
    if bits < 64:
        return str(value)
    return f"{value:.3e}" if bits < 1000 else f"an int of {bits:,} bits"
