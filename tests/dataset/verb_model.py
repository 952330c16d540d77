"""A dataset compared with the list of samples that it should give, in every way of reading."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import strategies as st

import atdata
from atdata import Dataset, merge_states, write_samples
from atdata.errors import LengthError


@atdata.packable
class Row:
    number: int
    name: str


def rows(*shards: int, first: int = 0) -> Dataset[Row]:
    """Rows with ascending numbers, in shards of these lengths."""
    folder = Path(mkdtemp(prefix="atdata-test-"))
    paths = []
    for shard in range(len(shards)):
        numbers = range(first + sum(shards[:shard]), first + sum(shards[: shard + 1]))
        paths.append(folder / f"{shard}.tar")
        write_samples([Row(i, f"n{i % 5}") for i in numbers], paths[-1], fsync=False)
    return Dataset[Row](paths)


def numbers(samples: Any) -> list[int]:
    """The number of each sample."""
    return [sample if isinstance(sample, int) else sample.number for sample in samples]


@st.composite
def ways(draw: st.DrawFn) -> dict[str, Any]:
    """How a dataset is read: ranks, where they stop, how many resume, and sizes of batches."""
    worlds = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    return {
        "worlds": worlds,
        "stops": [draw(st.lists(st.integers(0, 7), min_size=w, max_size=w)) for w in worlds],
        "size": draw(st.none() | st.integers(1, 5)),
        "seed": draw(st.none() | st.integers(0, 3)),
        "window": draw(st.integers(1, 9)),
    }


def check(dataset: Dataset[Any], expected: list[int], way: dict[str, Any]) -> None:
    """Compare a dataset with the numbers of its samples, in their order."""
    assert numbers(dataset) == expected
    assert [n for batch in dataset.ordered(3) for n in numbers(batch)] == expected
    assert [n for batch in dataset.batches(2) for n in batch["number"].tolist()] == expected
    sent: Dataset[Any] = pickle.loads(pickle.dumps(dataset))
    assert numbers(sent) == expected
    try:
        assert dataset.count() == len(dataset) == len(expected)
        assert numbers(dataset[:]) == expected
        assert [dataset[i].number for i in range(-len(expected), 0)] == expected
    except LengthError:
        assert dataset._is_filtered
    assert sorted(numbers(dataset.shuffled(seed=1))) == sorted(expected)
    assert sorted(numbers(dataset.shuffled(seed=1, window=2))) == sorted(expected)
    assert len({(packed.shard, packed.key) for packed in dataset.packed()}) == len(expected)
    assert Counter(resumed(dataset, way)) == Counter(expected)


def resumed(dataset: Dataset[Any], way: dict[str, Any], items: Any = numbers) -> list[Any]:
    """What ranks read that stop and resume as others, until everything was read."""

    def readings(world: int, state: Any) -> list[Any]:
        made = []
        for rank in range(world):
            part: Dataset[Any] = pickle.loads(pickle.dumps(dataset)).split(rank, world)
            if way["seed"] is None:
                made.append(part.ordered(way["size"]))
            else:
                made.append(part.shuffled(way["size"], seed=way["seed"], window=way["window"]))
            if state is not None:
                made[-1].load_state_dict(state)
        return made

    def flat(found: list[Any]) -> Any:
        return items(found if way["size"] is None else [s for batch in found for s in batch])

    out: list[Any] = []
    state = None
    for world, stops in zip(way["worlds"], way["stops"], strict=True):
        reading = readings(world, state)
        for one, stop in zip(reading, stops, strict=True):
            out += flat([item for _, item in zip(range(stop), one, strict=False)])
        state = merge_states([one.state_dict() for one in reading])
    for one in readings(2, state):
        out += flat(list(one))
    return out
