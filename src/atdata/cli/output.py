"""What commands print: JSON for programs, tables and lines for people, bars for the patient."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

import numpy as np

from atdata._secrets import redacted


def emit(value: Any, *, samples: bool = False) -> None:
    """Print one JSON document on one line. ASCII, so that no text acts on a terminal.

    JSON has no NaN and no infinities: they are the strings "NaN", "Infinity" and "-Infinity".

    Args:
        value: What to print.
        samples: Whether it is a sample, which is printed as it is; elsewhere secrets are hidden.
    """
    shown = value if samples else _redacted(value)
    try:
        print(json.dumps(shown, default=_as_json, allow_nan=False))
    except ValueError:
        print(json.dumps(_with_named_floats(shown), default=_as_json, allow_nan=False))


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {key: _redacted(item) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item) for item in value]
        case _:
            return value


def note(text: str) -> None:
    """Print a line for the person on standard error, which keeps standard output data alone."""
    print(f"note: {plain(text)}", file=sys.stderr)


def _with_named_floats(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, Mapping):
        return {key: _with_named_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_named_floats(item) for item in value]
    if hasattr(value, "__atdata_codec__"):
        return _with_named_floats(_as_json(value))
    return value


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: value[key] for key in value}
    codec = getattr(value, "__atdata_codec__", None)
    if codec is not None:
        return {field.name: getattr(value, field.name) for field in codec.fields}
    return str(value)


def plain(text: str, *, lines: bool = False) -> str:
    """Text of others made safe to print: what would act on a terminal is written out.

    Args:
        text: Anything, for instance a name from the network.
        lines: Whether line breaks may stay.
    """
    return "".join(c if _prints(c) or (lines and c == "\n") else _written_out(c) for c in text)


def _prints(char: str) -> bool:
    # Cc and Cf: escape sequences, and marks that turn the direction of the text around.
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def brief(value: Any, width: int = 60) -> str:
    """A field's value in a few words: arrays by dtype and shape, long text cut."""
    if isinstance(value, np.ndarray):
        if value.ndim == 0 or value.size > 4:
            return f"{value.dtype} {value.shape}"
        return f"{value.dtype} {value.tolist()}"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, list | tuple):
        shown = ", ".join(brief(item, 20) for item in value[:3])
        return f"[{shown}, … {len(value):,} items]" if len(value) > 3 else f"[{shown}]"
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "__atdata_codec__"):
        value = _as_json(value)
    text = plain(str(value))
    return text if len(text) <= width else text[: width - 1] + "…"


def size(count: int | None) -> str:
    """Bytes in a unit that a person reads (10**3 = 1 kB); "" where it is not known."""
    if count is None:
        return ""
    number, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{count:,} bytes" if units[0] == "bytes" else f"{number:.3g} {units[0]}"


def count(number: int | None) -> str:
    """A number with commas; "" where it is not known."""
    return "" if number is None else f"{number:,}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere one line a row, its cells parted by tabs."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(plain(redacted(cell)) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False)
    for header in headers:
        made.add_column(header, overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(redacted(cell))) for cell in row))
    Console().print(made)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """One line a fact, the names in a column; facts that are empty are left out."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        first, *rest = plain(redacted(value), lines=True).splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")


class Bar(Protocol):
    """A progress bar."""

    def advance(self, amount: int) -> None:
        """So much more is done."""
        ...


class _NoBar:
    def advance(self, amount: int) -> None:
        """Nothing to show it on."""


@contextmanager
def progress(what: str, total: int | None, *, unit: str = "bytes") -> Iterator[Bar]:
    """A progress bar on standard error while the block runs, if that is a terminal.

    Args:
        what: What is done, for the bar's beginning.
        total: How much there is to do; None: not known.
        unit: ``bytes`` or what else is counted.
    """
    if not sys.stderr.isatty():
        yield _NoBar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    done = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), done)
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        yield _RichBar(bars, bars.add_task(plain(what), total=total))


class _RichBar:
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int) -> None:
        self._bars.advance(self._task, amount)
