"""Verbs that choose samples: those of a list that is cut the same way, however they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata import write_samples
from atdata.errors import LengthError, NotSendableError, OptionError, SampleNotFoundError
from tests.dataset.verb_model import Row, check, numbers, rows, ways

DATA = rows(7, 12, 1)
SMALL = st.integers(0, 22)
ENDS = st.none() | st.integers(-22, 22)


def is_odd(row: Row) -> bool:
    return row.number % 2 == 1


def last_digit(row: Row) -> int:
    return row.number % 10


@st.composite
def verbs(draw: st.DrawFn) -> tuple[str, Callable[[Any], Any], Callable[[list[int]], list[int]]]:
    """A verb, and what it does to a list."""
    number, seed = draw(SMALL), draw(st.integers(0, 3))
    step = draw(st.integers(-3, 3).filter(bool))
    cut = slice(draw(ENDS), draw(ENDS), step)
    named = draw(st.sampled_from(VERBS))
    return named, *MODELS[named](number, seed, cut)


def first_of_each(model: list[int]) -> list[int]:
    return list({n % 5: n for n in reversed(model)}.values())[::-1]


MODELS: dict[str, Callable[[int, int, slice], tuple[Any, Any]]] = {
    "take": lambda n, s, c: (lambda d: d.take(n), lambda m: m[:n]),
    "skip": lambda n, s, c: (lambda d: d.skip(n), lambda m: m[n:]),
    "slice": lambda n, s, c: (lambda d: d.choose(c), lambda m: m[c]),
    "filter": lambda n, s, c: (lambda d: d.filter(is_odd), lambda m: [x for x in m if x % 2]),
    "sort": lambda n, s, c: (
        lambda d: d.sort(last_digit, descending=bool(s % 2)),
        lambda m: sorted(m, key=lambda x: x % 10, reverse=bool(s % 2)),
    ),
    "distinct": lambda n, s, c: (
        lambda d: d.distinct("name"),
        lambda m: sorted(first_of_each(m), key=m.index),
    ),
}
VERBS = sorted(MODELS)


@settings(max_examples=40)
@given(st.lists(verbs(), min_size=1, max_size=3), ways())
def test_what_is_chosen_is_what_a_list_gives(chain: list[Any], way: dict[str, Any]) -> None:
    """One by one, in batches, by position, on ranks, after any stop: the samples of the list."""
    dataset, model = DATA, list(range(20))
    for _, verb, on_list in chain:
        dataset, model = verb(dataset), on_list(model)
    check(dataset, model, way)


@settings(max_examples=15)
@given(st.integers(0, 20) | st.floats(0, 1), st.integers(0, 5), ways())
def test_samples_at_random_are_some_of_them(number: Any, seed: int, way: dict[str, Any]) -> None:
    """As many as asked for, none twice, in order, and the same for the same seed."""
    found = numbers(DATA.sample(number, seed=seed))
    assert found == sorted(set(found))
    assert len(found) == (number if isinstance(number, int) else round(number * 20))
    check(DATA.sample(number, seed=seed), found, way)


@settings(max_examples=15)
@given(
    st.integers(0, 20) | st.floats(0, 1),
    st.integers(0, 5),
    st.sampled_from([None, "name", last_digit, ["name", "number"]]),
    st.sampled_from([None, "stratify", "group"]),
    ways(),
)
def test_a_split_has_each_sample_on_one_side(
    share: Any, seed: int, by: Any, how: str | None, way: dict[str, Any]
) -> None:
    """Both sides together are the dataset; groups are whole, and strata have their share."""
    options = {} if how is None or by is None else {how: by}
    train, test = DATA.train_test_split(share, seed=seed, **options)
    sides = numbers(train), numbers(test)
    assert sorted(sides[0] + sides[1]) == list(range(20))
    value = {None: None, "name": lambda n: n % 5, last_digit: lambda n: n % 10}.get(
        by if not isinstance(by, list) else None
    )
    if "group" in options and value is not None:
        assert not set(map(value, sides[0])) & set(map(value, sides[1]))
    else:
        wanted = share if isinstance(share, int) else round(share * 20)
        assert how == "group" or len(sides[1]) == wanted
    if "stratify" in options and value is not None:
        whole, counts = Counter(map(value, range(20))), Counter(map(value, sides[1]))
        assert all(abs(counts[v] - len(sides[1]) * n / 20) < 1 for v, n in whole.items())
    check(test, sides[1], way)


def test_splits_are_the_same_everywhere() -> None:
    """Which samples are tested on is fixed: by seed, in any process, whatever its hash seed."""
    _, test = DATA.train_test_split(0.25, seed=3)
    _, grouped = DATA.train_test_split(0.5, seed=3, group="name")
    assert numbers(test) == [6, 13, 15, 16, 17]
    assert sorted({row.name for row in grouped}) == ["n0", "n1", "n2"]


def test_a_sample_stays_on_its_side_when_others_come() -> None:
    """Split by group, a sample is where it was in a smaller dataset."""
    before = {row.number for row in rows(15).train_test_split(0.4, group="number")[1]}
    after = {row.number for row in rows(30, 30).train_test_split(0.4, group="number")[1]}
    assert before == {number for number in after if number < 15}
    assert 0.2 < len(after) / 60 < 0.6


def test_a_few_samples_of_many_are_read_alone(tmp_path: Path) -> None:
    """take() of a filtered dataset stops where it has found its samples."""
    seen: list[int] = []

    def even(row: Row) -> bool:
        seen.append(row.number)
        return row.number % 2 == 0

    samples = [Row(i, "x" * 2000) for i in range(3000)]
    dataset = write_samples(samples, tmp_path / "many.tar", fsync=False)
    assert numbers(dataset.filter(even).take(3)) == [0, 2, 4]
    assert len(seen) < 2500


def test_chosen_samples_are_written_and_read_back(tmp_path: Path) -> None:
    """Chosen twice or from several shards, samples are written under keys of their own."""
    chosen = DATA.choose([3, 3, 19, 0])
    assert numbers(write_samples(chosen, tmp_path / "a.tar")) == [3, 3, 19, 0]
    keys = [packed.key for packed in chosen.packed()]
    assert len(set(keys)) == 4


def test_what_cannot_be_is_an_error() -> None:
    """Bad numbers, fields and functions are our errors, and say what was expected."""
    for wrong in (-1, 1.5, True, "3", None):
        with pytest.raises(OptionError, match="take"):
            DATA.take(wrong)  # type: ignore[arg-type]
    for share in (-1, 1.5, True, "3", float("nan")):
        with pytest.raises(OptionError, match="sample"):
            DATA.sample(share)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="20 samples"):
        list(DATA.sample(21))
    with pytest.raises(SampleNotFoundError, match="20"):
        list(DATA.choose([20]))
    for number in (2**62, 2**70, -(2**70)):
        with pytest.raises(SampleNotFoundError, match=f"sample {number}: no dataset"):
            DATA.choose([number])
    for positions in ([1.5], [True], "a", [None]):
        with pytest.raises(OptionError):
            DATA.choose(positions)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"no field 'nam'\. It has: number, name"):
        DATA.sort("nam")
    with pytest.raises(OptionError, match="cannot be compared"):
        list(DATA.sort(lambda row: row.name if row.number else row.number))
    with pytest.raises(OptionError, match="not both"):
        DATA.train_test_split(0.1, stratify="name", group="name")
    with pytest.raises(OptionError, match=r"take\(100\)\.split\(\)"):
        DATA.split(0, 2).take(3)
    with pytest.raises(LengthError, match="of other datasets"):
        DATA.take(3).by_key("000000000")
    with pytest.raises(OptionError, match="same"):
        list(DATA.distinct(lambda row: {row.name: 1}))


def test_a_filter_that_changes_its_mind_is_an_error() -> None:
    """Samples that a filter kept and then leaves out are not lost in silence."""
    calls: list[int] = []

    def first_time(row: Row) -> bool:
        calls.append(row.number)
        return len(calls) <= 20

    with pytest.raises(LengthError, match="must not change"):
        list(DATA.filter(first_time).skip(1))


def test_functions_of_other_processes_are_named() -> None:
    """A dataset that is sorted by a lambda cannot be sent, and says so."""
    with pytest.raises(NotSendableError, match="sort"):
        DATA.sort(lambda row: -row.number).__reduce__()


def test_numpy_numbers_are_numbers() -> None:
    """Positions and counts may be NumPy's."""
    assert numbers(DATA.take(np.int64(2))) == [0, 1]  # type: ignore[arg-type]
    assert numbers(DATA.choose(np.array([5, 4], np.uint8))) == [5, 4]
