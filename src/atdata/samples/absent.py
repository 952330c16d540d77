"""Marks that other libraries set for a missing value, where a sample has None"""

from __future__ import annotations

from typing import Any

import numpy as np


def found_in(value: Any) -> Any:
    """A value for an error: what is said of it, or itself, where None should be written for it."""
    if value is None or not none_instead(value):
        return "None" if value is None else type(value).__name__
    return value


def none_instead(value: Any) -> tuple[str, str] | None:
    """What a mark of a missing value is called, and what to write for it; None: it is none."""
    name = type(value).__name__
    if name in ("NAType", "NaTType") and type(value).__module__.startswith("pandas."):
        return str(value), "Write None for it: None if pandas.isna(x) else x."
    if isinstance(value, float | np.floating | np.datetime64) and value != value:
        shown = "NaT" if isinstance(value, np.datetime64) else "NaN"
        return shown, "Write None for it: x if x == x else None."
    return None
