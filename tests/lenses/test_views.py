"""Plain views: fields picked out by name."""

from __future__ import annotations

import pickle
from enum import Enum, IntEnum
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import LensError
from atdata.lenses.views import field_view
from atdata.samples.kinds import Field
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of
from atdata.testing.strategies import sample_types, samples_of


class Split(Enum):
    TRAIN = "train"
    TEST = "test"


@atdata.packable
class Box:
    x: int


class Photo(atdata.PackableSample):
    image: NDArray[np.uint8]
    label: int
    split: Split
    boxes: list[Box]
    best: Box | None = None


@atdata.packable
class Loose:
    label: int | None
    image: NDArray  # type: ignore[type-arg]


@atdata.packable
class Plain:
    split: Literal["train", "test"]
    best: Box | None = None


def photo() -> Photo:
    return Photo(np.zeros((2, 2), np.uint8), 3, Split.TEST, [Box(1)], Box(2))


@settings(max_examples=60)
@given(st.data(), sample_types(depth=1))
def test_views_of_random_types_keep_the_laws(data: st.DataObject, source: Any) -> None:
    """GetPut and PutGet hold for every view on some of the fields of any type, renamed too."""
    fields = schema_of(source).fields
    chosen = data.draw(st.lists(st.sampled_from(fields), min_size=1, unique_by=lambda f: f.name))
    renames = {f"v{f.name}_{i}": f.name for i, f in enumerate(chosen)}
    seen = tuple(Field(new, f.kind, f.optional) for new, f in zip(renames, chosen, strict=True))
    view: Any = build_type(Schema("lab.View", "1.0.0", seen))
    lens = field_view(source, view, renames)
    sample, other = data.draw(samples_of(source)), data.draw(samples_of(view))
    assert lens.put(lens.get(sample), sample) == sample
    assert lens.get(lens.put(other, sample)) == other
    assert lens.put(other, lens.put(lens.get(sample), sample)) == lens.put(other, sample)
    assert lens.renames == renames


@settings(max_examples=30)
@given(samples_of(Photo))
def test_a_class_and_its_decoded_type_view_each_other(sample: Photo) -> None:
    """Data of a type from an index are seen as one's own class and back, enums and all."""
    decoded = build_type(schema_of(Photo))
    there: Any = field_view(Photo, decoded)
    back: Any = field_view(decoded, Photo)
    assert type(there(sample).boxes) is list
    assert there(sample).packed == sample.packed
    assert back(there(sample)) == sample
    assert there.put(there.get(sample), sample) == sample
    assert there.renames is None


class Level(IntEnum):
    LOW = 1
    HIGH = 5


class Task(atdata.PackableSample):
    level: Level
    splits: frozenset[Split]
    place: tuple[Box, int]
    levels: tuple[Level, ...]


def test_enums_and_samples_in_tuples_and_sets_are_converted() -> None:
    """What is in tuples and sets becomes what the view has, and comes back."""
    task = Task(Level.HIGH, frozenset(Split), (Box(1), 2), (Level.LOW, Level.HIGH))
    decoded: Any = build_type(schema_of(Task))
    there: Any = field_view(Task, decoded)
    back: Any = field_view(decoded, Task)
    seen = there(task)
    assert (type(seen.level), type(seen.splits), type(seen.place)) == (int, set, tuple)
    assert seen.splits == {"train", "test"}
    assert seen.packed == task.packed
    assert back(seen) == task
    assert (type(back(seen).level), type(back(seen).splits)) == (Level, frozenset)
    assert type(back(seen).place[0]) is Box


def test_a_view_shares_values_and_tells_its_columns() -> None:
    """Nothing is copied where fields are only selected, and the lens says which they are."""
    source = photo()
    lens = field_view(Photo, Loose)
    assert lens.get(source).image is source.image
    assert lens.renames == {"label": "label", "image": "image"}
    assert pickle.loads(pickle.dumps(lens))(source) == lens(source)


def test_a_wider_view_is_checked_on_the_way_back() -> None:
    """A view may hold more than the source can; putting that back is refused with its path."""
    lens = field_view(Photo, Loose)
    kept = lens.put(Loose(4, np.ones(3, np.uint8)), photo())
    assert (kept.label, kept.image.shape, kept.boxes) == (4, (3,), [Box(1)])
    with pytest.raises(LensError, match=r"\$\.label: expected int, found None"):
        lens.put(Loose(None, np.ones(3, np.uint8)), photo())
    with pytest.raises(LensError, match=r"\$\.image: expected uint8, found float64"):
        lens.put(Loose(4, np.ones(3)), photo())


def test_an_enum_is_seen_as_its_literal() -> None:
    """An Enum and the Literal of its values are one kind; the value becomes what the view has."""
    lens = field_view(Photo, Plain)
    assert lens.get(photo()) == Plain("test", Box(2))
    assert lens.put(Plain("train"), photo()).split is Split.TRAIN
    assert lens.renames is None


@pytest.mark.parametrize(
    ("view", "renames", "says"),
    [
        (Box, {}, "Photo has no field 'x'"),
        (Box, {"x": "image"}, "'image' is uint8 in Photo, int in Box"),
        (Box, {"x": "label", "y": "label"}, "Box has no field 'y'"),
        (Loose, {"label": "image"}, "'image' is uint8 in Photo, int | None in Loose"),
        (atdata.DictSample, {}, "without fields"),
    ],
)
def test_what_is_no_view_says_why(view: Any, renames: dict[str, str], says: str) -> None:
    """A field without its counterpart is named, with both kinds."""
    with pytest.raises(LensError) as caught:
        field_view(Photo, view, renames)
    assert says in str(caught.value)


def test_two_fields_of_a_view_cannot_be_one_of_the_source() -> None:
    """The way back would have two values for one field."""
    view: Any = build_type(
        Schema("lab.Twice", "1.0.0", tuple(Field(n, schema_of(Box).fields[0].kind) for n in "ab"))
    )
    with pytest.raises(LensError, match="both 'x'"):
        field_view(Box, view, {"a": "x", "b": "x"})
