"""Warnings, each pointing at the line of the user's program that caused it."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Final

from atdata._secrets import redacted
from atdata.errors import AtdataWarning

_ON_THE_WAY: Final = frozenset({__name__.partition(".")[0], "contextlib", "functools"})
"""Packages whose calls lie between a user's line and a warning."""


def warn(warning: AtdataWarning) -> None:
    """Issue a warning about the nearest calling line outside of atdata."""
    _issue(warning, type(warning))


def repeat_warning(kind: type[Warning], text: str) -> None:
    """Issue a warning that another process gave, of any class; as `warn`."""
    _issue(redacted(text), kind)


def _issue(warning: AtdataWarning | str, kind: type[Warning]) -> None:
    frame: FrameType | None = sys._getframe()
    level = 0
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _ON_THE_WAY:
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, kind, stacklevel=level + 1)
