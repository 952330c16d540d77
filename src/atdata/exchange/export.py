"""A dataset as batches of Arrow: the one way out, which every format of tables writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, Final

from atdata.dataset.dataset import Dataset
from atdata.dataset.exports import ColumnTypes
from atdata.errors import EncodeError, OptionError
from atdata.exchange.arrow_library import pa
from atdata.exchange.arrow_schema import arrow_schema
from atdata.exchange.fields import typed_fields
from atdata.exchange.forms.form import Form
from atdata.exchange.forms.scalars import UNSIGNED
from atdata.exchange.forms.table import Wanted, form_of
from atdata.samples.batch import SampleBatch, columnar
from atdata.samples.described import Shape
from atdata.samples.kinds import Array, Kind, Misfit
from atdata.samples.text_column import TextColumn
from atdata.shards.columns.packers import RowMisfit

_FIRST: Final = 16
"""Samples whose size decides how many are in a batch."""
_BATCH_BYTES: Final = 16 << 20
_MOST_SAMPLES: Final = 8192
_TEXT: Final = "str"


class Export:
    """A dataset as batches of Arrow, which can be read again and again.

    Args:
        dataset: The dataset.
        types: Field → the type of its column, where the field's leaves it open.

    Raises:
        SampleTypeError: Its samples have no type.
        OptionError: ``types`` names no field, or a type that its values cannot have.
    """

    def __init__(self, dataset: Dataset[Any], types: ColumnTypes | None = None) -> None:
        self._dataset = dataset
        self.fields = typed_fields(dataset)
        first: SampleBatch[Any] | None = next(iter(dataset.ordered(_FIRST)), None)
        self.forms = {
            name: _form(name, field.kind, first, dict(types or {}).get(name))
            for name, field in self.fields.items()
        }
        if unknown := set(types or ()) - set(self.fields):
            raise OptionError(
                f"types names {sorted(unknown)[0]!r}, which is no field of "
                f"{dataset.sample_type.__name__}: {', '.join(self.fields)}."
            )
        self.schema: Any = arrow_schema(dataset.sample_type, self.fields, self.forms)
        """The schema of every batch."""
        size = 0 if first is None else self._of(first).nbytes // len(first)
        self.batch_size = min(_MOST_SAMPLES, max(1, _BATCH_BYTES // max(1, size)))
        """Samples a batch: about 16 MB."""

    def batches(self) -> Iterator[Any]:
        """Each batch, a `pyarrow.RecordBatch`.

        Raises:
            EncodeError: A value that its column cannot hold; names the sample and the path.
        """
        return map(self._of, self._dataset.ordered(self.batch_size))

    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader`, which reads batches as they are asked for."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def _of(self, batch: SampleBatch[Any]) -> Any:
        held = columnar(batch)
        columns = []
        for name, form in self.forms.items():
            column = held.as_it_is(name)
            values: Any = column.tolist() if isinstance(column, TextColumn) else column
            try:
                columns.append(form.out(values))
            except RowMisfit as misfit:
                where = f"sample {held.keys[misfit.row]!r}: {held.sample_type.__name__}"
                raise EncodeError(f"{where} {misfit.at(f'.{name}')}") from None
            except Misfit as misfit:
                raise EncodeError(f"{held.sample_type.__name__} {misfit.at(f'.{name}')}") from None
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _form(
    name: str, kind: Kind, first: SampleBatch[Any] | None, wanted: Shape | str | None
) -> Form:
    if isinstance(wanted, Shape) and isinstance(kind, Array):
        return form_of(Array(kind.dtype, wanted.lengths))
    if wanted not in (None, UNSIGNED, _TEXT) or isinstance(wanted, Shape):
        raise OptionError(
            f"types={{{name!r}: {wanted!r}}}: expected atdata.Shape(…) of an array, {UNSIGNED!r} "
            f"for large integers, or {_TEXT!r} for times; the field is {kind.describe()}."
        )
    values = [] if first is None else SampleBatch.values(first, name)
    aware = all(each.tzinfo is not None for each in _moments(values))
    found = form_of(kind, Wanted(wanted == UNSIGNED, aware, wanted == _TEXT))
    if wanted is not None and found.type == form_of(kind, Wanted(aware=aware)).type:
        raise OptionError(f"types={{{name!r}: {wanted!r}}}: not for {kind.describe()}.")
    return found


def _moments(value: Any) -> Iterator[datetime | time]:
    """The first time in each of several values, however deep."""
    match value:
        case datetime():
            yield value
        case list() | tuple() | set() | frozenset():
            for each in value:
                found = next(_moments(each), None)
                if found is not None:
                    yield found
                    return
        case dict():
            yield from _moments(list(value.values()))
        case _ if codec := getattr(type(value), "__atdata_codec__", None):
            yield from _moments([getattr(value, field.name) for field in codec.fields])
