"""Reading restores what was stored: it does not call the class, so that nothing is done twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.samples.packable import same_value

CALLS: list[str] = []
"""The classes that were called."""


class Scaling:
    """What the types below do when they are made: scale a picture, and count it."""

    def __post_init__(self: Any) -> None:
        CALLS.append(type(self).__name__)
        object.__setattr__(self, "image", (self.image / 255).astype(np.float32))
        if self.image.size and self.image.max() > 1:
            raise ValueError("the picture is no picture of bytes")


class Plain(Scaling, atdata.PackableSample):
    image: NDArray[np.float32]
    label: int = 0


@atdata.packable(frozen=True)
class Frozen(Scaling):
    image: NDArray[np.float32]
    label: int = 0


@atdata.packable
@dataclass(slots=True)
class Slots(Scaling):
    image: NDArray[np.float32]
    label: int = 0


class Inherited(Scaling, atdata.PackableSample):
    image: NDArray[np.float32]
    label: int = 0


@atdata.packable
class Outer:
    one: Plain
    many: list[Slots]
    by_name: dict[str, Frozen]
    maybe: Inherited | None = None


@atdata.packable
class Seen(Scaling):
    """A view of the others."""

    image: NDArray[np.float32]


TYPES = [Plain, Frozen, Slots, Inherited]
MANY = 40


def pictures(sample_type: Any, count: int = MANY) -> list[Any]:
    """Samples whose pictures were scaled, once."""
    return [
        sample_type(np.full((2, 3), 51 * (i % 6), np.float32), label=i % 300) for i in range(count)
    ]


def all_ways(dataset: atdata.Dataset[Any]) -> Iterator[list[Any]]:
    """The first samples of a dataset, read in every way there is."""
    count = len(dataset)
    yield list(dataset.ordered())
    yield [dataset[i] for i in range(count)]
    yield [dataset.by_key(f"{i:09d}") for i in range(count)]
    for size in (7, count):
        yield [s for batch in dataset.ordered(batch_size=size) for s in batch.samples]
        yield [s for batch in dataset.ordered(batch_size=size) for s in batch]
        yield [s for batch in dataset.ordered(batch_size=size, copy=False) for s in batch]
    yield sorted(dataset.shuffled(seed=1), key=lambda sample: getattr(sample, "label", 0))


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.mark.parametrize("sample_type", TYPES)
def test_nothing_runs_however_it_is_read(sample_type: type[Any], tmp_path: Path) -> None:
    """The stored picture comes back, in samples and in columns."""
    samples = pictures(sample_type)
    assert len(CALLS) == MANY
    dataset = atdata.write_samples(samples, tmp_path / "a.tar", maxcount=30)
    for found in all_ways(dataset):
        assert found == samples
        assert {type(sample) for sample in found} == {sample_type}
    stacked = np.concatenate([b.image for b in dataset.ordered(batch_size=9)])
    assert same_value(stacked, np.stack([s.image for s in samples]))
    assert [sample_type.from_bytes(sample.packed) for sample in samples] == samples
    assert len(CALLS) == MANY


@pytest.mark.parametrize("sample_type", TYPES)
def test_views_and_other_types_of_the_same_data_run_nothing(
    sample_type: type[Any], tmp_path: Path
) -> None:
    """Through a plain view, and of data that were written as something else."""
    samples = pictures(sample_type)
    dataset = atdata.write_samples(samples, tmp_path / "a.tar", maxcount=30)
    CALLS.clear()
    for found in all_ways(dataset.as_type(Seen)):
        assert sorted(s.image[0, 0] for s in found) == sorted(s.image[0, 0] for s in samples)
    untyped = atdata.write_samples(
        [atdata.DictSample(image=s.image, label=s.label) for s in samples],
        tmp_path / "b.tar",
        maxcount=30,
    )
    typed = atdata.Dataset.of(
        sample_type, str(untyped.shard_list[0]).replace("000000", "{000000..000001}")
    )
    assert list(typed.ordered()) == samples
    assert CALLS == []


def test_samples_in_samples_run_nothing(tmp_path: Path) -> None:
    """In a field, a list, a dict and where None may be."""
    sample = Outer(
        pictures(Plain)[1], pictures(Slots, 3), {"a": pictures(Frozen)[5]}, pictures(Inherited)[2]
    )
    dataset = atdata.write_samples([sample] * 20, tmp_path / "a.tar")
    CALLS.clear()
    for found in all_ways(dataset):
        assert found == [sample] * 20
    assert CALLS == []


def test_a_type_made_of_a_schema_reads_what_was_stored(tmp_path: Path) -> None:
    """It knows the fields alone."""
    from atdata.schema.build import build_type
    from atdata.schema.reflect import schema_of

    samples = pictures(Plain)
    made: Any = build_type(schema_of(Plain))
    payload = samples[3].packed
    assert same_value(made.from_bytes(payload).image, samples[3].image)
    assert Plain.from_bytes(made.from_bytes(payload).packed) == samples[3]


def test_on_request_it_runs(tmp_path: Path) -> None:
    """`map` calls the class where that is wanted."""
    dataset = atdata.write_samples(pictures(Plain, 3), tmp_path / "a.tar")
    CALLS.clear()
    again = list(dataset.map(dataclasses.replace).ordered())
    assert CALLS == ["Plain"] * 3
    assert again[1].image.max() == np.float32(np.float32(0.2) / 255)


def test_field_values_make_a_sample_as_reading_does() -> None:
    """from_data runs nothing; calling the class does."""
    image = np.full((2, 3), 0.5, np.float32)
    assert same_value(Plain.from_data({"image": image}).image, image)
    assert CALLS == []


@pytest.mark.parametrize(
    "make", [atdata.packable, lambda c: atdata.packable(dataclass(slots=True)(c))]
)
def test_a_field_that_was_not_stored_takes_its_default(make: Callable[[Any], Any]) -> None:
    """Constants and factories, each sample its own; nothing else is there."""

    class Newer:
        x: int
        y: int = 5
        items: list[int] = field(default_factory=list)
        sum: int = field(init=False, default=-1)

        def __post_init__(self) -> None:
            self.sum = self.x + self.y

    cls = make(Newer)
    payload = msgpack.packb({"x": 1})
    one, other = cls.from_bytes(payload), cls.from_bytes(payload)
    assert (one.x, one.y, one.items, one.sum) == (1, 5, [], -1)
    assert one.items is not other.items
    assert cls(1).sum == 6
    assert cls.from_bytes(cls(1).packed).sum == 6


def test_a_function_of_the_users_own_that_makes_a_class_is_not_called(tmp_path: Path) -> None:
    """Neither __init__ nor __new__ nor __setattr__: a value that it would refuse is restored."""

    @atdata.packable
    class Odd:
        x: int

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            CALLS.append("new")
            return super().__new__(cls)

        def __init__(self, x: int) -> None:
            CALLS.append("init")
            self.x = x

        def __setattr__(self, name: str, value: Any) -> None:
            CALLS.append("set")
            super().__setattr__(name, value)

    samples = [Odd(i) for i in range(20)]
    dataset = atdata.write_samples(samples, tmp_path / "a.tar")
    CALLS.clear()
    assert [sample.x for sample in dataset.ordered()] == list(range(20))
    assert CALLS == []
