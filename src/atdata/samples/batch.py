"""SampleBatch: columns of many samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from atdata._arrays import AnyArray
from atdata.samples.columnar import Column, Columnar
from atdata.samples.hideable import hideable
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import fills_of

T = TypeVar("T")


class SampleBatch(Generic[T]):
    """Several samples of one type, field by field.

    A field is an attribute: an array field gives one array of shape (B, *S), dtype unchanged,
    in reading order, any other field a list of B values. The field's type decides, never its
    values: an array field that may be None gives a list of arrays and None.

    A field that is called as a member of this class hides it. The class still has it:
    ``SampleBatch.keys(batch)``, ``SampleBatch.column(batch, "image")``.

    Args:
        sample_type: The type of the samples.
        keys: Key of each sample in its shard, in reading order; not looked at before they are
            asked for.
        columns: Field name → array of shape (B, *S), texts, or list of B values; taken over.
        samples: The samples themselves, where they exist already.
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
        if not name.startswith("__") and name in (held := columnar(self)).fields:
            return held.attribute(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # copy, pickle and NumPy look for such names, and do what they say: data may not.
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
        """Key of each sample in its shard, in reading order."""
        return columnar(self).key_list()

    def values(self, name: str) -> list[Any]:
        """One field as a list of B values, also where arrays differ in shape.

        Arrays are views of the batch's memory where it has them stacked.

        Raises:
            AttributeError: There is no such field.
        """
        return columnar(self).values(name)

    def column(self, name: str, *, fill: Any = None) -> AnyArray:
        """One field as an array whose first axis counts the samples.

        int gives int64, float float64, bool bool. str, bytes and Literal give NumPy's own
        strings, as wide as the longest of the batch, datetimes UTC ``datetime64[us]``, arrays
        one of shape (B, *S). Not a copy where the batch has it so: changing it changes the
        batch. The field's type decides, never its values.

        Args:
            name: The field.
            fill: For a field that may be None: what stands for None, a value of the field. For
                an array field, an array of the shape and dtype that all of them have.

        Raises:
            RaggedFieldError: Arrays that differ in shape, an int beyond int64, a field that may
                be None and has no ``fill``, or one that is no array of any dtype, such as a
                list; says how to get it as a list.
            OptionError: ``fill`` is no value of the field.
            AttributeError: There is no such field.
        """
        held = columnar(self)
        given = None if fill is None else fills_of({name: fill}, held.kinds)[name]
        return held.column(name, given)

    def as_numpy(self, *, fill: Mapping[str, Any] | None = None) -> dict[str, AnyArray]:
        """Every field as a column: name → array whose first axis counts the samples.

        Args:
            fill: Field → what stands for None in its column.

        Raises:
            RaggedFieldError: As for `column`.
            OptionError: A ``fill`` that is no value of its field.
        """
        held = columnar(self)
        fills = fills_of(fill, held.kinds)
        return {name: held.column(name, fills.get(name)) for name in held.fields}

    @hideable
    def samples(self) -> list[T]:
        """The samples one by one; arrays are views of the batch where it was stacked first."""
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


columnar: Callable[[SampleBatch[Any]], Columnar] = SampleBatch.__dict__["__columnar__"].__get__
"""What a batch holds, whatever its fields are called."""
