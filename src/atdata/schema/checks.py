"""What a schema may hold: its limits, names that a class can have, dtypes that are known.

Schemas come from strangers too, so that every one is measured before it is used.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from atdata._limits import limits
from atdata.errors import SchemaError
from atdata.samples.kinds import Field, Kind, ListOf, MapOf, Maybe, Nested

_NAMED_DTYPE = re.compile(r"bool|u?int(8|16|32|64)|float\d{2,3}|complex\d{2,3}")
_SORTS: Final = frozenset({"str", "bytes", "void", "datetime64", "timedelta64"})
_CODED_DTYPE = re.compile(
    r"[<>|=]([bBiufc]\d{1,2}|[SUV]\d{1,9}|[Mm]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)


def check_limits(name: str, fields: Sequence[Field]) -> None:
    """Refuse a schema that is too large, without walking more of it than the limits.

    Raises:
        SchemaError: Says which limit, and where.
    """
    seen = 0
    todo: list[tuple[str, Kind, int]] = []

    def add(path: str, inner: Sequence[Field], depth: int) -> None:
        if len(inner) > limits.fields:
            raise SchemaError(
                f"{name}: {path} has {len(inner):,} fields; at most {limits.fields:,} are allowed."
            )
        todo.extend((f"{path}.{field.name:.40}", field.kind, depth) for field in inner)

    add("$", fields, 1)
    while todo:
        path, kind, depth = todo.pop()
        seen += 1
        if depth > limits.nesting:
            raise SchemaError(f"{name}: nested more than {limits.nesting} deep, at {path:.200}.")
        if seen > limits.kinds:
            raise SchemaError(
                f"{name}: more than {limits.kinds:,} fields in all, nested ones included."
            )
        match kind:
            case ListOf(inner) | MapOf(inner):
                todo.append((f"{path}[]", inner, depth + 1))
            case Maybe(inner):
                todo.append((path, inner, depth + 1))
            case Nested():
                add(path, kind.fields, depth + 1)


def check_identifier(name: str, where: str) -> None:
    """Refuse a name that a Python class or one of its fields cannot have.

    Args:
        name: The name.
        where: What it names, for the error.

    Raises:
        SchemaError: Not an identifier, a keyword, reserved by Python, or written in a way that
            Python would turn into another name.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        problem = "is not a name that Python code can use"
    elif name.startswith("__"):
        problem = "is reserved by Python, or changed inside a class"
    elif unicodedata.normalize("NFKC", name) != name:
        problem = f"would become {unicodedata.normalize('NFKC', name)!r} in Python"
    else:
        return
    raise SchemaError(
        f"{where}: {name!r:.80} {problem}. No type can be made of this schema; "
        "read the data as atdata.DictSample."
    )


def known_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype that a schema names, or None where this NumPy has none of that name.

    A dtype of Python objects or one with fields is never known.
    """
    if not (name in _SORTS or _NAMED_DTYPE.fullmatch(name) or _CODED_DTYPE.fullmatch(name)):
        return None
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        return None
