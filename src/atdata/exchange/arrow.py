"""Arrow: tables, batches and streams of any library that speaks its C interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from atdata.dataset.dataset import Dataset
from atdata.dataset.exports import ColumnTypes
from atdata.errors import OptionError
from atdata.exchange.arrow_import import ArrowSource, Columns, importer_of, rows_of
from atdata.exchange.arrow_library import pa
from atdata.exchange.export import Export
from atdata.exchange.importer import Importer
from atdata.exchange.infer import UNKNOWN, Nulls, survey
from atdata.samples.kinds import Kind

T = TypeVar("T")


def to_arrow(dataset: Dataset[Any], *, types: ColumnTypes | None = None) -> Any:
    """All samples of a dataset as a `pyarrow.Table`, in memory."""
    export = Export(dataset, types)
    return pa.Table.from_batches(export.batches(), export.schema)


def stream_of(dataset: Dataset[Any], requested_schema: Any = None) -> Any:
    """The capsule of Arrow's C stream interface, from which any library reads batch by batch."""
    return Export(dataset).reader().__arrow_c_stream__(requested_schema)


def from_arrow(
    table: Any,
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
    name: str = "Row",
) -> Importer[Any]:
    """The rows of a table as samples, which can be read or written.

    Args:
        table: A table, batch or reader of pyarrow, or anything with ``__arrow_c_stream__``, such
            as a DataFrame of Polars or a relation of DuckDB. A reader can be read once only.
        sample_type: Type of the samples, whose fields are found by name; None: one is made from
            the table's schema.
        columns: The columns to import; as a dict, column → name of its field. None: all of them,
            or those that ``sample_type`` has.
        name: Name for the type that is made.

    Raises:
        OptionError: It is no table, or there is no such column.
        EncodeError: ``sample_type`` has a field without a column.
        SchemaError: A column of a type that no field can have; names it.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        if not hasattr(table, "__arrow_c_stream__"):
            raise OptionError(
                f"Expected a table with columns, such as one of pyarrow, found "
                f"{type(table).__name__}. A table of pandas is taken by from_pandas, a file by "
                "from_parquet or from_csv."
            )
        return _of_reader(pa.RecordBatchReader.from_stream(table), sample_type, columns, name)
    return importer_of(source_of(table, "a table", name), sample_type, columns)


def source_of(
    table: Any, where: str, name: str, kinds: Mapping[str, Kind] | None = None
) -> ArrowSource:
    """A table of pyarrow as what is imported; of some columns the kinds may be known."""
    most = rows_of(table.nbytes / max(1, table.num_rows))

    def batches(columns: list[str]) -> Iterator[Any]:
        return iter(table.select(columns).to_batches(most))

    def nulls(columns: list[str]) -> Mapping[str, Nulls]:
        return survey(columns, [table])

    return ArrowSource(table.schema, batches, nulls, where, name, table.num_rows, kinds or {})


def _of_reader(
    reader: Any, sample_type: type[T] | None, columns: Columns, name: str
) -> Importer[Any]:
    source = ArrowSource(
        reader.schema, partial(_once, reader), partial(_declared, reader.schema), "a stream", name
    )
    return importer_of(source, sample_type, columns)


def _once(reader: Any, columns: list[str]) -> Iterator[Any]:
    for batch in reader:
        most = rows_of(batch.nbytes / max(1, len(batch)))
        for start in range(0, len(batch), most):
            yield batch.select(columns).slice(start, most)


def _declared(schema: Any, columns: list[str]) -> Mapping[str, Nulls]:
    """A stream is read once: any column that may have nulls is taken to have some."""
    return {name: UNKNOWN if schema.field(name).nullable else Nulls() for name in columns}
