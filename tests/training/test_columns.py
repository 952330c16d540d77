"""Batches of columns: what numbers, arrays and ragged arrays become; and mixtures of datasets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atdata
from atdata import Dataset, mix, write_samples
from atdata.errors import OptionError, RaggedFieldError, SampleTypeError, StateError
from tests.training.items import Item, Maybe, Text, items, texts


@pytest.fixture
def images(tmp_path: Path) -> Dataset[Item]:
    return write_samples(items(50), tmp_path / "images.tar", maxcount=20)


@pytest.fixture
def tokens(tmp_path: Path) -> Dataset[Text]:
    return write_samples(texts(30), tmp_path / "tokens.tar", maxcount=20)


def test_batches_are_columns(images: Dataset[Item]) -> None:
    """Numbers and arrays are NumPy arrays with the samples along the first axis, text is a list."""
    batches = list(images.batches(16))
    assert [len(batch["number"]) for batch in batches] == [16, 16, 16, 2]
    first = batches[0]
    assert first["number"].dtype == np.int64
    assert first["image"].shape == (16, 2, 3)
    assert first["image"].dtype == np.float32
    assert first["name"][:2] == ["n0", "n1"]
    assert len(list(images.batches(16, drop_last=True))) == 3
    shuffled = [n for b in images.batches(16, shuffle=True, seed=1) for n in b["number"].tolist()]
    assert shuffled == [s.number for s in images.shuffled(seed=1)]


def test_ragged_fields_are_padded(tokens: Dataset[Text]) -> None:
    """Padded, each row is its data followed by zeros; lengths count the data."""
    for batch in tokens.batches(8, ragged="pad"):
        for row, number in enumerate(batch["number"].tolist()):
            expected = texts(30)[number]
            count = batch["ids.lengths"][row]
            assert batch["ids"][row, :count].tolist() == expected.ids.tolist()
            assert not batch["ids"][row, count:].any()
            assert tuple(batch["grid.lengths"][row]) == expected.grid.shape


def test_ragged_fields_are_joined(tokens: Dataset[Text]) -> None:
    """Flat, samples are concatenated, and offsets separate them."""
    for batch in tokens.batches(8, ragged={"ids": "flat", "grid": "list"}):
        bounds = batch["ids.offsets"].tolist()
        assert bounds[-1] == len(batch["ids"])
        for row, number in enumerate(batch["number"].tolist()):
            expected = texts(30)[number]
            assert batch["ids"][bounds[row] : bounds[row + 1]].tolist() == expected.ids.tolist()
            assert batch["grid"][row].shape == expected.grid.shape


def test_arrays_that_may_be_missing(tmp_path: Path) -> None:
    """Among arrays that differ, None is one without elements; as a list, it stays None."""
    samples = [Maybe(None if i == 1 else np.full((i, 2), i, np.float32)) for i in range(4)]
    dataset = write_samples(samples, tmp_path / "maybe.tar")
    batch = next(dataset.batches(4, ragged="pad"))
    assert batch["scores"].shape == (4, 3, 2)
    assert batch["scores.lengths"].tolist() == [[0, 2], [0, 2], [2, 2], [3, 2]]
    batch = next(dataset.batches(4, ragged="flat"))
    assert batch["scores"].shape == (5, 2)
    assert batch["scores.offsets"].tolist() == [0, 0, 0, 2, 5]
    for ragged in ("list", None):
        values = next(dataset.batches(4, ragged=ragged))["scores"]
        assert values[1] is None
        assert values[3].shape == (3, 2)
    nothing = write_samples([Maybe(None)] * 2, tmp_path / "none.tar")
    batch = next(nothing.batches(2, ragged="pad"))
    assert (batch["scores"].shape, batch["scores"].dtype) == ((2, 0), np.float32)
    assert batch["scores.lengths"].tolist() == [0, 0]
    assert batch["scores.mask"].tolist() == [False, False]


def test_without_a_word_on_ragged_fields_they_are_an_error(tokens: Dataset[Text]) -> None:
    """The error of arrays that differ names the field and what to pass; wrong ways are refused."""
    with pytest.raises(RaggedFieldError, match=r"ids: .*ragged=\{'ids': 'pad'\}"):
        next(tokens.batches(8))
    with pytest.raises(RaggedFieldError, match="after their first axis"):
        next(tokens.batches(8, ragged={"ids": "pad", "grid": "flat"}))
    for wrong in ("stack", 5, ["pad"], {"ids": "stack"}, {"number": "pad"}, {"nothing": "pad"}):
        with pytest.raises(OptionError):
            tokens.batches(8, ragged=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="batch_size"):
        tokens.batches(0)
    with pytest.raises(SampleTypeError):
        tokens.map(lambda s: 1, int).batches(2)


def test_samples_without_a_type_are_batched(tokens: Dataset[Text]) -> None:
    """DictSamples give the same columns as samples of their type."""
    untyped = Dataset(tokens.shard_list)
    for a, b in zip(untyped.batches(8, ragged="pad"), tokens.batches(8, ragged="pad"), strict=True):
        assert set(a) == set(b)
        for name, column in a.items():
            np.testing.assert_array_equal(column, b[name])


def test_batches_of_columns_are_resumed(images: Dataset[Item]) -> None:
    """A state that went through JSON leads to the next batch."""
    whole = [b["number"].tolist() for b in images.batches(7, shuffle=True, seed=3)]
    reading = images.batches(7, shuffle=True, seed=3)
    begin = [next(reading)["number"].tolist() for _ in range(3)]
    rest = images.batches(7, shuffle=True, seed=3)
    rest.load_state_dict(json.loads(json.dumps(reading.state_dict())))
    assert begin + [b["number"].tolist() for b in rest] == whole


def some(folder: Path, name: str, numbers: range) -> Dataset[Item]:
    return write_samples(items(numbers.stop)[numbers.start :], folder / f"{name}.tar")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=3),
    st.none() | st.lists(st.integers(1, 5), min_size=3, max_size=3),
    st.integers(0, 100),
    st.sampled_from(["first", "all"]),
    st.integers(0, 30),
    st.integers(1, 4),
)
def test_a_mixture_is_exact_and_resumed(
    tmp_path_factory: Any,
    counts: list[int],
    weights: list[float] | None,
    seed: int,
    stop: Any,
    steps: int,
    world: int,
) -> None:
    """An epoch ends as said, has no sample too often, and is split and continued without loss."""
    parts, at = [], 0
    for number, count in enumerate(counts):
        parts.append(some(tmp_path_factory.mktemp("mix"), str(number), range(at, at + count)))
        at += count
    weights = weights[: len(counts)] if weights else None
    mixture = mix(parts, weights=weights, seed=seed, stop=stop)
    whole = [s.number for s in mixture.shuffled()]
    times = Counter(whole)
    ends = np.cumsum(counts)
    if stop == "first":
        assert set(times.values()) <= {1}
        exhausted = [
            sum(end - count <= n < end for n in whole) == count
            for end, count in zip(ends, counts, strict=True)
        ]
        assert any(exhausted)
    else:
        assert set(times) == set(range(at))
    assert whole == [s.number for s in mixture.shuffled()]
    reading = mixture.shuffled()
    begin = [s.number for _, s in zip(range(steps), reading, strict=False)]
    rest = [mixture.split(rank, world).shuffled() for rank in range(world)]
    for part in rest:
        part.load_state_dict(reading.state_dict())
    assert begin + [s.number for part in rest for s in part] == whole


def test_weights_are_kept(tmp_path: Path) -> None:
    """Of a mixture, each dataset is drawn about as often as its weight says."""
    a, b = some(tmp_path, "a", range(0, 3000)), some(tmp_path, "b", range(3000, 6000))
    numbers = [n for batch in mix([a, b], weights=[3, 1]).shuffled(64) for n in batch.number]
    share = np.mean([n < 3000 for n in numbers])
    assert 0.7 < share < 0.8
    assert len(numbers) == len(set(numbers)) > 3500
    columns = [c["number"] for c in mix([a, b], weights=[3, 1]).batches(64, shuffle=True)]
    assert np.concatenate(columns).tolist() == numbers


def test_what_cannot_be_mixed_is_refused(images: Dataset[Item], tokens: Dataset[Text]) -> None:
    """Several types, wrong weights, and states of another mixture are errors."""
    with pytest.raises(SampleTypeError, match="Item, Text"):
        mix([images, tokens])  # type: ignore[arg-type]
    for weights in ([1], [1, -1], [0, 0], [1, float("nan")], ["1", 2], [None, 1]):
        with pytest.raises(OptionError, match="expected 2 numbers from 0 on"):
            mix([images, images], weights=weights)  # type: ignore[arg-type]
    several: list[Any] = [[], images, "images", (d for d in [images])]
    for wrong in several:
        with pytest.raises(OptionError, match="dataset"):
            mix(wrong)
    with pytest.raises(OptionError):
        mix([images], stop="last")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="split"):
        mix([images.split(0, 2), images])
    state = mix([images, images], weights=[1, 2]).shuffled().state_dict()
    with pytest.raises(StateError):
        mix([images, images], weights=[2, 1]).shuffled().load_state_dict(state)
    assert atdata.mix is mix
