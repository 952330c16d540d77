"""Shapes, units and descriptions of fields: checked, recorded, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Doc, Shape, Unit, compare_schemas, schema_of
from atdata.errors import (
    AtdataError,
    EncodeError,
    LensNotFoundError,
    OptionError,
    SampleTypeError,
    SchemaConflictError,
    SchemaError,
)
from atdata.schema.alt_record import from_alt_record, to_alt_record
from atdata.schema.evolve import next_version
from atdata.schema.stubs import stub
from tests.schema.refs import Shelf
from tests.schema.test_stubs import load


@atdata.packable
class Lens:
    """A lens."""

    focal: Annotated[float, Unit("mm"), Doc("Between lens and sensor.")]


@atdata.packable
class Scene:
    """What one camera sees.

    With its depth.
    """

    image: Annotated[NDArray[np.uint8], Shape("h", "w", 3)]
    depth: Annotated[NDArray[np.float32] | None, Shape("h", "w"), Unit("m")]
    crops: list[Annotated[NDArray[np.uint8], Shape("c", "c", None)]]
    lens: Lens


def scene(h: int = 2, w: int = 3, deep: int = 2, c: int = 4, c2: int = 4) -> Scene:
    crops = [np.zeros((c, c, 1), np.uint8), np.zeros((c2, c2, 9), np.uint8)]
    depth = np.zeros((deep, w), np.float32)
    return Scene(np.zeros((h, w, 3), np.uint8), depth, crops, Lens(1.0))


WRONG: list[tuple[Scene, str]] = [
    (scene(deep=5), r"\$\.depth: expected h to be 2, as in \$\.image, found h of 5\."),
    (scene(c2=3), r"\$\.crops\[1\]: expected c to be 4, as in \$\.crops\[0\], found c of 3\."),
    (
        Scene(np.zeros((2, 3, 4), np.uint8), None, [], Lens(1.0)),
        r"\$\.image: expected uint8 \(h, w, 3\), found uint8 \(2, 3, 4\)\.",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_shape_is_checked_however_a_sample_is_written(
    wrong: Scene, message: str, tmp_path: Path
) -> None:
    """Alone, from a list, from a stream, as columns or inside a sample; both places are named."""
    good = [scene(), scene(h=7, deep=7, c=1, c2=1)]
    columns = {
        name: [getattr(each, name) for each in (*good, wrong)]
        for name in ("image", "depth", "crops", "lens")
    }

    @atdata.packable
    class Outer:
        scene: Scene

    ways: list[Callable[[], object]] = [
        lambda: wrong.packed,  # type: ignore[attr-defined]
        lambda: Scene.from_data(vars(wrong)),  # type: ignore[attr-defined]
        lambda: atdata.write_samples([*good, wrong], tmp_path / "x.tar"),
        lambda: atdata.write_samples(iter([*good, wrong]), tmp_path / "x.tar"),
        lambda: atdata.write_columns(columns, tmp_path / "x.tar", sample_type=Scene),
        lambda: atdata.write_samples([Outer(wrong)], tmp_path / "x.tar"),
    ]
    for number, way in enumerate(ways):
        sample = "sample 2: " if number in (2, 3, 4) else ""
        with pytest.raises(EncodeError, match=f"{sample}.*{message.removeprefix(chr(92) + '$')}"):
            way()
    assert not list(tmp_path.glob("*.tar"))
    assert list(atdata.write_samples(good, tmp_path / "x.tar")) == good


def test_columns_that_are_one_array_are_checked_by_their_shape(tmp_path: Path) -> None:
    """All samples of such columns have the same shapes."""

    @atdata.packable
    class Pair:
        a: Annotated[NDArray[np.int64], Shape("n")]
        b: Annotated[NDArray[np.int64], Shape("n", 2)]

    rows = np.zeros((5, 3), np.int64)
    with pytest.raises(EncodeError, match=r"sample 0: Pair \$\.b: expected n to be 3"):
        atdata.write_columns(
            {"a": rows, "b": np.zeros((5, 4, 2), np.int64)}, tmp_path / "x.tar", sample_type=Pair
        )
    written = atdata.write_columns(
        {"a": rows, "b": np.zeros((5, 3, 2), np.int64)}, tmp_path / "x.tar", sample_type=Pair
    )
    assert len(list(written)) == 5


def through_record(schema: atdata.Schema) -> atdata.Schema:
    shelf = Shelf()
    ref = shelf.publish(schema)
    shelf.records = json.loads(json.dumps(shelf.records))
    return shelf.resolve(ref)


def test_everything_said_of_a_field_is_in_the_schema_and_back() -> None:
    """In the record, in the type that is built of it, and in that type's schema and pickle."""
    schema = through_record(schema_of(Scene))
    made = atdata.build_type(schema)
    assert schema_of(made) == schema_of(Scene)
    assert made.__doc__ == schema_of(made).description == "What one camera sees.\n\nWith its depth."
    lens = schema_of(made).fields[3].kind
    assert lens.python.__doc__ == lens.description == "A lens."  # type: ignore[attr-defined]
    focal = lens.fields[0]  # type: ignore[attr-defined]
    assert (focal.unit, focal.description) == ("mm", "Between lens and sensor.")
    assert str(schema).splitlines()[1:3] == [
        "  image: uint8 (h, w, 3)",
        "  depth: float32 (h, w) | None [m]",
    ]


