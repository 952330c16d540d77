"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from atdata._registry import require
from atdata.dataset.dataset import Dataset
from atdata.dataset.exports import ColumnTypes
from atdata.errors import SchemaError
from atdata.exchange.arrow_import import ArrowSource, Columns, importer_of, rows_of
from atdata.exchange.arrow_library import pa
from atdata.exchange.export import Export
from atdata.exchange.files import expanded, read_errors, whole_file
from atdata.exchange.importer import Importer
from atdata.exchange.infer import Nulls, survey

T = TypeVar("T")
_ROW_GROUP_BYTES: Final = 64 << 20


def to_parquet(
    dataset: Dataset[Any],
    path: str | Path,
    *,
    types: ColumnTypes | None = None,
    compression: str = "zstd",
    row_group_bytes: int = _ROW_GROUP_BYTES,
) -> Path:
    """Write all samples to one Parquet file; a batch at a time is in memory."""
    parquet = require("pyarrow.parquet", purpose="Parquet files")
    export = Export(dataset, types)
    with whole_file(path) as file:
        writer = parquet.ParquetWriter(file, export.schema, compression=compression)
        waiting: list[Any] = []
        with writer:
            for batch in export.batches():
                waiting.append(batch)
                if sum(each.nbytes for each in waiting) >= row_group_bytes:
                    _write(writer, waiting, export.schema)
            _write(writer, waiting, export.schema)
    return Path(path)


def _write(writer: Any, batches: list[Any], schema: Any) -> None:
    table = pa.Table.from_batches(batches, schema)
    if len(table):
        writer.write_table(table, row_group_size=len(table))
    batches.clear()


def from_parquet(
    path: str | Path | Sequence[str | Path],
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
) -> Importer[Any]:
    """The rows of Parquet files as samples; a batch at a time is in memory.

    Args:
        path: A file, a pattern such as ``"train-*.parquet"``, a folder of them, or several files.
        sample_type: As for `from_arrow`.
        columns: As for `from_arrow`.

    Raises:
        SourceError: A file does not exist, or is no Parquet file.
        SchemaError: Two files have different columns, or a column is of a type that no field
            can have.
    """
    require("pyarrow.parquet", purpose="Parquet files")
    files = expanded(path, ".parquet")
    schema = _open(files[0]).schema_arrow
    count = 0
    for file in files:
        opened = _open(file)
        count += opened.metadata.num_rows
        if not opened.schema_arrow.equals(schema):
            raise SchemaError(
                f"{file} has other columns than {files[0]}: {_difference(schema, opened)}. Import "
                "them one by one, or name the columns that they share."
            )
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more"

    def batches(names: list[str]) -> Iterator[Any]:
        for file in files:
            opened = _open(file)
            with read_errors(file, "a Parquet file"):
                size = _row_bytes(opened, names)
                yield from opened.iter_batches(batch_size=rows_of(size), columns=names)

    def nulls(names: list[str]) -> Mapping[str, Nulls]:
        found = _recorded_nulls(files, schema, names)
        rest = [name for name in names if name not in found]
        found.update(survey(rest, batches(rest)) if rest else {})
        return {name: found[name] for name in names}

    source = ArrowSource(schema, batches, nulls, where, files[0].stem, count)
    return importer_of(source, sample_type, columns)


def _open(file: Path) -> Any:
    parquet = require("pyarrow.parquet", purpose="Parquet files")
    with read_errors(file, "a Parquet file"):
        # With pre_buffer, which is the default, all of a file would come to be in memory.
        return parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _difference(schema: Any, opened: Any) -> str:
    ours, theirs = set(schema), set(opened.schema_arrow)
    return ", ".join(sorted(f"{each.name}: {each.type}" for each in ours ^ theirs)) or "their order"


def _row_bytes(opened: Any, names: list[str]) -> float:
    """Bytes of a row, about, in memory."""
    metadata, size = opened.metadata, 0.0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema.partition(".")[0] in names:
                size += chunk.total_uncompressed_size
    return size / max(1, int(metadata.num_rows))


def _recorded_nulls(files: list[Path], schema: Any, names: list[str]) -> dict[str, Nulls]:
    """Columns whose nulls the files themselves count, so that they need not be read for it."""
    counts: dict[str, dict[str, int | None]] = {name: {} for name in names}
    for file in files:
        metadata = _open(file).metadata
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                name, _, rest = chunk.path_in_schema.partition(".")
                if name not in counts:
                    continue
                stats = chunk.statistics
                known = stats.null_count if stats is not None and stats.has_null_count else None
                before = counts[name].get(rest, 0)
                counts[name][rest] = None if None in (known, before) else before + known  # type: ignore[operator]
    found = {}
    for name, leaves in counts.items():
        type = schema.field(name).type
        # NaN, and the values of categories, are found by reading alone.
        if pa.types.is_floating(type) or pa.types.is_dictionary(type):
            continue
        nulls = _nulls_of(type, leaves)
        if nulls is not None:
            found[name] = nulls
    return found


def _nulls_of(type: Any, leaves: dict[str, int | None]) -> Nulls | None:
    """What the nulls of leaves say of a column; None: only reading tells."""
    if None in leaves.values() or not leaves:
        return None if leaves else Nulls()
    if not any(leaves.values()):
        return Nulls()
    if set(leaves) == {""}:
        return Nulls(leaves[""] or 0)
    plain = pa.types.is_struct(type) and {field.name for field in type} == set(leaves)
    if plain and not all(leaves.values()):
        # A struct that is null makes all of its leaves null.
        return Nulls(inside={name: Nulls(count or 0) for name, count in leaves.items()})
    return None
