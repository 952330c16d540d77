"""Which line of a user's program a warning is about."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

_OURS: Final = frozenset({__name__.partition(".")[0], "contextlib", "functools"})
"""Modules of calls that are on the way from a user's line to a warning."""


def user_level() -> int:
    """The stacklevel, in the function that calls this, of the first line outside of atdata."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level
