"""Schema of an Arrow table → sample type: the kinds of fields that its columns fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from atdata._secrets import redacted_repr
from atdata.errors import SchemaError
from atdata.exchange.arrow_library import pa, pc
from atdata.exchange.arrow_schema import features_of, written_schema
from atdata.exchange.field_names import class_name, field_names
from atdata.exchange.forms.arrays import PLAIN, is_list, is_ragged
from atdata.exchange.forms.table import Wanted, form_of
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    Primitive,
)
from atdata.samples.kinds.simple import Date, DecimalNumber, Duration, Time, Uuid
from atdata.schema.model import Schema

_is: Final[Any] = pa.types
_SIMPLE: Final = (
    (_is.is_boolean, Primitive("bool")),
    (_is.is_integer, Primitive("int")),
    (_is.is_floating, Primitive("float")),
    *((text, Primitive("str")) for text in (_is.is_string, _is.is_large_string)),
    (_is.is_string_view, Primitive("str")),
    *((raw, Primitive("bytes")) for raw in (_is.is_binary, _is.is_large_binary)),
    *((raw, Primitive("bytes")) for raw in (_is.is_binary_view, _is.is_fixed_size_binary)),
    (_is.is_date, Date()),
    (_is.is_timestamp, DateTime()),
    (_is.is_time, Time()),
    (_is.is_duration, Duration()),
    (_is.is_decimal, DecimalNumber()),
    (_is.is_null, JsonValue()),
)
"""What tells a type of Arrow → the kind of its values."""
_EXTENSIONS: Final = {"arrow.json": JsonValue(), "arrow.uuid": Uuid()}
_MEDIA: Final = {"Image": Encoded("image"), "Audio": Encoded("audio")}
"""What the library `datasets` calls media → their kinds."""
_ARRAY: Final = re.compile(r"Array[2-5]D")
_MOST_CHOICES: Final = 1000
"""Values of a column of categories up to which they become a Literal."""


@redacted_repr
@dataclass
class Nulls:
    """Where a column has nulls, and NaN."""

    nulls: int = 0
    nans: int = 0
    inside: dict[str, Nulls] = field(default_factory=dict)
    """The same of the parts of its values: ``""`` for the items of lists, else the name."""
    values: dict[str, None] = field(default_factory=dict)
    """Of a column of categories, all of them."""

    def add(self, array: Any) -> None:
        """Count those of an array."""
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        self.nulls += array.null_count
        sort = array.type
        if _is.is_floating(sort):
            self.nans += pc.sum(pc.is_nan(array)).as_py() or 0
        elif _is.is_dictionary(sort) and len(self.values) <= _MOST_CHOICES:
            self.values.update(dict.fromkeys(array.dictionary.to_pylist()))
        elif is_list(sort):
            self._part("").add(array.flatten())
        elif _is.is_map(sort):
            self._part("").add(array.items)
        elif _is.is_struct(sort):
            valid = array.drop_null() if array.null_count else array
            for part, name in zip(valid.flatten(), (f.name for f in sort), strict=True):
                self._part(name).add(part)

    def _part(self, name: str) -> Nulls:
        return self.inside.setdefault(name, Nulls())

    def of(self, name: str) -> Nulls:
        """Those of a part; an item that was never seen has none."""
        return self.inside.get(name, _NONE)


_NONE: Final = Nulls()
UNKNOWN: Final = Nulls(nulls=1)
"""Of a column that may have nulls, and was not looked at."""


def survey(columns: Sequence[str], batches: Iterable[Any]) -> dict[str, Nulls]:
    """Where columns have nulls, by reading all of them."""
    found = {name: Nulls() for name in columns}
    for batch in batches:
        for name, nulls in found.items():
            column = batch.column(name)
            for chunk in getattr(column, "chunks", [column]):
                nulls.add(chunk)
    return found


def infer_schema(
    schema: Any,
    asked: Mapping[str, str],
    nulls: Mapping[str, Nulls],
    name: str,
    kinds: Mapping[str, Kind],
) -> Schema:
    """The schema of samples for the rows of a table.

    Where atdata wrote the table, the kinds of its fields are in the metadata; a column that has
    been changed since then has the kind of its type, as in tables that others wrote.

    Args:
        schema: The table's.
        asked: Column to import → name of its field, which Python may not be able to use.
        nulls: Of each of these columns, where it has nulls.
        name: Qualified name for the type, unless the metadata have it.
        kinds: Column → its kind, where it is known already.

    Returns:
        The schema, a field for each of these columns in their order.

    Raises:
        SchemaError: A column of a type that no field can have; names it.
    """
    written, features = written_schema(schema), features_of(schema)
    known = {} if written is None else {each.name: each for each in written.fields}
    fields = []
    for column, field_name in zip(asked, field_names(list(asked.values())), strict=True):
        type, there = schema.field(column).type, nulls[column]
        if (was := known.get(column)) is not None and _still(was, type, there):
            fields.append(replace(was, name=field_name))
            continue
        kind = kinds.get(column) or infer_kind(
            type, there, features.get(column), f"{name}.{field_name}", column
        )
        optional = bool(there.nulls) or _is.is_null(type)
        description, unit = _notes(schema.field(column))
        fields.append(Field(field_name, kind, optional, description, unit))
    if written is not None and tuple(fields) == written.fields:
        return written
    return Schema(name, "1.0.0", tuple(fields))


def _notes(column: Any) -> tuple[str | None, str | None]:
    found = column.metadata or {}
    texts = (found.get(key) for key in (b"description", b"unit"))
    description, unit = (None if raw is None else raw.decode("utf-8", "replace") for raw in texts)
    return description, unit


def _still(field: Field, type: Any, nulls: Nulls) -> bool:
    """Whether a column has the type that atdata gave it, and no nulls where it had none."""
    if nulls.nulls and not field.optional and nulls is not UNKNOWN:
        return False
    for wanted in (Wanted(), Wanted(unsigned=True), Wanted(aware=False), Wanted(text=True)):
        try:
            if _alike(form_of(field.kind, wanted).type, type):
                return True
        except Misfit:
            return False
    # The shape of arrays may have been given when they were written.
    return isinstance(field.kind, Array) and is_list(type) and _numbers_in(type) is not None


def _alike(ours: Any, type: Any) -> bool:
    """Whether a type is ours, up to what Parquet and others change: names, sizes of offsets."""
    if isinstance(type, pa.BaseExtensionType):
        type = type.storage_type
    if is_list(ours) or _is.is_map(type):
        if _is.is_map(type):
            return bool(_is.is_struct(ours.value_type)) and all(
                _alike(ours.value_type.field(i).type, each)
                for i, each in enumerate((type.key_type, type.item_type))
            )
        return is_list(type) and _alike(ours.value_type, type.value_type)
    if _is.is_struct(ours):
        return bool(_is.is_struct(type)) and all(
            type.get_field_index(each.name) >= 0 and _alike(each.type, type.field(each.name).type)
            for each in ours
        )
    if _is.is_dictionary(ours):
        return _is_text(type) or (_is.is_dictionary(type) and _is_text(type.value_type))
    if _is_text(ours):
        return _is_text(type)
    if _is.is_binary(ours):
        return any(raw(type) for raw in (_is.is_binary, _is.is_large_binary, _is.is_binary_view))
    if _is.is_timestamp(ours):
        return bool(_is.is_timestamp(type)) and (ours.tz is None) == (type.tz is None)
    return bool(ours == type)


def _is_text(type: Any) -> bool:
    return any(text(type) for text in (_is.is_string, _is.is_large_string, _is.is_string_view))


def infer_kind(type: Any, nulls: Nulls, feature: Any, name: str, where: str) -> Kind:
    """The kind of the values of a column, without None.

    Args:
        type: Their Arrow type.
        nulls: Where there are nulls.
        feature: What the library `datasets` calls the type; None: it says nothing.
        name: Qualified name for a type of nested samples.
        where: The column, for errors.

    Raises:
        SchemaError: No field can have this type.
    """
    said = feature if isinstance(feature, dict) else {}
    sort = str(said.get("_type"))
    if sort in _MEDIA and (_is.is_struct(type) or _is.is_binary(type)):
        return _MEDIA[sort]
    if sort == "ClassLabel" and _is.is_integer(type) and isinstance(said.get("names"), list):
        return ClassLabel(*said["names"])
    if sort == "Json" and _is_text(type):
        return JsonValue()
    if _ARRAY.fullmatch(sort) and isinstance(said.get("shape"), list):
        dtype = _numbers_in(type)
        if dtype is not None:
            return Array(dtype, tuple(n if isinstance(n, int) else None for n in said["shape"]))
    if isinstance(type, pa.FixedShapeTensorType):
        return _array(type.value_type, tuple(type.shape), where)
    if isinstance(type, pa.BaseExtensionType):
        found = _EXTENSIONS.get(type.extension_name)
        return found or infer_kind(type.storage_type, nulls, feature, name, where)
    if _is.is_dictionary(type):
        return _categories(type, nulls, name, where)
    for tells, kind in _SIMPLE:
        if tells(type):
            return kind
    if is_ragged(type) and _dtype(type.field("data").type.value_type) is not None:
        return _array(type.field("data").type.value_type, None, where)
    if is_list(type):
        return _list(type, nulls, said, name, where)
    if _is.is_map(type) and _is_text(type.key_type):
        inner = infer_kind(type.item_type, nulls.of(""), None, name, f"{where}[…]")
        return MapOf(Maybe(inner) if nulls.of("").nulls else inner)
    if _is.is_struct(type):
        return _nested(type, nulls, said, name, where)
    raise SchemaError(
        f"The column {where!r} is of type {type}, which no field can have. Leave it out by naming "
        "the columns to import, columns=[…], or convert it first."
    )


def _list(type: Any, nulls: Nulls, said: dict[str, Any], name: str, where: str) -> Kind:
    shape: list[int | None] = []
    inner, there = type, nulls
    while is_list(inner):
        shape.append(inner.list_size if _is.is_fixed_size_list(inner) else None)
        inner, there = inner.value_type, there.of("")
        if there.nulls:
            break
    dtype = _dtype(inner)
    # Lists in lists are arrays where their lengths are fixed: others may differ within a value.
    if dtype is not None and not there.nulls and None not in shape[1:]:
        return _array(inner, tuple(shape), where)
    items = nulls.of("")
    kind = infer_kind(type.value_type, items, said.get("feature"), name, f"{where}[…]")
    return ListOf(Maybe(kind) if items.nulls else kind)


def _nested(type: Any, nulls: Nulls, said: dict[str, Any], name: str, where: str) -> Kind:
    names = [each.name for each in type]
    if not names or field_names(names) != names:
        found = f"a field {_odd(names)!r}, which no class" if names else "no fields, which no class"
        raise SchemaError(
            f"The column {where!r} is a struct with {found} can have. Leave it out by naming the "
            "columns to import, columns=[…], or change it first."
        )
    fields = []
    for each in type:
        there = nulls.of(each.name)
        inner = infer_kind(
            each.type, there, said.get(each.name), f"{name}.{each.name}", f"{where}.{each.name}"
        )
        fields.append(Field(each.name, inner, bool(there.nulls) or _is.is_null(each.type)))
    module, _, last = name.rpartition(".")
    return Nested(f"{module}.{class_name(last)}", tuple(fields))


def _odd(names: list[str]) -> str:
    pairs = zip(names, field_names(names), strict=True)
    return next(name for name, good in pairs if name != good)


def _categories(type: Any, nulls: Nulls, name: str, where: str) -> Kind:
    values = [value for value in nulls.values if value is not None]
    if _is_text(type.value_type) and 0 < len(values) <= _MOST_CHOICES:
        return Choice(tuple(values))
    return infer_kind(type.value_type, nulls, None, name, where)


def _dtype(type: Any) -> str | None:
    """The dtype of an array of these numbers; None: NumPy has none, or they are no numbers."""
    if not (_is.is_integer(type) or _is.is_floating(type) or _is.is_boolean(type)):
        return None
    dtype = str(type.to_pandas_dtype().__name__).removesuffix("_")
    return dtype if dtype in PLAIN else None


def _numbers_in(type: Any) -> str | None:
    while is_list(type):
        type = type.value_type
    return _dtype(type)


def _array(type: Any, shape: tuple[int | None, ...] | None, where: str) -> Array:
    dtype = _dtype(type)
    if dtype is None:
        raise SchemaError(f"The column {where!r} is an array of {type}, which NumPy lacks.")
    return Array(dtype, shape)
