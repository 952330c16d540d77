"""Marks of missing values that other libraries set, such as NaN and pandas.NA."""

from __future__ import annotations

from typing import Any

import numpy as np


def found_for_error(value: Any) -> Any:
    """What an error says it found: a type's name, or the value itself if it is such a mark."""
    if value is None or not missing_mark(value):
        return "None" if value is None else type(value).__name__
    return value


def missing_mark(value: Any) -> tuple[str, str] | None:
    """The name of a mark, and how to write None in its place; None: the value is no mark."""
    name = type(value).__name__
    if name in ("NAType", "NaTType") and type(value).__module__.startswith("pandas."):
        return str(value), "Write None for it: None if pandas.isna(x) else x."
    if isinstance(value, float | np.floating | np.datetime64) and value != value:
        shown = "NaT" if isinstance(value, np.datetime64) else "NaN"
        return shown, "Write None for it: x if x == x else None."
    return None
