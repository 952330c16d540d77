"""Mixtures with names and verbs: what each dataset gives, drawn as without them."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

import atdata
from atdata import mix
from atdata.errors import OptionError, SkippedSamplesWarning
from tests.dataset.verb_model import Row, numbers, rows

A, B = rows(20, 10), rows(12, first=100)


def negative(row: Row) -> Row:
    return Row(-row.number, row.name)


def even(row: Row) -> bool:
    return row.number % 2 == 0


@settings(max_examples=15)
@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["first", "all"]))
def test_verbs_apply_to_every_dataset(seed: int, epoch: int, stop: Any) -> None:
    """map and filter change samples, not which are drawn, on one rank and on several."""
    mixed = mix({"a": A, "b": B}, weights={"b": 1, "a": 2}, seed=seed, stop=stop)
    whole = numbers(mixed.shuffled(epoch=epoch))
    changed = mixed.filter(even).map(negative)
    assert numbers(changed.shuffled(epoch=epoch)) == [-n for n in whole if n % 2 == 0]
    ranks = [numbers(changed.split(rank, 3).shuffled(epoch=epoch)) for rank in range(3)]
    assert [n for rank in ranks for n in rank] == [-n for n in whole if n % 2 == 0]
    drawn = Counter("ab"[n >= 100] for n in whole)
    assert mixed.draws(epoch) == {"a": drawn["a"], "b": drawn["b"]}


def test_a_seed_orders_samples_and_keeps_draws() -> None:
    """Another seed, another order; which dataset comes when stays."""
    mixed = mix([A, B], seed=3)
    one, other = numbers(mixed.shuffled(seed=5)), numbers(mixed.shuffled(seed=6))
    assert one != other
    assert [n >= 100 for n in one] == [n >= 100 for n in other]
    assert numbers(mixed.shuffled()) == numbers(mixed.shuffled(seed=3))
    assert list(mixed.datasets) == ["0", "1"]


def test_chosen_and_joined_datasets_are_mixed() -> None:
    """Datasets made of others mix as those of shards do."""
    mixed = mix({"few": A.take(5), "all": A + B}, weights=[1, 1], stop="all")
    found = set(numbers(mixed.shuffled()))
    assert found == {*range(30), *range(100, 112)}


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "x": 1}])
def test_weights_are_of_the_names(weights: Any) -> None:
    """A missing or unknown name is an error that lists the names."""
    with pytest.raises(OptionError, match="a, b"):
        mix({"a": A, "b": B}, weights=weights)
    with pytest.raises(OptionError, match="dict of datasets"):
        mix([A, B], weights=weights)


@atdata.packable
class Picture:
    image: atdata.Image


def test_a_mixture_skips_what_one_of_its_datasets_skips(tmp_path: Path) -> None:
    """Pictures that cannot be decoded are left out, wherever the dataset that skips stands."""
    with io.BytesIO() as file:
        PillowImage.new("RGB", (64, 64)).save(file, "JPEG")
        data = file.getvalue()
    made = [Picture(atdata.Image(data))] * 4
    broken = [Picture(atdata.Image(data[:200]))] * 4
    for name, samples in {"good": made, "broken": broken}.items():
        atdata.write_samples(samples, tmp_path / f"{name}.tar", fsync=False)
    whole = atdata.Dataset[Picture](str(tmp_path / "good.tar"))
    skipping = atdata.Dataset[Picture](str(tmp_path / "broken.tar"), on_error="skip")
    mixed = mix([whole, skipping], stop="all")
    decode = {"image": atdata.Decode(size=4)}
    with pytest.warns(SkippedSamplesWarning):
        batches = list(mixed.shuffled(2, decode=decode))
    assert sum(map(len, batches)) == mixed.draws()["0"]
