"""Names of columns → names that fields can have."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from atdata.samples.packable import PackableSample, name_problem

_TAKEN: Final = frozenset(name for name in dir(PackableSample) if not name.startswith("_"))
"""Names of a sample's own methods."""


def field_names(columns: Sequence[str]) -> list[str]:
    """For each column a name that Python code can use, all different.

    ``image url`` becomes ``image_url``, ``class`` becomes ``class_``, ``2024`` becomes ``_2024``;
    good names stay as they are.
    """
    good = {column for column in columns if _is_good(column)}
    found: list[str] = []
    for column in columns:
        name = column if column in good else _good(column)
        number, made = 2, name
        while made in found or (made in good and made != column):
            made, number = f"{name}_{number}", number + 1
        found.append(made)
    return found


def _is_good(name: str) -> bool:
    return name_problem(name) is None and name not in _TAKEN


def _good(column: str) -> str:
    name = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", column)).strip("_") or "column"
    if name[0].isdigit() or not name.isidentifier():
        name = f"_{name}"
    if keyword.iskeyword(name) or name in _TAKEN:
        name = f"{name}_"
    return name if _is_good(name) else "column"


def class_name(text: str) -> str:
    """The name of a class for what a file or field is called: ``my-digits`` → ``MyDigits``."""
    words = re.findall(r"[^\W_]+", text)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return made if made.isidentifier() else f"Row{made}" if f"Row{made}".isidentifier() else "Row"
