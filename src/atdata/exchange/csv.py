"""CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from atdata._registry import require
from atdata.dataset.dataset import Dataset
from atdata.dataset.exports import ColumnTypes
from atdata.errors import OptionError, SchemaError
from atdata.exchange.arrow_import import ArrowSource, Columns, importer_of
from atdata.exchange.arrow_library import pa, pc
from atdata.exchange.export import Export
from atdata.exchange.fields import typed_fields
from atdata.exchange.files import expanded, read_errors, whole_file
from atdata.exchange.importer import Importer
from atdata.exchange.infer import Nulls, survey
from atdata.samples.codec import codec_of
from atdata.samples.kinds import (
    Array,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    FixedTuple,
    IntChoice,
    ListOf,
    MapOf,
    Nested,
    Primitive,
    SetOf,
    TupleOf,
)
from atdata.samples.kinds.simple import Date, Duration, Time

T = TypeVar("T")

_BLOCK_BYTES: Final = 4 << 20
_MANY: Final = (Array, Encoded, ListOf, TupleOf, FixedTuple, MapOf, Nested, SetOf, Duration)
"""Kinds whose values are no single text or number."""
_LEADING_ZERO: Final = r"^[-+]?0[0-9]"
"""Such as a postal code: as a number it would be another text."""
_LONG: Final = r"^[-+]?[0-9]{16,}$"
"""Integers that are not exact as floats."""


def to_csv(
    dataset: Dataset[Any],
    path: str | Path,
    *,
    types: ColumnTypes | None = None,
) -> Path:
    """Write one line a sample; see `Dataset.to_csv`."""
    csv = require("pyarrow.csv", purpose="CSV files")
    chosen = typed_fields(dataset).values()
    for field in chosen:
        if isinstance(field.kind, _MANY) or field.kind == Primitive("bytes"):
            raise OptionError(
                f"{dataset.sample_type.__name__}.{field.name} is {field.kind.describe()}, which is "
                "no single text or number, as CSV has them. Leave it out, dataset.select(…), or "
                "write a Parquet file."
            )
    export = Export(dataset, {**_as_text(chosen), **(types or {})})
    names = list(export.forms)
    schema = pa.schema([(name, _plain(export.schema.field(name).type)) for name in names])
    options = csv.WriteOptions(quoting_style="needed")
    with whole_file(path) as file, csv.CSVWriter(str(file), schema, write_options=options) as out:
        for batch in export.batches():
            columns = [pc.cast(batch.column(name), schema.field(name).type) for name in names]
            out.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return Path(path)


def _as_text(fields: Iterable[Field]) -> dict[str, str]:
    return {field.name: "str" for field in fields if isinstance(field.kind, DateTime | Time)}


def _plain(type: Any) -> Any:
    return pa.string() if pa.types.is_dictionary(type) or pa.types.is_date(type) else type


def from_csv(
    path: str | Path | Sequence[str | Path],
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
    delimiter: str | None = None,
    nulls: Sequence[str] = ("",),
) -> Importer[Any]:
    """The lines of CSV files as samples; a block of lines at a time is in memory.

    The first line names the columns. The files are read twice: what a column holds is known at
    their end. Without a class a column is of the first of these that all of its values are:
    bool, int, float, date, datetime, str. Numbers with leading zeros, or of more digits than are
    exact, stay text.

    Args:
        path: A file, a pattern, a folder of them, or several files. Compressed ones end with
            ``.gz``, ``.bz2``, ``.lz4`` or ``.zst``.
        sample_type: As for `from_arrow`.
        columns: As for `from_arrow`.
        delimiter: Between values; None: a tab in ``.tsv`` files, a comma in others.
        nulls: What stands for None where it is not in quotes, such as ``("", "NA")``. In quotes it
            is text. NaN is a number.

    Raises:
        SourceError: A file does not exist, or a line has another number of values; says which.
        SchemaError: Two files have different columns.
    """
    csv = require("pyarrow.csv", purpose="CSV files")
    files = expanded(path, ".csv")
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more"
    between = delimiter or ("\t" if ".tsv" in files[0].suffixes else ",")

    def blocks(file: Path, types: Mapping[str, Any], names: list[str] | None) -> Iterator[Any]:
        with read_errors(file, "a CSV file"):
            yield from csv.open_csv(
                file,
                # With threads several blocks ahead would be in memory.
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                parse_options=csv.ParseOptions(delimiter=between, newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types=types,
                    include_columns=names,
                    null_values=list(nulls),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["true", "True", "TRUE"],
                    false_values=["false", "False", "FALSE"],
                ),
            )

    header = _header(files, blocks)
    texts = dict.fromkeys(header, pa.string())
    columns_found = {name: _Column() for name in header}
    count = 0
    for file in files:
        for block in blocks(file, texts, None):
            count += len(block)
            for name, column in columns_found.items():
                column.add(block.column(name))
    forced = _texts_of(sample_type, columns)
    types = {
        name: pa.string() if name in forced else column.type
        for name, column in columns_found.items()
    }

    def batches(names: list[str]) -> Iterator[Any]:
        for file in files:
            yield from blocks(file, types, names)

    def found_nulls(names: list[str]) -> Mapping[str, Nulls]:
        floats = [name for name in names if types[name] == pa.float64()]
        rest = {name: Nulls(columns_found[name].nulls) for name in names}
        return {**rest, **(survey(floats, batches(floats)) if floats else {})}

    name = files[0].name.partition(".")[0]
    source = ArrowSource(pa.schema(types.items()), batches, found_nulls, where, name, count)
    return importer_of(source, sample_type, columns)


def _texts_of(sample_type: type | None, columns: Columns) -> set[str]:
    """The columns that the caller's class has as text, whatever their values look like."""
    if sample_type is None:
        return set()
    plain = (Primitive("int"), Primitive("float"), Primitive("bool"))
    timed = (ClassLabel, IntChoice, DateTime, Date, Time)
    names = {
        each.name
        for each in codec_of(sample_type).fields
        if each.kind not in plain and not isinstance(each.kind, timed)
    }
    renamed = columns.items() if isinstance(columns, Mapping) else ((name, name) for name in names)
    return {column for column, name in renamed if name in names}


