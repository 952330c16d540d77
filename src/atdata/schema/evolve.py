"""Comparing schemas: what changed, whether old data stays readable, the next version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from atdata._refs import Version
from atdata._secrets import redacted_repr
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    Simple,
    TupleOf,
)
from atdata.samples.ndarray import dtype_fits
from atdata.schema.checks import known_dtype
from atdata.schema.model import Schema


@redacted_repr
@dataclass(frozen=True)
class FieldChange:
    """A field that both schemas have, but not the same."""

    path: str
    """``image``; inside nested samples ``box.width``."""
    old: Field
    new: Field

    @property
    def compatible(self) -> bool:
        """Whether every stored value of the old field can be read as the new one."""
        same_unit = self.new.same_unit(self.old)
        return same_unit and accepts(self.new.value_kind, self.old.value_kind)

    def __str__(self) -> str:
        old, new = self.old.described_type, self.new.described_type
        if old == new:
            old, new = f"{old} ({self.old.kind})", f"{new} ({self.new.kind})"
        return f"{self.path}: {old} → {new}"


@redacted_repr
@dataclass(frozen=True)
class FieldEntry:
    """A field that only one schema has."""

    path: str
    field: Field

    def __str__(self) -> str:
        return f"{self.path}: {self.field.described_type}"


@dataclass(frozen=True)
class SchemaDiff:
    """The differences between two schemas. Descriptions and metadata are not compared."""

    old: Schema
    new: Schema
    added: tuple[FieldEntry, ...]
    removed: tuple[FieldEntry, ...]
    changed: tuple[FieldChange, ...]
    """Fields that changed their kind or unit; not those that only became optional or required."""
    made_optional: tuple[FieldChange, ...]
    made_required: tuple[FieldChange, ...]
    reordered: bool
    """Whether the fields that both have are in another order."""

    def __bool__(self) -> bool:
        """Whether any field differs."""
        return bool(
            self.added
            or self.removed
            or self.changed
            or self.made_optional
            or self.made_required
            or self.reordered
        )

    @property
    def compatible(self) -> bool:
        """Whether data written as ``old`` can be read as ``new``.

        Removed fields are ignored when reading.
        """
        return (
            all(entry.field.optional for entry in self.added)
            and all(change.compatible for change in self.changed)
            and not self.made_required
        )

    @property
    def only_additions(self) -> bool:
        """Whether the only differences are new optional fields."""
        rest = (self.removed, self.changed, self.made_optional, self.made_required)
        return (
            not any(rest)
            and not self.reordered
            and all(entry.field.optional for entry in self.added)
        )

    def __str__(self) -> str:
        """One line for each difference, and whether old data can be read."""
        if not self:
            return "The fields are the same."
        lines = [
            *(f"+ {entry}" for entry in self.added),
            *(f"- {entry}" for entry in self.removed),
            *(f"~ {change}" for change in self.changed),
            *(f"~ {change} (now optional)" for change in self.made_optional),
            *(f"~ {change} (now required)" for change in self.made_required),
        ]
        if self.reordered:
            lines.append("~ the fields are in another order")
        verdict = "are readable" if self.compatible else "are not readable"
        old, new = self.old, self.new
        lines.append(
            f"Data written as {old.class_name}@{old.version} {verdict} as "
            f"{new.class_name}@{new.version}."
        )
        return "\n".join(lines)


def compare(old: Schema, new: Schema) -> SchemaDiff:
    """What changed from ``old`` to ``new``, including in nested samples.

    Names of sample types are not compared.
    """
    found = list(_differences(old.fields, new.fields, ""))
    changes = [item for item in found if isinstance(item, FieldChange)]
    same_kind = [change for change in changes if not _differ(change)]
    return SchemaDiff(
        old,
        new,
        added=tuple(item for item in found if isinstance(item, _Added)),
        removed=tuple(item for item in found if isinstance(item, _Removed)),
        changed=tuple(change for change in changes if _differ(change)),
        made_optional=tuple(change for change in same_kind if change.new.optional),
        made_required=tuple(change for change in same_kind if change.old.optional),
        reordered=any(isinstance(item, _Reordered) for item in found),
    )


def _differ(change: FieldChange) -> bool:
    """Whether a field has another kind or unit."""
    return (change.old.kind, change.old.unit) != (change.new.kind, change.new.unit)


def next_version(old: Schema, new: Schema) -> str:
    """The semantic version of ``new``, if ``old`` is the latest version.

    Equal fields keep the version; if the only differences are new optional fields, the minor
    version is incremented; else the major version.
    """
    diff = compare(old, new)
    if not diff:
        return old.version
    version = Version.parse(old.version)
    if diff.only_additions:
        return str(Version(version.major, version.minor + 1, 0))
    return str(Version(version.major + 1, 0, 0))


class _Added(FieldEntry):
    """A field of the new schema alone."""


class _Removed(FieldEntry):
    """A field of the old schema alone."""


class _Reordered:
    """Fields of both schemas are in another order."""


def _differences(
    old: tuple[Field, ...], new: tuple[Field, ...], prefix: str
) -> Iterator[FieldChange | FieldEntry | _Reordered]:
    before = {field.name: field for field in old}
    after = {field.name: field for field in new}
    for name, field in before.items():
        path = prefix + name
        if name not in after:
            yield _Removed(path, field)
        elif field != after[name]:
            yield from _changes(path, field, after[name])
    for name, field in after.items():
        if name not in before:
            yield _Added(prefix + name, field)
    if [n for n in before if n in after] != [n for n in after if n in before]:
        yield _Reordered()


def _changes(path: str, old: Field, new: Field) -> Iterator[FieldChange | FieldEntry | _Reordered]:
    inner = _both_nested(old.kind, new.kind)
    if inner is None:
        yield FieldChange(path, old, new)
        return
    suffix, before, after = inner
    if (old.optional, old.unit) != (new.optional, new.unit):
        yield FieldChange(path, old, Field(new.name, old.kind, new.optional, unit=new.unit))
    yield from _differences(before.fields, after.fields, f"{path}{suffix}.")


def _both_nested(old: Kind, new: Kind) -> tuple[str, Nested, Nested] | None:
    """The nested samples in two kinds of the same form, and the path to them; None otherwise."""
    match old, new:
        case (ListOf(a), ListOf(b)) | (MapOf(a), MapOf(b)):
            inner = _both_nested(a, b)
            return None if inner is None else (f"[]{inner[0]}", inner[1], inner[2])
        case Maybe(a), Maybe(b):
            return _both_nested(a, b)
        case Nested(), Nested():
            return "", old, new
        case _:
            return None


def accepts(new: Kind, old: Kind) -> bool:
    """Whether every value stored as the kind ``old`` can be read as the kind ``new``."""
    if new == old:
        return True
    match new, old:
        case Maybe(a), Maybe(b):
            return accepts(a, b)
        case Maybe(a), _:
            return accepts(a, old)
        case OneOf(), OneOf():
            return all(accepts(new, kind) for kind in old.kinds)
        case OneOf(kinds), _:
            return any(accepts(kind, old) for kind in kinds)
        case _, OneOf(kinds):
            return all(accepts(new, kind) for kind in kinds)
        case MapOf(a), MapOf(b):
            return accepts(a, b)
        case ListOf(a) | TupleOf(a), ListOf() | TupleOf() | FixedTuple() | SetOf():
            return all(accepts(a, b) for b in old.parts())
        case FixedTuple(), FixedTuple() if len(new.items) == len(old.items):
            return all(map(accepts, new.items, old.items))
        case SetOf(a), SetOf(b):
            # Two integers may be one float, and a set has no item twice.
            return a == b or (accepts(a, b) and a == Primitive("str"))
        case Primitive("float"), Primitive("int"):
            return True
        case Primitive("str"), Choice() | DateTime():
            return True
        case Primitive(name), Simple():
            return name == old.on_wire.__name__
        case Primitive("int" | "float"), ClassLabel() | IntChoice():
            return True
        case IntChoice(wide), IntChoice(narrow):
            return set(narrow) <= set(wide)
        case ClassLabel(names), ClassLabel(before):
            # Another name at the same number, and old labels would mean another class.
            return names[: len(before)] == before
        case JsonValue(), _:
            return _is_json(old)
        case Choice(wide), Choice(narrow):
            return set(narrow) <= set(wide)
        case (Primitive("bytes"), Encoded()) | (Encoded(), Primitive("bytes")):
            return True
        case Array(), Array():
            return _array_accepts(new, old)
        case Nested(), Nested():
            return _fields_accept(new.fields, old.fields)
        case _:
            return False


def _is_json(kind: Kind) -> bool:
    """Whether each stored value is a JSON value. A float may be NaN, and JSON has none."""
    match kind:
        case Primitive(name):
            return name in ("str", "int", "bool")
        case JsonValue() | ClassLabel() | Choice() | IntChoice() | DateTime() | Simple():
            return True
        case ListOf() | MapOf() | TupleOf() | FixedTuple() | SetOf() | OneOf() | Maybe() | Nested():
            return all(map(_is_json, kind.parts()))
        case _:
            return False


def _array_accepts(new: Array, old: Array) -> bool:
    if new.dtype is not None and new.dtype != old.dtype:
        have = None if old.dtype is None else known_dtype(old.dtype)
        if have is None or not dtype_fits(have, new.dtype):
            return False
    if new.shape is None:
        return True
    if old.shape is None or len(old.shape) != len(new.shape):
        return False
    return all(
        want is None or want == have for want, have in zip(new.shape, old.shape, strict=True)
    )


def _fields_accept(new: tuple[Field, ...], old: tuple[Field, ...]) -> bool:
    before = {field.name: field for field in old}
    return all(
        field.same_unit(before[field.name])
        and accepts(field.value_kind, before[field.name].value_kind)
        if field.name in before
        else field.optional
        for field in new
    )
