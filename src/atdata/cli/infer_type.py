"""Inferring a sample type from all samples of shards without a recorded one."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any, Final, cast

import numpy as np

from atdata._limits import limits
from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata.dataset.dataset import Dataset
from atdata.errors import NoDataUrlsError, NotFoundError, OptionError, SchemaError
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import (
    PRIMITIVES,
    Array,
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
from atdata.samples.media import Media
from atdata.samples.ndarray import dtype_name
from atdata.schema.build import build_type
from atdata.schema.checks import check_identifier, known_dtype
from atdata.schema.model import Schema
from atdata.shards.layouts.sniff import layout_of
from atdata.shards.tar.window import open_window

_HINT: Final = "Say what a sample is with --type module:Class or --schema REF."
_ASSUMED: Final = Primitive("str")
"""What is assumed if every value is None, or every list or map empty."""
_MODULE: Final = "inferred"
_DTYPE_GROUPS: Final[dict[type, str]] = {
    np.datetime64: "datetime64",
    np.timedelta64: "timedelta64",
    np.str_: "str",
    np.bytes_: "bytes",
    np.void: "void",
    np.record: "void",
}
_MAX_EXACT_INTEGER: Final = 2**53
"""The largest integer below which every integer is exactly a float."""


def infer_type(
    source: DataSource, name: str, report: Callable[[str], object] = lambda line: None
) -> type[Any]:
    """Infer a type that fits every sample, named after the dataset.

    Reads all samples once, since a field may first appear in the last one. ``report`` receives a
    line about each field whose kind is assumed or that samples lack.

    Raises:
        OptionError: No type fits all samples. Names the first field and sample that differ.
        NoDataUrlsError: There are no samples.
    """
    seen = 0
    forms: dict[str, _Form] = {}
    counts: dict[str, int] = {}
    json = _JsonFields()
    with closing(cast("Any", Dataset.of(DictSample, source).ordered())) as samples:
        for sample in samples:
            for field, value in DictSample.items(sample):
                json.see(field, value)
                try:
                    forms[field] = _with(forms.get(field, _Form()), value, f"$.{field}", seen)
                except OptionError as error:
                    forms[field] = json.instead_of(error, field)
                counts[field] = counts.get(field, 0) + 1
            seen += 1
    if not seen:
        raise NoDataUrlsError(f"There are no samples in the shards. {_HINT}")
    class_name = _class_name(name)
    fields = []
    names = _field_names(list(forms), source)
    for field, form in forms.items():
        optional = form.nullable or counts[field] < seen
        try:
            kind = _kind(form, class_name, field)
        except _Apart as apart:
            loose = OptionError(
                f"$.{field}{apart.step}: some maps hold {apart.found}, others {apart.earlier}, "
                f"and their keys cannot be fields. {_HINT}"
            )
            kind = _kind(json.instead_of(loose, field), class_name, field)
        members = (field,) if names else ()
        fields.append(Field(names.get(field, field), kind, optional, members=members))
        if kind == JsonValue():
            report(f"$.{field}: its values differ in kind; recorded as Json. {_HINT}")
        elif _is_assumed(form):
            report(
                f"$.{field}: no sample has a value that shows its type; recorded as "
                f"{fields[-1].describe()}. {_HINT}"
            )
        elif counts[field] < seen:
            report(f"$.{field}: {seen - counts[field]:,} of {seen:,} samples lack it")
    return build_type(Schema(f"{_MODULE}.{class_name}", "1.0.0", tuple(fields)))


class _JsonFields:
    """Fields of lists and maps whose values differ in kind, but are all JSON."""

    def __init__(self) -> None:
        self._others: set[str] = set()

    def see(self, field: str, value: Any) -> None:
        """Note a value of a field."""
        if value is None or field in self._others:
            return
        try:
            if not isinstance(value, (list, Mapping)):
                raise Misfit("a list or a map", value)
            JsonValue().encode(value)
        except Misfit:
            self._others.add(field)

    def instead_of(self, error: OptionError, field: str) -> _Form:
        """Any JSON value, where no other kind fits.

        Raises:
            OptionError: The error, if a value of the field was something else.
        """
        if field in self._others:
            raise error
        return _Form(JsonValue())


def _field_names(members: list[str], source: DataSource) -> dict[str, str]:
    """Member → name of its field, for shards of many members; empty for other shards.

    Raises:
        OptionError: Two members would have one field.
    """
    with closing(source.open_shard(source.shard_list[0])) as stream:
        if layout_of(open_window(stream)) == "msgpack":
            return {}
    names: dict[str, str] = {}
    for member in members:
        plain = re.sub(r"\W", "_", member)
        name = plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"m_{plain}"
        if name in names.values():
            raise OptionError(f"Two members would be the field {name!r}. {_HINT}")
        names[member] = name
    return names


def published_like(schema: Schema, index: Any) -> str | None:
    """The reference of the one published schema that has the same fields as an inferred one.

    The order of the fields does not count. Schemas that were inferred count only if no class fits.
    """
    fields = {field.name: field for field in schema.fields}
    classes: list[str] = []
    inferred: list[str] = []
    for record in index.list_schemas():
        if {field.get("name") for field in record["fields"]} != fields.keys():
            continue
        try:
            known = index.schema_of_ref(record.ref)
        except (SchemaError, NotFoundError):
            continue
        if {field.name: field for field in known.fields} == fields:
            of_class = known.name.rpartition(".")[0] != _MODULE
            (classes if of_class else inferred).append(record.ref)
    found = classes or inferred
    return found[0] if len(found) == 1 else None


@redacted_repr
@dataclass(frozen=True)
class _Form:
    """What all values seen in one place have in common."""

    kind: Kind | type[ListOf] | type[MapOf] | None = None
    """None: no value seen yet shows it."""
    items: _Form | None = None
    """For a list or map: what its items have in common."""
    nullable: bool = False
    """Whether one of the values was None."""
    large: bool = False
    """Whether one of the values was an integer too large to be exactly a float."""
    keys: Mapping[str, _Form] | None = None
    """For maps with few keys: what each key holds. If ``apart`` is set, the keys become fields."""
    always: frozenset[str] = frozenset()
    """The keys that every map had."""
    apart: _Apart | None = None
    """Why the values of maps cannot all have one kind; None: they can."""

    def __str__(self) -> str:
        return "map" if self.kind is MapOf else _kind(self, "", "").describe()


class _Apart(Exception):
    """A value that no field can hold, or not together with an earlier value."""

    def __init__(self, found: object, earlier: object = None, step: str = "") -> None:
        self.found, self.earlier, self.step = found, earlier, step


def _with(known: _Form, value: Any, path: str, position: int) -> _Form:
    try:
        form = _form(value)
        return known if form == known else _join(known, form)
    except _Apart as apart:
        where = f"{path}{apart.step}: sample {position} holds {apart.found}"
        why = "earlier ones" if apart.earlier else "which no field can hold."
        earlier = f" {apart.earlier}." if apart.earlier else ""
        raise OptionError(f"{where}, {why}{earlier} {_HINT}") from None


def _form(value: Any) -> _Form:
    if value is None:
        return _Form(nullable=True)
    if isinstance(value, np.ndarray):
        return _Form(Array(_dtype(value.dtype)))
    if isinstance(value, list):
        return _Form(ListOf, _items(value))
    if isinstance(value, Mapping):
        return _map(value)
    if isinstance(value, datetime):
        return _Form(DateTime())
    if isinstance(value, Media):
        return _Form(Encoded(value.name))
    name = type(value).__name__
    if name not in PRIMITIVES:
        raise _Apart(name)
    return _Form(Primitive(name), large=name == "int" and abs(value) > _MAX_EXACT_INTEGER)


def _dtype(dtype: np.dtype[Any]) -> str | None:
    """The dtype as an annotation would name it in a schema; None: any dtype.

    Units, lengths, fields and byte orders are ignored: other samples may have others.
    """
    if dtype.type in _DTYPE_GROUPS:
        return _DTYPE_GROUPS[dtype.type]
    native = dtype_name(dtype.newbyteorder("="))
    return native if known_dtype(native) is not None else None


def _map(value: Mapping[str, Any]) -> _Form:
    keys = {key: _form(item) for key, item in value.items()}
    items, apart = _joined(keys.values())
    few = keys if len(keys) <= limits.fields else None
    return _Form(MapOf, items, keys=few, always=frozenset(keys), apart=apart)


def _joined(forms: Iterable[_Form]) -> tuple[_Form | None, _Apart | None]:
    try:
        return reduce(_join, forms, _Form()), None
    except _Apart as apart:
        return None, _inside(apart)


def _join_maps(a: _Form, b: _Form) -> _Form:
    items, apart = None, a.apart or b.apart
    if apart is None and a.items and b.items:
        items, apart = _joined((a.items, b.items))
    keys: dict[str, _Form] | None = None
    if a.keys is not None and b.keys is not None and len(a.keys) + len(b.keys) <= limits.fields:
        keys = {**a.keys, **b.keys}
        for key in a.keys.keys() & b.keys.keys():
            keys[key] = _join(a.keys[key], b.keys[key])
    always = a.always & b.always
    return _Form(MapOf, items, a.nullable or b.nullable, keys=keys, always=always, apart=apart)


def _items(values: Collection[Any]) -> _Form:
    kinds = set(map(type, values))
    if len(kinds) == 1 and (only := kinds.pop()) in (str, float, bool, bytes):
        return _Form(Primitive(only.__name__))
    try:
        return reduce(_join, map(_form, values), _Form())
    except _Apart as apart:
        raise _inside(apart) from None


def _join(a: _Form, b: _Form) -> _Form:
    if a.kind is b.kind is MapOf:
        return _join_maps(a, b)
    large = a.large or b.large
    kind: Any
    match a.kind, b.kind:
        case (None, kind) | (kind, None):
            pass
        case (one, other) if one == other:
            kind = one
        case Array(), Array():
            kind = Array()
        case Primitive("int" | "float"), Primitive("int" | "float"):
            if large:
                raise _Apart(f"{b}, which cannot be one float field for its large integers", a)
            kind = Primitive("float")
        case _:
            raise _Apart(b, a)
    if a.kind is MapOf or b.kind is MapOf:
        held = a if a.kind is MapOf else b
        return replace(held, nullable=a.nullable or b.nullable)
    items = a.items or b.items
    if a.items and b.items:
        try:
            items = _join(a.items, b.items)
        except _Apart as apart:
            raise _inside(apart) from None
    return _Form(kind, items, a.nullable or b.nullable, large)


def _inside(apart: _Apart) -> _Apart:
    return _Apart(apart.found, apart.earlier, f"[]{apart.step}")


def _kind(form: _Form, owner: str, field: str) -> Kind:
    """The kind of the values, None aside. A nested class is named after its owner and field.

    Raises:
        _Apart: Values of maps differ in kind, and the keys cannot be fields.
    """
    if form.apart is not None:
        return _nested(form, form.apart, owner + _class_name(field).removeprefix("Sample"))
    if form.items is not None and isinstance(form.kind, type):
        item = _kind(form.items, owner, field)
        return form.kind(Maybe(item) if form.items.nullable else item)
    return form.kind if isinstance(form.kind, Kind) else _ASSUMED


def _nested(form: _Form, apart: _Apart, name: str) -> Kind:
    if form.keys is None:
        raise apart
    fields = []
    for key, held in form.keys.items():
        try:
            check_identifier(key, name)
        except SchemaError:
            raise apart from None
        optional = held.nullable or key not in form.always
        fields.append(Field(key, _kind(held, name, key), optional=optional))
    return Nested(f"{_MODULE}.{name}", tuple(fields))


def _is_assumed(form: _Form) -> bool:
    if form.apart is not None:
        return any(map(_is_assumed, (form.keys or {}).values()))
    return form.kind is None or (form.items is not None and _is_assumed(form.items))


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return made if made.isidentifier() else f"Sample{made}"
