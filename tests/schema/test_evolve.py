"""What changed between two schemas, and which version comes next."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Field,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    Primitive,
)
from atdata.schema.build import build_type
from atdata.schema.evolve import accepts, compare, next_version
from atdata.schema.model import Schema
from atdata.testing.strategies import kinds, samples_of, schemas

INT, FLOAT, STR = Primitive("int"), Primitive("float"), Primitive("str")


def schema(*fields: Field, version: str = "1.2.3") -> Schema:
    return Schema("lab.Thing", version, fields)


def thing(*fields: Field) -> Nested:
    return Nested("lab.Inner", fields)


BASE = schema(Field("a", INT), Field("b", STR, optional=True))


@given(schemas())
def test_a_schema_does_not_differ_from_itself(one: Schema) -> None:
    """Equal fields are no difference and keep their version."""
    diff = compare(one, one.with_version("9.9.9"))
    assert not diff
    assert diff.compatible
    assert next_version(one, one) == one.version
    assert str(diff) == "The fields are the same."


@given(schemas(depth=1), schemas(depth=1))
def test_any_difference_is_told_and_raises_the_version(old: Schema, new: Schema) -> None:
    """Where the fields differ there is a line that says how, and a higher version."""
    assume(old.fields != new.fields)
    diff = compare(old, new)
    assert diff
    assert len(str(diff).splitlines()) >= 2
    assert next_version(old, new) != old.version


@pytest.mark.parametrize(
    ("fields", "line", "compatible", "version"),
    [
        (
            (*BASE.fields, Field("c", FLOAT, optional=True)),
            "+ c: float | None",
            True,
            "1.3.0",
        ),
        ((*BASE.fields, Field("c", FLOAT)), "+ c: float", False, "2.0.0"),
        (BASE.fields[:1], "- b: str | None", True, "2.0.0"),
        ((Field("a", FLOAT), BASE.fields[1]), "~ a: int → float", True, "2.0.0"),
        ((Field("a", STR), BASE.fields[1]), "~ a: int → str", False, "2.0.0"),
        (
            (Field("a", INT, optional=True), BASE.fields[1]),
            "~ a: int → int | None (now optional)",
            True,
            "2.0.0",
        ),
        (
            (BASE.fields[0], Field("b", STR)),
            "~ b: str | None → str (now required)",
            False,
            "2.0.0",
        ),
        (BASE.fields[::-1], "~ the fields are in another order", True, "2.0.0"),
    ],
)
def test_each_sort_of_change(
    fields: tuple[Field, ...], line: str, compatible: bool, version: str
) -> None:
    """A new optional field is a minor change, anything else major; readability is separate."""
    new = schema(*fields)
    diff = compare(BASE, new)
    assert line in str(diff).splitlines()
    assert diff.compatible is compatible
    assert next_version(BASE, new) == version
    verdict = "are readable" if compatible else "are not readable"
    assert verdict in str(diff).splitlines()[-1]


def test_changes_inside_nested_samples_have_their_path() -> None:
    """A difference in a nested sample is reported by its path, not as the whole field."""
    old = schema(Field("boxes", ListOf(thing(Field("x", INT)))))
    new = schema(Field("boxes", ListOf(thing(Field("x", INT), Field("y", INT, optional=True)))))
    diff = compare(old, new)
    assert [str(entry) for entry in diff.added] == ["boxes[].y: int | None"]
    assert not diff.changed
    assert diff.compatible
    assert next_version(old, new) == "1.3.0"


def test_a_renamed_nested_class_is_no_change() -> None:
    """Only fields count, not what their class is called."""
    old = schema(Field("box", thing(Field("x", INT))))
    new = schema(Field("box", Nested("other.Name", (Field("x", INT),))))
    assert not compare(old, new)


@pytest.mark.parametrize(
    ("new", "old", "reads"),
    [
        (Array(), Array("float32", (3,)), True),
        (Array("float32"), Array("float32", (3,)), True),
        (Array("float32", (None,)), Array("float32", (3,)), True),
        (Array("float32", (3,)), Array("float32"), False),
        (Array("float32", (3,)), Array("float32", (4,)), False),
        (Array("float32"), Array(), False),
        (Array("float32"), Array("float64"), False),
        (Array(">f4"), Array("float32"), True),
        (Array("datetime64"), Array("<M8[ns]"), True),
        (Choice(("a", "b")), Choice(("a",)), True),
        (Choice(("a",)), Choice(("a", "b")), False),
        (STR, Choice(("a",)), True),
        (STR, DateTime(), True),
        (DateTime(), STR, False),
        (INT, FLOAT, False),
        (Maybe(FLOAT), INT, True),
        (ClassLabel("a", "b"), ClassLabel("a"), True),
        (ClassLabel("b", "a"), ClassLabel("a", "b"), False),
        (ClassLabel("a"), ClassLabel("a", "b"), False),
        (ClassLabel("a"), INT, False),
        (INT, ClassLabel("a"), True),
        (JsonValue(), MapOf(ListOf(Maybe(INT))), True),
        (JsonValue(), FLOAT, False),
        (JsonValue(), ListOf(Array()), False),
        (MapOf(JsonValue()), JsonValue(), False),
        (INT, Maybe(INT), False),
        (MapOf(Maybe(FLOAT)), MapOf(INT), True),
        (ListOf(INT), MapOf(INT), False),
        (thing(Field("x", INT)), thing(Field("x", INT), Field("y", INT)), True),
        (thing(Field("x", INT), Field("y", INT)), thing(Field("x", INT)), False),
    ],
)
def test_which_stored_values_read_as_another_kind(new: Kind, old: Kind, reads: bool) -> None:
    """Widening keeps old data readable, narrowing does not."""
    assert accepts(new, old) is reads


@pytest.mark.filterwarnings("ignore::atdata.errors.UnknownFieldWarning")
@settings(max_examples=60)
@given(st.data(), kinds(depth=1), kinds(depth=1))
def test_what_is_called_compatible_reads(data: st.DataObject, old: Kind, other: Kind) -> None:
    """Every sample of the old schema reads as the new one wherever `compare` says so."""
    new = data.draw(st.sampled_from([other, Maybe(old), _wider(old)]))
    optional = isinstance(new, Maybe)
    before = schema(Field("x", old), Field("gone", INT))
    kind = new.kind if isinstance(new, Maybe) else new
    after = schema(Field("x", kind, optional), Field("more", INT, optional=True))
    assume(compare(before, after).compatible)
    old_type: Any = build_type(before)
    new_type: Any = build_type(after)
    sample = data.draw(samples_of(old_type))
    assert new_type.from_bytes(sample.packed).more is None


def _wider(kind: Kind) -> Kind:
    match kind:
        case Array():
            return Array()
        case Choice() | DateTime():
            return STR
        case ListOf(inner):
            return ListOf(_wider(inner))
        case _:
            return FLOAT if kind == INT else kind
