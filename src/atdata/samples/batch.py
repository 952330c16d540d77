"""SampleBatch: columns of many samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from atdata._arrays import AnyArray
from atdata.samples.columnar import Column, Columnar
from atdata.samples.hideable import hideable
from atdata.samples.kinds import Field
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import fills_of

T = TypeVar("T")


class SampleBatch(Generic[T]):
    """B samples of one type, field by field, in reading order.

    Each field is an attribute: an array field is one array of shape (B, *S), dtype unchanged; any
    other field is a list of B values. The field's type decides, never its values: an array field
    that may be None is a list of arrays and None.

    A field named like a member of this class hides it. Reach the member through the class:
    ``SampleBatch.keys(batch)``, ``SampleBatch.column(batch, "image")``.

    Args:
        sample_type: The type of the samples.
        keys: The key of each sample in its shard; read only once they are asked for.
        columns: Field name → array of shape (B, *S), list of B values, or B texts. Not copied.
        samples: The samples themselves, if they exist already.
    """

    __slots__ = ("__columnar__",)

    def __init__(
        self,
        sample_type: type[T],
        keys: Sequence[str],
        columns: Mapping[str, Column | TextColumn] | None = None,
        *,
        samples: Sequence[T] | None = None,
    ) -> None:
        self.__columnar__ = Columnar(sample_type, keys, columns, samples)

    def __getattribute__(self, name: str) -> Any:
        # A field comes first, so that data read with any field names look alike.
        if not name.startswith("__") and name in (held := columnar(self)).fields:
            return held.attribute(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # copy, pickle and NumPy call what such names give: data must never provide it.
            raise AttributeError(name)
        raise columnar(self).no_field(name)

    @hideable
    def sample_type(self) -> type[T]:
        """The type of the samples."""
        return columnar(self).sample_type

    @hideable
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return columnar(self).fields

    @hideable
    def keys(self) -> list[str]:
        """The key of each sample in its shard, in reading order."""
        return columnar(self).key_list()

    def values(self, name: str) -> list[Any]:
        """One field as a list of B values, even if arrays differ in shape.

        Arrays are views of the batch's memory if they are stacked there.

        Raises:
            AttributeError: The samples have no such field.
        """
        return columnar(self).values(name)

    def column(self, name: str, *, fill: Any = None) -> AnyArray:
        """One field as an array of shape (B, …), in reading order.

        An int field has dtype int64, float float64, bool bool; str, bytes and Literal have NumPy's
        string types, as wide as the longest value; a datetime is UTC ``datetime64[us]``; arrays
        of shape (*S) are stacked to (B, *S), dtype unchanged. The field's type decides, never its
        values. Not a copy if the batch already has this array: changing it changes the batch.

        Args:
            name: The field.
            fill: What replaces None, for a field that may be None: a value of the field. For an
                array field, an array of the shape and dtype that all of them have.

        Raises:
            RaggedFieldError: Arrays differ in shape, an int is outside of int64, a field that may
                be None has no ``fill``, or the field's type has no dtype, such as a list. The
                message says how to get a list.
            OptionError: ``fill`` is not a value of the field.
            AttributeError: The samples have no such field.
        """
        held = columnar(self)
        given = None if fill is None else fills_of({name: fill}, held.kinds)[name]
        return held.column(name, given)

    def as_numpy(self, *, fill: Mapping[str, Any] | None = None) -> dict[str, AnyArray]:
        """Every field as an array: field name → array of shape (B, …), as `column` gives it.

        Args:
            fill: Field name → what replaces None in it.

        Raises:
            RaggedFieldError: As for `column`.
            OptionError: A ``fill`` is not a value of its field.
        """
        held = columnar(self)
        fills = fills_of(fill, held.kinds)
        return {name: held.column(name, fills.get(name)) for name in held.fields}

    @hideable
    def samples(self) -> list[T]:
        """The B samples; their arrays are views of the batch's memory if they are stacked there."""
        return columnar(self).samples

    def __len__(self) -> int:
        return len(columnar(self))

    def __iter__(self) -> Iterator[T]:
        return iter(columnar(self).samples)

    def __getitem__(self, index: int) -> T:
        sample: T = columnar(self).samples[index]
        return sample

    def __repr__(self) -> str:
        return f"<SampleBatch of {columnar(self)}>"


def replaced(
    batch: SampleBatch[Any], columns: Mapping[str, Column], kinds: Mapping[str, Field]
) -> SampleBatch[Any]:
    """A batch with other columns in the places of some of its own, which are not copied.

    Args:
        batch: The batch.
        columns: Field name → its column.
        kinds: The fields that it has then; empty: its samples have no type.
    """
    held = columnar(batch)
    found = {name: columns.get(name, held.as_it_is(name)) for name in held.fields}
    made: SampleBatch[Any] = SampleBatch(held.sample_type, held.keys, {**found})
    columnar(made).kinds = dict(kinds)
    return made


# The slot's own getter, since __getattribute__ itself needs it.
columnar: Callable[[SampleBatch[Any]], Columnar] = SampleBatch.__dict__["__columnar__"].__get__
"""What a batch holds, whatever its fields are called."""
