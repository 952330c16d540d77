"""Nesting depth of values, counted here because parsers fail at different depths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|' rb"'(?:[^'\\]|\\.)*'", re.DOTALL)
_JSON_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STEP: Final = np.zeros(256, np.int8)
"""Byte → change of depth after it."""
_STEP[list(b"[{(")] = 1
_STEP[list(b"]})")] = -1


def text_is_deeper(text: bytes, most: int, *, python: bool = False) -> bool:
    """Whether brackets of JSON, or of a Python literal, are nested more than ``most`` deep.

    One pass without recursion, before a parser sees the text. Brackets in strings do not count.
    """
    if sum(map(text.count, (b"[", b"{", b"("))) <= most:
        return False
    bare = (_STRINGS if python else _JSON_STRINGS).sub(b"", text)
    steps = _STEP[np.frombuffer(bare, np.uint8)]
    return bool(steps.cumsum(dtype=np.int64).max(initial=0) > most)


def value_is_deeper(value: Any, most: int) -> bool:
    """Whether lists and mappings are nested more than ``most`` deep in a decoded value."""
    level = [value]
    for _ in range(most):
        level = [
            item
            for each in level
            if isinstance(each, (list, tuple, Mapping))
            for item in (each.values() if isinstance(each, Mapping) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, (list, tuple, Mapping)) for each in level)
