"""Selecting fields: what else there is of a sample is not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atdata._arrays import Indices
from atdata._secrets import redacted_repr
from atdata.dataset.reading.rows import MadeRows, Rows, place_in
from atdata.errors import DecodeError, OptionError
from atdata.samples.codec import SampleCodec, check_sample_type, codec_of
from atdata.samples.dict_sample import as_dict, picked, selecting
from atdata.samples.kinds import Misfit
from atdata.samples.selected import check_names, selected_type
from atdata.shards.columns.column import LazyColumn


def select_step(
    sample_type: type, fields: tuple[str, ...], before: Select | None, *, type_is_known: bool
) -> Select:
    """The step that keeps these fields of samples.

    Args:
        sample_type: Type of the samples.
        fields: Their names.
        before: The selection that was made right before; samples without a type have its fields.
        type_is_known: Whether the samples are known to be of that type.

    Raises:
        OptionError: As in `Dataset.select`.
        SampleTypeError: The samples have no fields.
    """
    if not fields or not all(isinstance(name, str) for name in fields):
        found = ", ".join(map(repr, fields))
        raise OptionError(
            f'select({found:.80}): expected names of fields: select("image", "label")'
        )
    names = tuple(dict.fromkeys(fields))
    if not type_is_known:
        raise OptionError(
            "select() after a map() that does not say what it returns: annotate the function, or "
            "pass sample_type= to map()."
        )
    check_sample_type(sample_type)
    if not codec_of(sample_type).untyped:
        return Select(names, selected_type(sample_type, names))
    if before is not None:
        check_names(names, "the selection", before.names)
    return Select(names, sample_type)


@redacted_repr
@dataclass(frozen=True, slots=True)
class Select:
    """Keep some fields."""

    names: tuple[str, ...]
    sample_type: type
    """The type that has these alone; or `DictSample`."""

    @property
    def codec(self) -> SampleCodec[Any]:
        """The codec that reads these fields alone of stored samples."""
        codec: SampleCodec[Any] = codec_of(self.sample_type)
        return selecting(self.names) if codec.untyped else codec

    def apply(self, rows: Rows) -> Rows:
        return SelectedRows(rows, self)

    def of(self, sample: Any) -> Any:
        """A sample with these fields alone.

        Raises:
            DecodeError: It has no type, and lacks one of them.
        """
        codec: SampleCodec[Any] = codec_of(self.sample_type)
        if not codec.untyped:
            if type(sample) is self.sample_type:
                return sample
            return codec.build({name: getattr(sample, name) for name in self.names})
        try:
            return codec.from_mapping(picked(as_dict(sample), self.names))
        except Misfit as misfit:
            raise DecodeError(f"DictSample {misfit}") from None


@redacted_repr
@dataclass(frozen=True, slots=True)
class SelectedRows(MadeRows):
    """Rows of which only some fields are kept: columns stay columns."""

    rows: Rows
    select: Select

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> Sequence[str]:
        return self.rows.keys

    def samples(self) -> list[Any]:
        return list(map(self.select.of, self.rows.samples()))

    def each(self) -> Iterator[Any]:
        return map(self.select.of, self.rows.each())

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = self.rows.columns()
        return columns and {name: columns[name] for name in self.select.names}

    def place(self, row: int) -> tuple[str, int] | None:
        """See `place_in`."""
        return place_in([self.rows], row)

    def take(self, indices: Indices) -> SelectedRows:
        return replace(self, rows=self.rows.take(indices))
