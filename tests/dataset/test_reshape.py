"""Fields renamed, dropped and added: the values of all others stay, in every way of reading."""

from __future__ import annotations

import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DictSample, write_samples
from atdata.errors import EncodeError, NotSendableError, OptionError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@atdata.packable
class Inner:
    x: int


@atdata.packable
class Thing:
    pixels: NDArray[np.float32]
    label: int
    colour: Colour
    inner: Inner
    note: str | None = None


THINGS = [
    Thing(np.full(3, i, np.float32), i, list(Colour)[i % 2], Inner(i), None if i % 3 else "x")
    for i in range(7)
]


@pytest.fixture
def things(tmp_path: Path) -> Dataset[Thing]:
    return write_samples(THINGS, tmp_path / "things.tar", maxcount=3, fsync=False)


def half(thing: Thing) -> float:
    return thing.label / 2


def ways(dataset: Dataset[Any]) -> list[list[Any]]:
    """The samples in order, as read in several ways."""
    batched = [s for batch in dataset.ordered(2) for s in batch]
    sent = pickle.loads(pickle.dumps(dataset))
    shuffled = sorted(sent.shuffled(seed=0), key=lambda s: float(s.pixels[0]))
    return [list(dataset), batched, [dataset[i] for i in range(7)], shuffled, list(sent.skip(0))]


def test_renamed_fields_have_the_same_values(things: Dataset[Thing]) -> None:
    """Other names, also exchanged ones; the rest as it was."""
    for way in ways(things.rename(label="digit", note="label")):
        assert [s.digit for s in way] == list(range(7))
        assert [s.label for s in way] == [t.note for t in THINGS]
        assert [s.inner.x for s in way] == list(range(7))
        assert [s.colour for s in way] == [t.colour.value for t in THINGS]


def test_dropped_fields_are_gone(things: Dataset[Thing], tmp_path: Path) -> None:
    """A sample, a batch, a column and a file have the other fields alone."""
    dataset = things.drop("pixels", "inner", "colour")
    assert set(next(dataset.batches(3))) == {"label", "note"}
    assert next(dataset.ordered(3)).fields == ("label", "note")
    assert [s.label for s in write_samples(dataset, tmp_path / "less.tar")] == list(range(7))
    with pytest.raises(AttributeError):
        _ = dataset[0].pixels


def test_added_fields_are_of_their_type(things: Dataset[Thing]) -> None:
    """By annotation or by argument; a field of the same name is replaced."""
    for way in ways(things.with_column("half", half)):
        assert [s.half for s in way] == [i / 2 for i in range(7)]
        assert [s.label for s in way] == list(range(7))
        assert [s.inner.x for s in way] == list(range(7))
    column = next(things.with_column("half", half).batches(7))["half"]
    assert column.dtype == np.float64
    replaced = things.with_column("label", lambda thing: f"n{thing.label}", str)
    assert replaced[3].label == "n3"
    assert replaced.drop("pixels", "note", "inner", "colour")[2].label == "n2"
    with pytest.raises(NotSendableError, match="with_column"):
        replaced.__reduce__()


def test_samples_without_a_type_are_reshaped_too(things: Dataset[Thing]) -> None:
    """DictSamples stay such."""
    plain = Dataset[DictSample](things.source)
    made = plain.drop("pixels", "inner").rename(label="digit").with_column("two", lambda s: 2)
    assert {**made[4]} == {"digit": 4, "colour": "red", "note": None, "two": 2}
    for wrong in (plain.drop("nothing"), plain.rename(nothing="x")):
        with pytest.raises(OptionError, match="no field 'nothing'"):
            list(wrong)


def test_what_cannot_be_is_named(things: Dataset[Thing]) -> None:
    """Unknown fields, double names and values that do not fit."""
    with pytest.raises(OptionError, match="no field 'labl'"):
        things.drop("labl")
    with pytest.raises(OptionError, match="no other field"):
        things.drop("pixels", "label", "colour", "inner", "note")
    with pytest.raises(OptionError, match="two fields 'note'"):
        things.rename(label="note")
    with pytest.raises(OptionError, match="Annotate"):
        things.with_column("x", lambda thing: 1)
    with pytest.raises(OptionError, match="with_column"):
        things.with_column("x", lambda thing: 1, object)
    with pytest.raises(OptionError, match="name of a field"):
        things.with_column("not a name", half)
    with pytest.raises(OptionError, match="sample_type"):
        things.map(lambda thing: {"label": 1}).drop("label")
    with pytest.raises(EncodeError, match=r"with_column\(half\).*label"):
        list(things.with_column("label", half, int))