def _header(files: list[Path], blocks: Any) -> list[str]:
    first: list[str] | None = None
    for file in files:
        names: list[str] = next(blocks(file, {}, None)).schema.names
        first = first or names
        if names != first:
            raise SchemaError(
                f"{file} has other columns than {files[0]}: {', '.join(names)}. Import them one "
                "by one."
            )
    twice = next((name for name in first or () if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"{files[0]}: two columns are called {twice!r}. Rename one of them.")
    return first or []


class _Column:
    """What a column of text can be read as."""

    def __init__(self) -> None:
        self.nulls = 0
        self._seen = False
        self._types = [
            *(pa.bool_(), pa.int64(), pa.uint64(), pa.float64(), pa.date32()),
            *(pa.timestamp("us"), pa.timestamp("us", "UTC")),
        ]

    def add(self, texts: Any) -> None:
        """See some of its values."""
        self.nulls += texts.null_count
        values = texts.drop_null()
        if not len(values):
            return
        self._seen = True
        if self._types and pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
            self._types = [each for each in self._types if not _is_number(each)]
        if self._types and pc.any(pc.match_substring_regex(values, _LONG)).as_py():
            self._types = [each for each in self._types if each != pa.float64()]
        self._types = [each for each in self._types if _casts(values, each)]

    @property
    def type(self) -> Any:
        """The first type that all values have."""
        return self._types[0] if self._seen and self._types else pa.string()


def _is_number(type: Any) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))


def _casts(values: Any, type: Any) -> bool:
    if type == pa.bool_():
        return bool(pc.all(pc.is_in(values, pa.array(_BOOLS))).as_py())
    try:
        pc.cast(values, type)
    except pa.ArrowException:
        return False
    return True


_BOOLS: Final = ["true", "True", "TRUE", "false", "False", "FALSE"]
