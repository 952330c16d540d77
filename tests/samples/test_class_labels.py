"""Fields that hold the number of a class, with the names of the classes in the schema."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, Any

import msgpack
import numpy as np
import pytest

import atdata
from atdata import ClassLabel
from atdata.errors import DecodeError, EncodeError, OptionError, SampleTypeError
from atdata.schema.stubs import stub

ANIMALS = ClassLabel("cat", "dog", "owl")


class Photo(atdata.PackableSample):
    label: Annotated[int, ANIMALS]
    second: Annotated[int, ANIMALS] | None = None
    third: Annotated[int | None, ANIMALS] = None


class Plain(atdata.PackableSample):
    label: int
    second: int | None = None
    third: int | None = None


def test_on_the_wire_a_label_is_an_int(tmp_path: Path) -> None:
    """Labels are ints, to readers that know the names and to those that do not."""
    photos = [Photo(number % 3, number % 2 or None) for number in range(30)]
    dataset = atdata.write_samples(photos, tmp_path / "a.tar")
    plain = [Plain(photo.label, photo.second) for photo in photos]
    atdata.write_samples(plain, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    [batch] = dataset.ordered(batch_size=30)
    assert batch.label == [number % 3 for number in range(30)]
    assert batch.column("label").dtype == np.int64
    assert batch.samples == list(dataset.ordered()) == photos
    assert batch.column("second", fill=-100).tolist() == [
        number % 2 or -100 for number in range(30)
    ]
    assert atdata.DictSample.from_bytes(photos[1].packed)["label"] == 1


def test_a_column_gives_what_its_rows_give(tmp_path: Path) -> None:
    """Labels from an array give the same bytes as one by one, and are checked likewise."""
    photos = [Photo(number % 3) for number in range(30)]
    atdata.write_samples(photos, tmp_path / "a.tar")
    column: dict[str, Any] = {
        "label": np.arange(30, dtype=np.uint8) % 3,
        "second": [None] * 30,
        "third": [None] * 30,
    }
    atdata.write_columns(column, tmp_path / "b.tar", sample_type=Photo)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with pytest.raises(EncodeError, match=r"label: expected 0 to 2.*found 3"):
        atdata.write_columns(
            {**column, "label": np.arange(30)}, tmp_path / "c.tar", sample_type=Photo
        )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            3,
            r"\$\.label: expected 0 to 2, .* of ClassLabel\('cat', 'dog', 'owl'\), found 3",
        ),
        (-1, "found -1. A field without a label holds None"),
        ("dog", r"found 'dog'. Write its number, 1"),
        ("cow", "found str"),
        (True, "found bool"),
        (1.0, "found float"),
        (2**70, r"found .*64 bits"),
    ],
)
def test_what_is_no_label_is_refused_when_written(value: Any, message: str) -> None:
    """Only the number of a class can be written; the error says which numbers there are."""
    with pytest.raises(EncodeError, match=message):
        _ = Photo(value).packed


@pytest.mark.parametrize("value", [3, -1, 2**64 - 1, 1.0, True, "dog", None, [1]], ids=repr)
def test_what_is_no_label_is_refused_when_read(value: Any, tmp_path: Path) -> None:
    """A wrong number in a shard is an error with the sample's key, alone and among right ones."""
    with pytest.raises(DecodeError, match=r"\$\.label"):
        Photo.from_bytes(msgpack.packb({"label": value}))
    rows = [{"label": 0}, {"label": value}, {"label": 1}]
    atdata.write_samples([atdata.DictSample(row) for row in rows], tmp_path / "a.tar")
    with pytest.raises(DecodeError, match="'000000001'"):
        list(atdata.Dataset[Photo](str(tmp_path / "a.tar")).ordered(batch_size=3))


def test_names_and_numbers_are_converted() -> None:
    """int2str and str2int take one or many, as in Hugging Face datasets."""
    assert ANIMALS.num_classes == 3
    assert ANIMALS.int2str(1) == ANIMALS.int2str(np.int64(1)) == "dog"
    assert ANIMALS.int2str([0, 2]) == ANIMALS.int2str(np.array([0, 2])) == ["cat", "owl"]
    assert ANIMALS.str2int("owl") == 2
    assert ANIMALS.str2int(["owl", "cat"]) == [2, 0]
    for wrong in (lambda: ANIMALS.int2str(3), lambda: ANIMALS.str2int(["cow"])):
        with pytest.raises(OptionError, match=r"cow|0 to 2"):
            wrong()


def test_names_are_in_the_schema() -> None:
    """A type made of the schema has the names, and so has its source; pickling keeps them."""
    schema = atdata.schema_of(Photo)
    made: Any = atdata.build_type(schema)
    kind = atdata.schema_of(made).fields[0].kind
    assert isinstance(kind, ClassLabel)
    assert kind.names == ("cat", "dog", "owl")
    assert pickle.loads(pickle.dumps(kind)) == ANIMALS
    assert "label: Annotated[int, ClassLabel('cat', 'dog', 'owl')]" in stub(schema)


def test_the_thousand_classes_of_a_benchmark_fit() -> None:
    """Thousands of long names are published, and shown in a few words."""
    many = ClassLabel(*(f"class number {number}, with a long name" for number in range(20_000)))
    cls: Any = atdata.packable(type("Big", (), {"__annotations__": {"x": Annotated[int, many]}}))
    assert cls.from_bytes(cls(19_999).packed).x == 19_999
    assert "20,000 names" in str(atdata.schema_of(cls))
    assert len(str(atdata.schema_of(cls))) < 300


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassLabel(), "has no names"),
        (lambda: ClassLabel("a", "a"), "'a' twice"),
        (lambda: ClassLabel("a", ""), "0 characters, number 1"),
        (lambda: ClassLabel("a", 1), "type int, number 1"),  # type: ignore[arg-type]
        (lambda: ClassLabel(["a", "b"]), r"ClassLabel\(\*names\)"),  # type: ignore[arg-type]
        (lambda: _type(Annotated[str, ANIMALS]), "an int, not as str: write Annotated"),
        (lambda: _type(Annotated[int, ClassLabel]), "needs the names"),
        (lambda: _type(ClassLabel), r"write Annotated\[int, ClassLabel"),
        (lambda: _type(ANIMALS), r"write Annotated\[int, ClassLabel"),
    ],
)
def test_wrong_spellings_are_answered_with_the_right_one(make: Any, message: str) -> None:
    """What people write first is answered with what works."""
    with pytest.raises(SampleTypeError, match=message):
        make()


def _type(annotation: Any) -> Any:
    return atdata.packable(type("Odd", (), {"__annotations__": {"field": annotation}}))


@pytest.mark.parametrize("value", ["a", 1.5, None, b"a"])
def test_names_of_what_is_no_number_are_refused(value: Any) -> None:
    """A name, or nothing that has numbers in it."""
    with pytest.raises(OptionError, match="int2str"):
        ClassLabel("a", "b").int2str(value)


@pytest.mark.parametrize("value", [5, 1.5, None])
def test_numbers_of_what_is_no_name_are_refused(value: Any) -> None:
    """One number, or nothing."""
    with pytest.raises(OptionError, match="str2int"):
        ClassLabel("a", "b").str2int(value)
