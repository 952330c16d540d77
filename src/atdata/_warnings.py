"""Warnings, each pointing at the line of the user's program that caused it."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Final

from atdata.errors import AtdataWarning

_ON_THE_WAY: Final = frozenset({__name__.partition(".")[0], "contextlib", "functools"})
"""Packages whose calls lie between a user's line and a warning."""


def warn(warning: AtdataWarning) -> None:
    """Issue a warning about the nearest calling line outside of atdata."""
    frame: FrameType | None = sys._getframe()
    level = 0
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _ON_THE_WAY:
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level + 1)
