"""An epoch is one order, split exactly among ranks and workers, and continued exactly."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata import Dataset, write_samples
from atdata.dataset.reading.epoch import DatasetEpoch, Shuffle, read_epoch
from atdata.dataset.reading.permutation import (
    VERSION,
    Permutation,
    Stored,
    mixed,
    scrambled,
    sizes_for,
)
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share, left_of, length, part_of, share_of
from atdata.dataset.reading.rows import batches_of, samples_of
from atdata.dataset.reading.state import history_of, merge_states, state_of
from atdata.dataset.reading.stream import EpochStream
from tests.training.counted import COUNTS, Item, dataset_of, numbers


def positions(order: Permutation | Stored, places: Sequence[int]) -> list[int]:
    """Where the samples at these places are, in the order of the places."""
    found, which = order.ascending(np.array(places, np.int64))
    assert (np.diff(found) >= 0).all()
    out = np.full(len(places), -1)
    out[which] = found
    return out.tolist()


@given(
    st.lists(st.integers(0, 23), min_size=1, max_size=6).filter(any),
    st.integers(0, 2**60),
    st.integers(0, 5),
    st.integers(1, 9),
    st.integers(1, 40),
)
def test_a_permutation_has_every_sample_once(
    counts: list[int], seed: int, epoch: int, block: int, window: int
) -> None:
    """Every position comes once, whatever the sizes; and alike when asked for in other pieces."""
    make = partial(
        Permutation, np.array(counts), seed=seed, epoch=epoch, block=block, window=window
    )
    total = sum(counts)
    order = make()
    found = positions(order, range(total))
    assert sorted(found) == list(range(total))
    assert [positions(make(), [i])[0] for i in range(0, total, 5)] == found[::5]
    assert positions(order, [0, total - 1, 0]) == [found[0], found[-1], found[0]]
    place, pieces = 0, []
    while place < total:
        place = order.piece_end(place)
        pieces.append(place)
    assert pieces[-1] == total


def test_the_numbers_never_change() -> None:
    """What decides the order is the same on every machine, and in every later version."""
    assert scrambled(3, 1, 2, 3).tolist() == [
        2399657773382937285,
        8067101194408944102,
        17615266516125549910,
    ]
    assert mixed(6, 1, 2, 3).tolist() == [5, 0, 3, 1, 4, 2]
    how: dict[str, Any] = {"seed": 7, "epoch": 1, "block": 2, "window": 8}
    order = Permutation(np.array([5, 9, 1]), **how)
    assert positions(order, range(15)) == [12, 11, 13, 6, 5, 8, 1, 7, 0, 14, 9, 10, 3, 2, 4]
    before = Permutation(np.array([5, 9, 1]), version=2, **how)
    assert positions(before, range(15)) == [8, 12, 13, 7, 11, 6, 5, 14, 9, 1, 4, 0, 10, 3, 2]
    short = Permutation(np.array([5, 3]), seed=7, epoch=1, block=2, window=4)
    assert positions(short, range(8)) == [7, 6, 5, 1, 4, 0, 3, 2]


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 30), min_size=9)), max_size=4),
    st.integers(1, 9),
)
def test_what_is_left_is_split_without_loss(
    samples: int, runs: list[tuple[int, list[int]]], world_size: int
) -> None:
    """After any runs on any ranks that took any numbers, ranks get what is left, each once."""
    left = set(range(samples))
    history: list[Any] = []
    for world, taken in runs:
        ranges = left_of(samples, history)
        for rank in range(world):
            part = [p for a, b in part_of(ranges, rank, world) for p in range(a, b)]
            left -= set(part[: taken[rank]])
        history.append((world, taken[:world]))
    ranges = left_of(samples, history)
    parts = [
        [p for a, b in share_of(ranges, Share(rank, world_size)) for p in range(a, b)]
        for rank in range(world_size)
    ]
    assert sorted(p for part in parts for p in part) == sorted(left)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for even, each in (("drop", len(left) // world_size), ("pad", -(-len(left) // world_size))):
        for rank in range(world_size):
            assert length(share_of(ranges, Share(rank, world_size, even))) == each  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    COUNTS,
    st.none() | st.integers(0, 2**40),
    st.integers(0, 3),
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 12), st.none() | st.integers(1, 7)),
        max_size=3,
    ),
    st.integers(1, 6),
)
def test_stopped_and_continued_elsewhere_nothing_is_lost_or_repeated(
    counts: tuple[int, ...],
    seed: int | None,
    epoch: int,
    stops: list[tuple[int, int, int | None]],
    last: int,
) -> None:
    """An epoch that is stopped and continued on other ranks has each sample exactly once."""
    dataset = dataset_of(counts)

    def readings(world: int, batch: int | None) -> list[Any]:
        parts = [dataset.split(rank, world) for rank in range(world)]
        if seed is None:
            return [part.ordered(batch) for part in parts]
        return [part.shuffled(batch, seed=seed, epoch=epoch, window=16) for part in parts]

    seen: list[int] = []
    state: dict[str, Any] | None = None
    for world, steps, batch in [*stops, (last, 10**9, None)]:
        states = []
        for reading in readings(world, batch):
            if state is not None:
                reading.load_state_dict(state)
            for _, item in zip(range(steps), reading, strict=False):
                seen += [item.number] if batch is None else item.number
            states.append(json.loads(json.dumps(reading.state_dict())))
            reading.close()
        assert all(len(json.dumps(s)) < 600 for s in states)
        state = merge_states(states)
    assert sorted(seen) == list(range(sum(counts)))


@settings(deadline=None, max_examples=60)
@given(
    COUNTS,
    st.none() | st.integers(0, 2**40),
    st.tuples(st.integers(1, 6), st.integers(0, 4)),
    st.integers(1, 6),
    st.sampled_from([None, "drop", "pad"]),
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(1, 5)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_part_goes_on_as_if_it_had_not_stopped(
    counts: tuple[int, ...],
    seed: int | None,
    before: tuple[int, int],
    world: int,
    even: Any,
    stops: list[tuple[int, int | None]],
    merged: bool,
) -> None:
    """What a rank gets before and after its stops is what it gets without them, to the last."""
    dataset = dataset_of(counts)

    def readings(world: int, batch: int | None, state: Any) -> list[Any]:
        parts = [dataset.split(rank, world, even=even) for rank in range(world)]
        made: list[Any] = [
            part.ordered(batch) if seed is None else part.shuffled(batch, seed=seed, window=16)
            for part in parts
        ]
        for rank, reading in enumerate(made):
            if state is not None:
                reading.load_state_dict(state[rank % len(state)])
        return made

    def taken(reading: Any, steps: int, batch: int | None) -> list[int]:
        items = list(itertools.islice(reading, steps))
        return [n for item in items for n in ([item.number] if batch is None else item.number)]

    def saved(made: list[Any]) -> list[Any]:
        states: list[Any] = json.loads(json.dumps([reading.state_dict() for reading in made]))
        return [merge_states(states)] if merged and even is not None else states

    # Other ranks may have begun the epoch.
    others = readings(before[0], None, None)
    for reading in others:
        taken(reading, before[1], None)
    state: Any = [merge_states([reading.state_dict() for reading in others])]
    whole = [taken(reading, 10**9, None) for reading in readings(world, None, state)]
    seen: list[list[int]] = [[] for _ in range(world)]
    for steps, batch in [*stops, (10**9, 3)]:
        made = readings(world, batch, state)
        for rank, reading in enumerate(made):
            seen[rank] += taken(reading, steps, batch)
        state = saved(made)
    assert seen == whole


def test_the_sample_that_makes_parts_equal_is_the_same_after_a_stop() -> None:
    """Of 5 samples on 2 ranks, the second one repeats its first, wherever it was stopped."""
    part = dataset_of((5,)).split(1, 2, even="pad")
    assert numbers(part.ordered()) == [3, 4, 3]
    for steps in range(4):
        reading, rest = part.ordered(), part.ordered()
        begun = [next(reading).number for _ in range(steps)]
        rest.load_state_dict(reading.state_dict())
        assert begun + numbers(rest) == [3, 4, 3]


@settings(deadline=None, max_examples=40)
@given(COUNTS, st.integers(1, 5), st.integers(1, 4), st.integers(0, 6))
def test_ranks_in_step_share_one_state(
    counts: tuple[int, ...], world: int, batch: int, steps: int
) -> None:
    """Where all ranks took the same number of batches, one rank's state serves any others."""
    dataset = dataset_of(counts)
    readings = [dataset.split(r, world, even="drop").shuffled(batch, seed=3) for r in range(world)]
    seen: list[int] = []
    steps = min(steps, sum(counts) // world // batch)
    for reading in readings:
        for _ in range(steps):
            seen += next(reading).number
    states = [{**r.state_dict(), "rank": 0} for r in readings]
    assert all(state == states[0] for state in states)
    rest = dataset.shuffled(seed=3)
    rest.load_state_dict(states[0])
    assert sorted(seen + numbers(rest)) == list(range(sum(counts)))


@settings(deadline=None, max_examples=40)
@given(COUNTS, st.integers(0, 9), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_workers_take_turns_by_batches(
    counts: tuple[int, ...], seed: int, batch: int, workers: int, world: int
) -> None:
    """Batches that workers read in turn are those that one reader reads, in the same order."""
    dataset = dataset_of(counts)
    epoch = DatasetEpoch(
        PositionedShards.of(dataset.source), dataset._steps, Shuffle(seed, window=16)
    )
    for rank in range(world):
        ranges = share_of([(0, len(epoch))], Share(rank, world))
        alone = [
            s.number for rows, _ in read_epoch(epoch, ranges, size=batch) for s in rows.samples()
        ]
        turns = [
            [
                ([s.number for s in rows.samples()], taken.tolist())
                for rows, taken in read_epoch(
                    epoch, ranges, size=batch, worker=worker, workers=workers
                )
            ]
            for worker in range(workers)
        ]
        rows = sorted(
            (t, n) for turn in turns for ns, ts in turn for n, t in zip(ns, ts, strict=True)
        )
        assert [t for t, _ in rows] == list(range(1, len(alone) + 1))
        assert [n for _, n in rows] == alone
        for worker, turn in enumerate(turns):
            assert all((t - 1) // batch % workers == worker for _, ts in turn for t in ts)


def in_turn(stream: EpochStream[Any], history: Any, size: int, workers: int) -> Iterator[list[int]]:
    """Batches as a loader gets them of several workers."""
    turns = [
        batches_of(stream.runs(history, worker=worker, workers=workers), Item, size)
        for worker in range(workers)
    ]
    while turns:
        for turn in list(turns):
            batch, _ = next(turn, (None, 0))
            if batch is None:
                turns.remove(turn)
            else:
                yield batch.number


@settings(deadline=None, max_examples=50)
@given(
    COUNTS,
    st.none() | st.integers(0, 2**40),
    st.lists(
        st.tuples(
            st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.lists(st.integers(0, 4))
        ),
        max_size=4,
    ),
)
def test_ranks_and_workers_change_on_resume(
    counts: tuple[int, ...], seed: int | None, runs: list[tuple[int, int, int, list[int]]]
) -> None:
    """Stopped after any steps, with other ranks, workers and batch sizes each time: each once."""
    dataset = dataset_of(counts)
    state: dict[str, Any] | None = None
    seen: list[int] = []
    for world, workers, size, stops in [*runs, (2, 3, 4, [10**9] * 2)]:
        states = []
        for rank in range(world):
            shuffle = None if seed is None else Shuffle(seed, 1, window=16)
            stream: EpochStream[Any] = EpochStream(
                dataset._epoch, shuffle, Share(rank, world), samples_of, size
            )
            history = [] if state is None else history_of(state, stream)
            left = stream.samples_left(history)
            steps = (stops + [0] * world)[rank]
            for _, batch in zip(
                range(steps), in_turn(stream, history, size, workers), strict=False
            ):
                seen += batch
            states.append(state_of(stream, history, min(left, steps * size)))
        state = merge_states(json.loads(json.dumps(states)))
    assert sorted(seen) == list(range(sum(counts)))


class Counted(DatasetEpoch):
    """An epoch that notes how many samples were fetched together."""

    def fetch(self, places: Any) -> Any:
        self.fetched = max(getattr(self, "fetched", 0), len(places))
        return super().fetch(places)


@settings(deadline=None, max_examples=40)
@given(COUNTS, st.booleans(), st.integers(1, 40), st.none() | st.integers(1, 9))
def test_no_more_is_read_at_once_than_a_window(
    counts: tuple[int, ...], shuffled: bool, window: int, batch: int | None
) -> None:
    """What is in memory is a window, up to the end of a batch, also when read one by one."""
    dataset = dataset_of(counts)
    shuffle = Shuffle(1, window=window) if shuffled else None
    epoch = Counted(PositionedShards.of(dataset.source), dataset._steps, shuffle)
    seen = [
        s.number
        for rows, _ in read_epoch(epoch, [(0, len(epoch))], size=batch)
        for s in rows.samples()
    ]
    assert sorted(seen) == list(range(sum(counts)))
    if shuffled:
        assert epoch.fetched <= window


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """Concatenated ranks, and batches, give the order of a single reader."""
    dataset = dataset_of((23, 7, 11))
    whole = numbers(dataset.shuffled(seed=5, epoch=2))
    assert whole == numbers(dataset.shuffled(seed=5, epoch=2))
    assert whole != numbers(dataset.shuffled(seed=5, epoch=3)) != numbers(dataset.shuffled(seed=6))
    assert whole == [n for batch in dataset.shuffled(4, seed=5, epoch=2) for n in batch.number]
    for world in (2, 3, 50):
        parts = [dataset.split(r, world).shuffled(seed=5, epoch=2) for r in range(world)]
        assert [n for part in parts for n in numbers(part)] == whole


def test_steps_keep_the_order_and_the_state() -> None:
    """Filtered and mapped samples are resumed exactly as well."""
    dataset = dataset_of((23, 7, 11)).filter(lambda s: s.number % 3 == 0).map(lambda s: s)
    whole = numbers(dataset.shuffled(seed=1))
    for stop in range(0, len(whole), 3):
        reading = dataset.shuffled(seed=1)
        begin = [next(reading).number for _ in range(stop)]
        rest = dataset.shuffled(seed=1)
        rest.load_state_dict(reading.state_dict())
        assert begin + numbers(rest) == whole


@cache
def sized(kind: str, maxcount: int) -> Dataset[Item]:
    """Samples whose content tells their number, of sizes of one kind, in few shards or in many."""
    ways: dict[str, Callable[[int], int]] = {
        "one small": lambda i: 100,
        "one large": lambda i: 20_000,
        "small": lambda i: i * 37 % 3000,
        "large": lambda i: 9000 + i * 37 % 3000,
        "all": lambda i: (i * 37 % 3000) if i % 7 else 15_000,
    }
    items = [Item(i, np.full(ways[kind](i), i % 251, np.uint8)) for i in range(150)]
    folder = Path(mkdtemp(prefix="atdata-test-"))
    return write_samples(items, folder / "sized.tar", maxcount=maxcount)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["one small", "one large", "small", "large", "all"]),
    st.sampled_from([40, 3]),
    st.integers(0, 2**40),
    st.none() | st.integers(1, 100),
    st.integers(1, 40),
    st.integers(1, 3),
)
def test_samples_of_any_size_are_put_in_order(
    kind: str, maxcount: int, seed: int, window: int | None, batch: int, world: int
) -> None:
    """However samples are moved to their places, each keeps its content and its key."""
    dataset = sized(kind, maxcount)
    seen: list[int] = []
    for rank in range(world):
        for part in dataset.split(rank, world).shuffled(batch, seed=seed, window=window):
            seen += part.number
            assert part.keys == [f"{n:09d}" for n in part.number]
            for number, data in zip(part.number, part.values("data"), strict=True):
                assert (data == number % 251).all()
    assert sorted(seen) == list(range(150))
    chosen = [(seed + 31 * i) % 150 for i in range(batch)]
    for number, data in zip(chosen, dataset[chosen].values("data"), strict=True):
        assert (data == number % 251).all()


def labels_of_batches(samples: int, each: int, version: int = VERSION) -> list[int]:
    """Distinct labels in each batch of 256, the last one too, of samples sorted by 100 labels.

    Args:
        samples: How many there are.
        each: Bytes of one.
        version: Of the order.
    """
    shards = np.diff([*range(0, samples, 2_000), samples])
    block, window, _ = sizes_for(samples * each, samples)
    order = Permutation(shards, seed=0, epoch=0, block=block, window=window, version=version)
    labels = np.array(positions(order, range(samples))) * 100 // samples
    starts = [*range(0, samples - 255, 256), samples - 256]
    return [len(np.unique(labels[start : start + 256])) for start in starts]


@settings(deadline=None, max_examples=30)
@given(st.integers(256, 120_000), st.integers(512, 9_000))
def test_labels_are_mixed_to_the_end(samples: int, each: int) -> None:
    """At any number and size of samples, no batch has far fewer labels than chance gives."""
    found = labels_of_batches(samples, each)
    assert min(found) >= 74
    assert np.mean(found) > 88


def test_the_last_window_is_as_long_as_the_others() -> None:
    """Where all but a few samples fill windows, those few do not make one of their own."""
    assert min(labels_of_batches(33_854, 1_000)) >= 84
    # The numbers are those of an order in which they do.
    assert labels_of_batches(33_854, 1_000, version=2)[-1] == 18


def test_a_state_of_the_order_before_is_continued_in_it() -> None:
    """A state that version 2 saved gives the rest that version 2 gave, to readings and loaders."""
    dataset = write_samples(
        (Item(i, np.zeros(1, np.uint8)) for i in range(1000)),
        Path(mkdtemp(prefix="atdata-test-")) / "before.tar",
        maxcount=300,
    )
    shuffle = {"seed": 3, "epoch": 4, "block": 4, "window": 300}
    progress = {"history": [], "rank": 0, "world_size": 1, "taken": 333}
    data = dataset.shuffled().state_dict()["data"]
    state = {"atdata_state": 2, "samples": 1000, "data": data, "shuffle": shuffle, **progress}
    reading = dataset.shuffled(seed=3)
    reading.load_state_dict(state)
    assert reading.state_dict()["atdata_state"] == 2
    rest = [next(reading).number for _ in range(300)]
    again = dataset.shuffled(seed=3)
    again.load_state_dict(json.loads(json.dumps(reading.state_dict())))
    rest += numbers(again)
    assert len(rest) == 667
    assert rest[-5:] == [102, 598, 105, 170, 640]
    assert rest != numbers(dataset.shuffled(seed=3, epoch=4, window=300))[333:]


def test_labels_are_mixed() -> None:
    """Of data sorted by label, a batch of 256 has about as many labels as chance gives."""
    dataset = write_samples(
        (Item(i, np.zeros(1, np.uint8)) for i in range(20_000)),
        Path(mkdtemp(prefix="atdata-test-")) / "sorted.tar",
        maxcount=2_000,
    )
    batches = [b for b in dataset.shuffled(256, seed=0) if len(b) == 256]
    distinct = np.mean([len({n // 200 for n in batch.number}) for batch in batches])
    assert distinct > 90
    first = [len({n // 200 for n in batch.number}) for batch in batches[:4]]
    assert np.mean(first) > 88
