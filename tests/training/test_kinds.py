"""Which order a seed gives follows from the dataset, not from what was asked of it before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata import Dataset, write_samples
from atdata.errors import LengthError, StateError
from tests.sources.web import web_server
from tests.training.counted import Item, numbers

Made = Callable[[], Dataset[Item]]
SEED = 3
ASKED: dict[str, Callable[[Dataset[Item]], Any]] = {
    "count": lambda ds: ds.count(),
    "len": lambda ds: len(ds),
    "a position": lambda ds: ds[7],
    "a key": lambda ds: ds.by_key("000000000"),
    "in order": lambda ds: list(ds.ordered()),
    "a part": lambda ds: next(ds.split(1, 2).ordered()),
    "columns": lambda ds: next(ds.batches(4, shuffle=True, ragged="list")),
    "shuffled": lambda ds: next(ds.shuffled()),
}


def columns(dataset: Any) -> list[int]:
    found = dataset.batches(4, shuffle=True, seed=SEED, ragged="list")
    return [number for batch in found for number in batch["number"].tolist()]


@pytest.fixture
def local(tmp_path: Path) -> Dataset[Item]:
    """40 samples in 4 shards."""
    items = [Item(i, np.zeros(i % 3, np.uint8)) for i in range(40)]
    return write_samples(items, tmp_path / "items.tar", maxcount=10)


@pytest.fixture
def served(local: Dataset[Item]) -> Iterator[dict[str, Made]]:
    """The same on a server, with known hashes; each call opens it again."""
    with web_server() as site:
        urls: dict[str, list[str]] = {"without tables": [], "with tables": []}
        for path in map(Path, local.shard_list):
            for name, with_tables in (("bare", False), ("full", True)):
                site.files[f"/{name}/{path.name}"] = path.read_bytes()
                if with_tables:
                    table = path.with_name(f"{path.name}.idx")
                    site.files[f"/{name}/{table.name}"] = table.read_bytes()
            urls["without tables"].append(f"{site.url}/bare/{path.name}")
            urls["with tables"].append(f"{site.url}/full/{path.name}")

        def maker(named: list[str]) -> Made:
            known = [
                replace(info.at(url), samples=None)
                for info, url in zip(local.known_shards(), named, strict=True)
            ]
            return lambda: Dataset.of(Item, named, shards=known)

        yield {kind: maker(named) for kind, named in urls.items()}


def ask(dataset: Dataset[Item], what: list[str]) -> None:
    for name in what:
        try:
            ASKED[name](dataset)
        except LengthError:
            assert name == "len"


@settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["with tables", "without tables"]),
    st.lists(st.sampled_from(sorted(ASKED)), max_size=3),
    st.lists(st.sampled_from(sorted(ASKED)), max_size=3),
    st.integers(0, 40),
)
def test_an_order_does_not_depend_on_what_was_asked_before(
    served: dict[str, Made],
    local: Dataset[Item],
    kind: str,
    first: list[str],
    second: list[str],
    stop: int,
) -> None:
    """Whatever tables scans have made or the user's cache holds: one order, and states go on."""
    expected = numbers(served[kind]().shuffled(seed=SEED))
    assert (expected == numbers(local.shuffled(seed=SEED))) == (kind == "with tables")
    dataset = served[kind]()
    ask(dataset, first)
    assert numbers(dataset.shuffled(seed=SEED)) == expected
    reading = dataset.shuffled(seed=SEED)
    begun = [item.number for item in itertools.islice(reading, stop)]
    state = json.loads(json.dumps(reading.state_dict()))
    other = served[kind]()
    ask(other, second)
    rest = other.shuffled(seed=SEED)
    rest.load_state_dict(state)
    assert begun + numbers(rest) == expected
    # What is no buffer has the order of a local dataset.
    assert columns(other) == columns(local)
    assert numbers(other.split(1, 3).shuffled(seed=SEED)) == numbers(
        local.split(1, 3).shuffled(seed=SEED)
    )


def test_a_state_is_gone_on_with_in_the_order_that_it_is_of(served: dict[str, Made]) -> None:
    """Of a permutation: with samples one by one too, and without tables; of a buffer: in one."""
    make = served["without tables"]
    reading = make().batches(4, shuffle=True, seed=SEED, ragged="list")
    begun = next(reading)["number"].tolist()
    rest = make().shuffled(seed=SEED)
    rest.load_state_dict(reading.state_dict())
    assert begun + numbers(rest) == columns(make())
    buffered = make().shuffled(seed=SEED, buffer_samples=8)
    next(buffered)
    state = buffered.state_dict()
    with pytest.raises(StateError, match=r"buffer_shards\]=\[8, 8\]; here it is \[10000, 8\]"):
        make().shuffled(seed=SEED).load_state_dict(state)
    with pytest.raises(StateError, match="shards of other names"):
        served["with tables"]().shuffled(seed=SEED, buffer_samples=8).load_state_dict(state)
    with pytest.raises(StateError, match="stored in"):
        make().shuffled(seed=SEED).load_state_dict(make().ordered().state_dict())
    others: list[Any] = [
        make().split(0, 2).shuffled(seed=SEED),
        make().batches(4, shuffle=True, seed=SEED, ragged="list"),
        make().ordered(),
    ]
    for other in others:
        with pytest.raises(StateError, match=r"in a buffer.*Load it into dataset\.shuffled\(\)"):
            other.load_state_dict(state)