@pytest.mark.parametrize(
    "text",
    ["plain", 'a "quote"', '"both"', "two\n\nlines\n  indented", "\\ \x00 ''' \u2028", '"""', "ü"],
)
def test_a_stub_says_it_all(text: str, tmp_path: Path) -> None:
    """Importing the stub gives the same schema, also of texts with quotes and backslashes."""
    schema = atdata.Schema("m.Scene", "1.0.0", schema_of(Scene).fields, text)
    back = schema_of(load(stub(schema), tmp_path).Scene)
    assert back.fields == schema.fields
    assert back.description == text
    lens = back.fields[3].kind
    assert lens.description == "A lens."  # type: ignore[attr-defined]
    assert lens.fields[0].description == "Between lens and sensor."  # type: ignore[attr-defined]


def test_the_newer_family_has_it_too() -> None:
    """Names of axes, units and descriptions are keys of a property."""

    @atdata.packable
    class Flat:
        """Flat."""

        image: Annotated[NDArray[np.uint8], Shape("h", 3), Doc("A picture.")]
        time: Annotated[float, Unit("s")] | None

    back = from_alt_record(json.loads(json.dumps(to_alt_record(schema_of(Flat)))))
    assert back == schema_of(Flat)
    assert back.description == "Flat."
    assert back.fields[0].description == "A picture."


def test_another_unit_is_another_version(tmp_path: Path) -> None:
    """Numbers in another unit are not the same; where one has no unit, they may be."""

    @atdata.packable
    class Metre:
        x: Annotated[float, Unit("m")]

    @atdata.packable
    class Foot:
        x: Annotated[float, Unit("ft")]

    @atdata.packable
    class Bare:
        x: float

    metre, foot, bare = map(schema_of, (Metre, Foot, Bare))
    assert "x: float [m] → float [ft]" in str(compare_schemas(metre, foot))
    assert not compare_schemas(metre, foot).compatible
    assert compare_schemas(metre, bare).compatible
    assert compare_schemas(bare, metre).compatible
    assert next_version(metre, foot) == "2.0.0"
    written = atdata.write_samples([Metre(1.0)], tmp_path / "x.tar")
    assert written.as_type(Bare)[0].x == 1.0
    with pytest.raises(
        LensNotFoundError, match=r"'x' is float \[m\] in Metre, float \[ft\] in Foot"
    ):
        written.as_type(Foot)
    with pytest.raises(
        SchemaConflictError, match=r"expected float \[ft\], recorded as float \[m\]"
    ):
        atdata.load_dataset(tmp_path / "x.tar", Foot)


