"""DataFrames of Polars."""

from __future__ import annotations

from typing import Any, TypeVar

from atdata._registry import require
from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError
from atdata.exchange.arrow import source_of
from atdata.exchange.arrow_import import Columns, importer_of
from atdata.exchange.importer import Importer

T = TypeVar("T")


def to_polars(dataset: Dataset[Any]) -> Any:
    """All samples as a `polars.DataFrame`; see `Dataset.to_polars`."""
    return require("polars", purpose="DataFrames of Polars").DataFrame(dataset)


def from_polars(
    frame: Any,
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
    name: str = "Row",
) -> Importer[Any]:
    """The rows of a DataFrame of Polars as samples. A LazyFrame is collected.

    Args:
        frame: The DataFrame.
        sample_type: As for `from_arrow`.
        columns: As for `from_arrow`.
        name: Name for the type that is made.

    Raises:
        OptionError: It is no DataFrame of Polars.
        SchemaError: A column of a type that no field can have; names it.
    """
    polars = require("polars", purpose="DataFrames of Polars")
    if isinstance(frame, polars.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, polars.DataFrame):
        raise OptionError(f"Expected a DataFrame of Polars, found {type(frame).__name__}.")
    return importer_of(source_of(frame.to_arrow(), "a DataFrame", name), sample_type, columns)
