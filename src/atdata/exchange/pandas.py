"""DataFrames of pandas."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from atdata._registry import require
from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError, SchemaError
from atdata.exchange.arrow import source_of
from atdata.exchange.arrow_import import Columns, importer_of
from atdata.exchange.arrow_library import pa
from atdata.exchange.export import Export
from atdata.exchange.field_names import class_name
from atdata.exchange.forms.form import rows
from atdata.exchange.forms.scalars import Plain
from atdata.exchange.forms.table import Wanted, form_of
from atdata.exchange.importer import MODULE, Importer
from atdata.exchange.infer_values import seen
from atdata.samples.kinds import IntChoice, JsonValue, Kind, Misfit
from atdata.samples.missing import missing_mark

T = TypeVar("T")


def to_pandas(dataset: Dataset[Any]) -> Any:
    """All samples as a `pandas.DataFrame`; see `Dataset.to_pandas`."""
    pandas = require("pandas", purpose="DataFrames of pandas")
    export = Export(dataset)
    columns: dict[str, list[Any]] = {name: [] for name in export.forms}
    arrow: dict[str, list[Any]] = {name: [] for name in export.forms}
    for batch in export.batches():
        for name, form in export.forms.items():
            if _is_plain(form):
                arrow[name].append(batch.column(name))
            else:
                columns[name].extend(rows(form.kind, form.back(batch.column(name))))
    found = {}
    for name, form in export.forms.items():
        if not _is_plain(form):
            found[name] = pandas.Series(columns[name], dtype=object)
            continue
        column = pa.chunked_array(arrow[name], form.type)
        # In a column of NumPy, None would become NaN, and integers floats.
        mapper = pandas.ArrowDtype if export.fields[name].optional else None
        found[name] = column.to_pandas(types_mapper=mapper)
    return pandas.DataFrame(found)


def _is_plain(form: Any) -> bool:
    """Whether pandas has the values itself: numbers, text, times and categories."""
    return (isinstance(form, Plain) and not isinstance(form.kind, IntChoice)) or not (
        pa.types.is_nested(form.type) or form.note or pa.types.is_time(form.type)
    )


def from_pandas(
    frame: Any,
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
    name: str = "Row",
) -> Importer[Any]:
    """The rows of a DataFrame as samples. The index is left out: ``frame.reset_index()`` keeps it.

    NaN in a column of floats stays NaN. In a column of any other type, where pandas marks missing
    values so, it is None; the importer's notes say how many there are.

    Args:
        frame: The DataFrame.
        sample_type: As for `from_arrow`.
        columns: As for `from_arrow`.
        name: Name for the type that is made.

    Raises:
        OptionError: It is no DataFrame.
        SchemaError: A column holds values that no field can have; names it.
    """
    pandas = require("pandas", purpose="DataFrames of pandas")
    if not isinstance(frame, pandas.DataFrame):
        raise OptionError(f"Expected a DataFrame of pandas, found {type(frame).__name__}.")
    arrays, kinds = {}, {}
    for label in frame.columns:
        if not isinstance(label, str):
            raise OptionError(
                f"The DataFrame has a column {label!r}, whose name is no str. Rename it: "
                "frame.rename(columns=str)."
            )
        if label in arrays:
            raise SchemaError(f"Two columns are called {label!r}. Rename one of them.")
        arrays[label], kind = _array(frame[label], label, name)
        if kind is not None:
            kinds[label] = kind
    source = source_of(pa.table(arrays), "a DataFrame", name, kinds)
    return importer_of(source, sample_type, columns)


def _array(series: Any, label: str, name: str) -> tuple[Any, Kind | None]:
    if series.dtype != object:
        # Of NumPy's floats NaN is a value; elsewhere it marks what is missing.
        plain = isinstance(series.dtype, np.dtype) and series.dtype.kind == "f"
        try:
            array = pa.array(series.to_numpy() if plain else series, from_pandas=not plain)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise SchemaError(f"The column {label!r} of {series.dtype}: {error}") from None
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        return array, None
    values = [None if _is_missing(value) else value for value in series]
    if values and all(isinstance(value, float | None) for value in values):
        values = list(series)
    kind = seen(values).kind(f"{MODULE}.{class_name(name)}.{label}")
    if isinstance(kind, JsonValue) and all(value is None for value in values):
        return pa.nulls(len(values)), None
    try:
        # The class of the values may be another than the one that is made of their kind.
        return pa_values(kind, values), kind
    except Misfit as misfit:
        raise SchemaError(f"The column {label!r}: {misfit}") from None


def pa_values(kind: Kind, values: list[Any]) -> Any:
    """Python values of one kind as an Arrow array."""
    times = [value for value in values if getattr(value, "tzinfo", None) is not None]
    return form_of(kind, Wanted(aware=bool(times))).out(values)


def _is_missing(value: Any) -> bool:
    return value is None or missing_mark(value) is not None