def test_names_of_axes_do_not_keep_old_data_from_being_read() -> None:
    """They are checked when samples are written; lengths are checked always."""

    @atdata.packable
    class Named:
        x: Annotated[NDArray[np.uint8], Shape("h", "w")]

    @atdata.packable
    class Sized:
        x: Annotated[NDArray[np.uint8], Shape(4, None)]

    assert compare_schemas(schema_of(Sized), schema_of(Named)).compatible
    assert not compare_schemas(schema_of(Named), schema_of(Sized)).compatible


def test_docstrings_that_dataclasses_write_are_no_description() -> None:
    """A class without a docstring has none; one too long keeps its first paragraph."""

    @atdata.packable
    class Plain:
        x: int

    long: Any = atdata.packable(
        type("Long", (), {"__doc__": "First.\n\n" + "x" * 20_000, "__annotations__": {"x": int}})
    )
    assert schema_of(Plain).description is None
    assert schema_of(long).description == "First."
    assert schema_of(long, description="mine").description == "mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shape(..., 3), r"any number of axes"),
        (lambda: Shape(-1), r"-1 is no axis"),
        (lambda: Shape("h w"), r"'h w' is no axis"),
        (lambda: Shape(True), r"True is no axis"),
        (lambda: Shape(*[1] * 40), r"limits\.array_dimensions"),
        (lambda: Unit(""), r"printable"),
        (lambda: Doc(3), r"expected a str"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    """A shape, unit or text that no schema could hold."""
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotated[NDArray[np.uint8], (8, 16)], r"atdata\.Shape\(8, 16\)"),
        (Annotated[NDArray[np.uint8], Shape], r"atdata\.Shape\('h', 'w', 3\)"),
        (Annotated[int, Shape(3)], r"Shape\(3\) is for an array, not for int"),
        (Annotated[NDArray[np.uint8], Shape(3), Shape(4)], r"another shape already"),
    ],
)
def test_marks_that_do_not_fit_their_field_are_refused(annotation: Any, message: str) -> None:
    """With what to write instead."""
    with pytest.raises(SampleTypeError, match=rf"Odd\.x: .*{message}"):
        atdata.packable(type("Odd", (), {"__annotations__": {"x": annotation}}))


@pytest.mark.parametrize(
    "change",
    [
        {"axes": ["h"]},
        {"axes": ["h", "w", "c"]},
        {"axes": ["h", 3, ""]},
        {"axes": ["h", "", None]},
        {"axes": ["h h", "", ""]},
        {"axes": "hwc"},
        {"axes": ["h" * 600, "", ""]},
    ],
)
def test_untrusted_axes_and_units(change: dict[str, Any]) -> None:
    """A record whose names do not fit its shape is an error with its path."""
    shelf = Shelf()
    ref = shelf.publish(schema_of(Scene))
    shelf.records[ref]["fields"][0]["fieldType"].update(change)
    with pytest.raises(SchemaError, match=r"fields\[0\]\.fieldType\.axes"):
        shelf.resolve(ref)
    shelf = Shelf()
    ref = shelf.publish(schema_of(Scene))
    shelf.records[ref]["fields"][0]["unit"] = "x\x1b"
    with pytest.raises(AtdataError, match=r"fields\[0\]\.unit"):
        shelf.resolve(ref)


@pytest.mark.parametrize(
    ("module", "message"),
    [("torch", r"tensor\.numpy\(force=True\)"), ("jax", "asarray"), ("tensorflow", r"numpy\(\)")],
)
def test_tensors_of_other_libraries_are_refused_with_what_to_write(
    module: str, message: str
) -> None:
    """The libraries are not imported: a class is known by its module."""
    tensor = type("Tensor", (), {"__module__": module})
    expected = rf"Odd\.x: .*write NDArray\[np\.float32\] or the like\. Store .*{message}"
    with pytest.raises(SampleTypeError, match=expected):
        atdata.packable(type("Odd", (), {"__annotations__": {"x": tensor}}))
