"""What commands print: JSON for programs; tables, lines and progress bars for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from atdata._secrets import redacted
from atdata.cli.plain import plain
from atdata.samples.media import Media


def emit(value: Any, *, samples: bool = False) -> None:
    """Print one JSON document on one line, in ASCII, which no terminal takes for commands.

    JSON has no NaN or infinities: they are printed as "NaN", "Infinity" and "-Infinity". Samples
    are printed unchanged; in anything else secrets are hidden.
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
    """Print a line for the user on standard error: standard output carries only data."""
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
    if isinstance(value, Media):
        return {"format": value.format, "bytes": len(value)}
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


def brief(value: Any, width: int = 60) -> str:
    """A field's value in brief: arrays as dtype and shape, long text cut."""
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
    """A number of bytes in a readable unit (10**3 = 1 kB); "" if unknown."""
    if count is None:
        return ""
    number, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{count:,} bytes" if units[0] == "bytes" else f"{number:.3g} {units[0]}"


def count(number: int | None) -> str:
    """A number with commas; "" if unknown."""
    return "" if number is None else f"{number:,}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on a terminal; elsewhere one line a row, cells separated by tabs."""
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


def listing(
    found: Iterable[Any], headers: Sequence[str], row: Callable[[Any], Sequence[str]], as_json: bool
) -> None:
    """Print each of several things as JSON, a line for each, or all of them as a table."""
    if as_json:
        for one in found:
            emit(one)
    else:
        table(headers, map(row, found))


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print one line a fact, names in a column; empty facts are left out."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        first, *rest = plain(redacted(value), lines=True).splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")


@contextmanager
def progress(
    what: str, total: int | None, *, unit: str = "bytes"
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal, while the block runs.

    Yields a function that takes how much more has been done; the total may be unknown.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
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
        yield partial(bars.advance, bars.add_task(plain(what), total=total))
