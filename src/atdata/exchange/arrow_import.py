"""Tables of Arrow → samples: the one way in, which every format of tables reads through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from atdata._secrets import redacted_repr
from atdata.errors import AtdataError, EncodeError, OptionError, SchemaError
from atdata.exchange.arrow_library import pa
from atdata.exchange.field_names import class_name
from atdata.exchange.forms.arrays import is_list, list_form
from atdata.exchange.forms.form import Form
from atdata.exchange.forms.table import form_of
from atdata.exchange.importer import MODULE, Importer, samples_of
from atdata.exchange.infer import Nulls, infer_schema
from atdata.samples.codec import codec_of
from atdata.samples.kinds import Array, Field, Kind, Misfit
from atdata.schema.build import build_type
from atdata.shards.columns.packers import RowMisfit, Values

T = TypeVar("T")

Columns: TypeAlias = Sequence[str] | Mapping[str, str] | None
"""The columns to import; as a mapping: column → name of its field."""
BATCH_BYTES: Final = 16 << 20
_MOST_ROWS: Final = 8192


@redacted_repr
@dataclass(frozen=True)
class ArrowSource:
    """A table that is read in batches."""

    schema: Any
    """Its schema, a `pyarrow.Schema`."""
    batches: Callable[[list[str]], Iterator[Any]]
    """Begins to read these columns: gives record batches."""
    nulls: Callable[[list[str]], Mapping[str, Nulls]]
    """Where these columns have nulls."""
    where: str
    """What it is, for people."""
    name: str
    """What it is called, which gives the type its name."""
    count: int | None = None
    """Rows; None: not known before they are read."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Column → its kind, where it is known already."""


def rows_of(size: float) -> int:
    """How many rows of this many bytes are read together."""
    return max(1, min(_MOST_ROWS, int(BATCH_BYTES // max(1, size))))


def importer_of(
    source: ArrowSource, sample_type: type[T] | None, columns: Columns
) -> Importer[Any]:
    """The rows of a table as samples.

    Args:
        source: The table.
        sample_type: Their type; None: one is made from the schema of the table.
        columns: The columns to import; None: all, or those that ``sample_type`` has.

    Raises:
        OptionError: There is no such column.
        EncodeError: ``sample_type`` has a field without a column.
        SchemaError: A column of a type that no field can have.
    """
    asked = _asked(source, columns)
    notes: list[str] = []
    if sample_type is None:
        made, read = _inferred(source, asked, notes)
    else:
        made, read = sample_type, _matched(source, sample_type, asked, given=columns is not None)
    codec: Any = codec_of(made)
    plan = [
        (codec.by_name[name], column, _reading_form(codec.by_name[name], source, column))
        for name, column in read.items()
    ]
    names = list(dict.fromkeys(read.values()))

    def batches() -> Iterator[Mapping[str, Values]]:
        start = 0
        for batch in source.batches(names):
            if len(batch):
                yield _converted(batch, plan, source.where, start)
            start += len(batch)

    return Importer(made, batches, source=source.where, count=source.count, notes=tuple(notes))


def _asked(source: ArrowSource, columns: Columns) -> dict[str, str]:
    """Column → name of its field, as the caller says it."""
    names = list(source.schema.names)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"{source.where}: two columns are called {twice!r}. Rename one of them.")
    found = dict(zip(names, names, strict=True)) if columns is None else {}
    if columns is not None:
        if isinstance(columns, str):
            raise OptionError(f"columns={columns!r}: expected a list of names, [{columns!r}].")
        found = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    for name in found:
        if name not in names:
            raise OptionError(f"{source.where} has no column {name!r}. It has: {', '.join(names)}.")
    return found


def _inferred(
    source: ArrowSource, asked: dict[str, str], notes: list[str]
) -> tuple[type, dict[str, str]]:
    nulls = source.nulls(list(asked))
    try:
        schema = infer_schema(
            source.schema, asked, nulls, f"{MODULE}.{class_name(source.name)}", source.kinds
        )
        made = build_type(schema)
    except AtdataError as error:
        raise SchemaError(f"{source.where}: {error}") from None
    read = dict(zip(schema.field_names, asked, strict=True))
    for name, column in read.items():
        if name != asked[column]:
            notes.append(f"The column {column!r} is the field {name}.")
        there = nulls[column]
        if there.nulls and there.nans:
            notes.append(
                f"The field {name} is None in {samples_of(there.nulls)} and NaN in {there.nans:,}: "
                "both are kept as they are."
            )
        elif there.nans:
            notes.append(f"The field {name} is NaN in {samples_of(there.nans)}, which is not None.")
        elif there.nulls:
            known = "" if source.count is None else f" in {samples_of(there.nulls)}"
            notes.append(f"The field {name} is None{known}.")
    return made, read


def _matched(
    source: ArrowSource, sample_type: type, asked: dict[str, str], *, given: bool
) -> dict[str, str]:
    """Field of the caller's type → its column."""
    codec: Any = codec_of(sample_type)
    columns = {to: column for column, to in asked.items()}
    name = sample_type.__name__
    for each in codec.fields:
        if each.name not in columns and each.name not in codec.defaults:
            raise EncodeError(
                f"{source.where} has no column for {name}.{each.name}. It has: "
                f"{', '.join(source.schema.names)}. Say which one it is, "
                f"columns={{'its name': {each.name!r}, …}}, or give the field a default."
            )
    if given and (unknown := [to for to in columns if to not in codec.by_name]):
        raise OptionError(
            f"columns names {unknown[0]!r}, which is no field of {name}: "
            f"{', '.join(codec.by_name)}."
        )
    return {name: columns[name] for name in codec.by_name if name in columns}


def _reading_form(into: Field, source: ArrowSource, column: str) -> Form:
    """How a column is read as values of a field; its type may differ from the one that we write."""
    type = source.schema.field(column).type
    if isinstance(type, pa.BaseExtensionType):
        type = type.storage_type
    if isinstance(into.kind, Array) and is_list(type):
        found = list_form(into.kind, type)
        if found is not None:
            return found
    return form_of(into.kind)


def _converted(
    batch: Any, plan: list[tuple[Field, str, Form]], where: str, start: int
) -> Mapping[str, Values]:
    found: dict[str, Values] = {}
    for into, column, form in plan:
        try:
            found[into.name] = form.back(batch.column(column))
        except RowMisfit as misfit:
            row = f"row {start + misfit.row:,}"
            raise EncodeError(f"{where}, {row}: {misfit.at(f'.{column}')}") from None
        except Misfit as misfit:
            rows = f"rows {start:,} to {start + len(batch) - 1:,}"
            raise EncodeError(f"{where}, {rows}: {misfit.at(f'.{column}')}") from None
    return found
