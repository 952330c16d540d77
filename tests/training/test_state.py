"""States, ranks and options that do not fit are distinct errors."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata import Dataset, mix, write_samples
from atdata.dataset.reading.ranks import left_of
from atdata.dataset.reading.state import merge_states
from atdata.errors import LengthError, OptionError, StateError
from tests.training.counted import Item, dataset_of, numbers


def test_a_state_of_something_else_is_refused() -> None:
    """States of other data, orders and versions, and invalid ones, are distinct errors."""
    dataset = dataset_of((23, 7))
    reading = dataset.shuffled(seed=5)
    next(reading)
    state = reading.state_dict()
    other = write_samples(
        [Item(i, np.ones(1, np.uint8)) for i in range(30)],
        Path(mkdtemp(prefix="atdata-test-")) / "x.tar",
    )
    refused: list[tuple[Any, Any, str]] = [
        (other.shuffled(seed=5), state, "dataset"),
        (dataset.shuffled(seed=6), state, "seed=5"),
        (dataset.ordered(), state, "shuffled"),
        (dataset.shuffled(seed=5), dataset.ordered().state_dict(), "stored in"),
        (dataset.shuffled(), {**state, "atdata_state": 1}, "version 1"),
        (dataset.shuffled(), {}, "not a state"),
        (dataset.shuffled(), [], "not a state"),
        (dataset.shuffled(), {**state, "history": [[0, 1]]}, "damaged"),
        (dataset.shuffled(), {**state, "history": [[2, [1]]]}, "damaged"),
        (dataset.shuffled(), {**state, "taken": -1}, "damaged"),
        (dataset.shuffled(), {**state, "taken": 31}, "31 samples taken .* of 30 that"),
        (dataset.shuffled(), {**state, "rank": 1}, "no rank 1 of 1"),
        (dataset.shuffled(), {**state, "shuffle": {"seed": "x"}}, "stored in"),
    ]
    for into, wrong, said in refused:
        with pytest.raises(StateError, match=said):
            into.load_state_dict(wrong)
    unseeded = dataset.shuffled()
    unseeded.load_state_dict(state)
    assert len(numbers(unseeded)) == 29
    with pytest.raises(StateError, match="ranks"):
        merge_states([state, state])


def test_ranks_are_found_and_contradictions_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """RANK and WORLD_SIZE decide where nothing is said, and must agree with what is said."""
    dataset = dataset_of((23, 7))
    assert len(dataset.split()) == 30
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(OptionError, match="make no sense"):
        dataset.split()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert len(dataset.split()) == 8
    assert [len(dataset.split(even=even)) for even in ("drop", "pad")] == [7, 8]
    assert len(dataset.split(1, 4)) == 8
    with pytest.raises(OptionError, match="rank 1 of 4"):
        dataset.split(1, 8)
    monkeypatch.undo()
    for rank, world in ((4, 4), (-1, 2), (0, 0), (0, None), (1.0, 2)):
        with pytest.raises(OptionError):
            dataset.split(rank, world)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="rank 0 of 2 already"):
        dataset.split(0, 2).split(0, 2)
    with pytest.raises(OptionError, match="even"):
        dataset.split(0, 2, even="round")  # type: ignore[arg-type]
    with pytest.raises(LengthError):
        dataset.split(0, 2)[0]


@pytest.mark.parametrize("option", ["seed", "epoch", "window"])
def test_options_out_of_range_are_refused(option: str) -> None:
    """A negative seed or epoch and an empty window are refused at once."""
    several: list[Any] = [-1, 1.5, True]
    for wrong in several:
        with pytest.raises(OptionError, match=option):
            dataset_of((23, 7)).shuffled(**{option: wrong})


def test_a_reading_that_failed_begins_where_it_stood() -> None:
    """After an error what comes next is what would have come, not an end without a word."""
    fails = [12]

    def sometimes(item: Item) -> Item:
        if item.number in fails:
            raise OSError("not now")
        return item

    dataset = dataset_of((23, 7))
    whole = numbers(dataset.shuffled(seed=5))
    for batch in (None, 4):
        fails[:] = [12]
        reading: Any = dataset.map(sometimes).shuffled(batch, seed=5)
        seen: list[int] = []
        for number in range(3):
            try:
                for item in reading:
                    seen += [item.number] if batch is None else item.number
                break
            except OSError:
                assert number < 2
                assert reading.state_dict()["history"] == ([[1, len(seen)]] if seen else [])
                with pytest.raises(OSError, match="not now"):
                    next(reading)
                if number:
                    fails.clear()
        assert seen == whole


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_mixture_is_resumed_in_any_epoch(epoch: int) -> None:
    """Epochs of a mixture differ in length; a state of one is loaded where another one begins."""
    mixture = mix([dataset_of((23, 7)), dataset_of((40,))], seed=4)
    reading = mixture.shuffled(epoch=epoch)
    begin = [next(reading).number for _ in range(17)]
    rest = mixture.shuffled()
    rest.load_state_dict(reading.state_dict())
    assert begin + numbers(rest) == numbers(mixture.shuffled(epoch=epoch))


class Streams:
    """A source whose shards can be read from their start only, and have no tables."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    @property
    def shard_list(self) -> list[str]:
        return list(self.paths)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return io.BytesIO(Path(shard_id).read_bytes())

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for path in self.paths:
            yield path, self.open_shard(path)


def without_tables(counts: tuple[int, ...]) -> Dataset[Item]:
    return Dataset[Item](Streams(dataset_of(counts).shard_list))


COUNTS = (23, 7)
KINDS: dict[str, Any] = {
    "permutation": lambda: dataset_of(COUNTS).shuffled(seed=5, window=9),
    "without a seed": lambda: dataset_of(COUNTS).shuffled(),
    "rank": lambda: dataset_of(COUNTS).split(1, 3).shuffled(seed=5),
    "stored": lambda: dataset_of(COUNTS).ordered(),
    "buffer": lambda: without_tables(COUNTS).shuffled(seed=5, buffer_samples=4),
    "buffer without a seed": lambda: without_tables(COUNTS).shuffled(),
}
INTEGERS = (
    st.integers(-2, 40)
    | st.sampled_from([100_000, 2**31, 2**32, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64])
    | st.sampled_from([10**30, 10**400])
)
SESSIONS = st.lists(
    st.tuples(
        st.integers(1, 5) | INTEGERS,
        st.integers(0, 6) | INTEGERS | st.lists(st.integers(0, 6) | INTEGERS, max_size=5),
    ).map(list),
    max_size=4,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NAMES = ("atdata_state", "samples", "data", "rank", "world_size", "taken", "history")
CHANGES = st.lists(
    st.tuples(st.just("history"), SESSIONS)
    | st.tuples(st.sampled_from(("taken", "world_size", "rank", "atdata_state")), INTEGERS)
    | st.tuples(
        st.sampled_from(("seed", "epoch", "block", "window")).map("shuffle.".__add__), INTEGERS
    )
    | st.tuples(
        st.sampled_from(
            (*NAMES, "shuffle", *map("shuffle.".__add__, ("seed", "epoch", "window", "buffer")))
        ),
        ANYTHING,
    ),
    min_size=1,
    max_size=2,
)


def rest_of(state: Any, reading: Any) -> list[int]:
    reading.load_state_dict(state)
    return numbers(reading)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 12), CHANGES)
def test_any_state_gives_its_rest_or_a_state_error(
    kind: str, steps: int, changes: list[tuple[str, Any]]
) -> None:
    """Whatever a state says: it resumes exactly, or it is refused; nothing is lost in silence."""
    reading = KINDS[kind]()
    for _, _ in zip(range(min(steps, 9)), reading, strict=False):
        pass
    state = reading.state_dict()
    for name, value in changes:
        part, _, inner = name.rpartition(".")
        of = state[part] if part else state
        if isinstance(of, dict):
            of[inner] = value
    state = json.loads(json.dumps(state))
    try:
        found = rest_of(state, KINDS[kind]())
    except StateError:
        return
    whole_state = {**state, "history": [], "taken": 0, "rank": 0, "world_size": 1}
    share = (1, 3) if kind == "rank" else (0, 1)
    if kind == "rank":
        whole = rest_of(whole_state, dataset_of(COUNTS).split(0, 1).shuffled(seed=5))
    else:
        whole = rest_of(whole_state, KINDS[kind]())
    assert sorted(whole) == list(range(sum(COUNTS)))
    assert found == [whole[place] for place in expected_places(state, *share)]


def expected_places(state: Any, rank: int, world_size: int) -> list[int]:
    """What one of some ranks still has to read, one place at a time."""
    sessions: list[tuple[int, list[int]]] = []
    for world, taken in [*state["history"], [state["world_size"], state["taken"]]]:
        each = taken if isinstance(taken, list) else [taken] * min(world, sum(COUNTS))
        sessions.append((world, [*each]))
    left = list(range(sum(COUNTS)))
    parts = parts_of(left, world_size)
    open_world = 0
    for world, taken in sessions:
        if not any(taken):
            continue
        if world != open_world:
            parts = parts_of([place for part in parts for place in part], world)
        parts = [part[count:] for part, count in zip(parts, taken, strict=False)]
        # Ranks that took equally many continue in the same parts.
        open_world = world if len(set(taken)) == 1 else 0
    if world_size != open_world:
        parts = parts_of([place for part in parts for place in part], world_size)
    return parts[rank] if rank < len(parts) else []


def parts_of(places: list[int], world_size: int) -> list[list[int]]:
    each, over = divmod(len(places), world_size)
    starts = [rank * each + min(rank, over) for rank in range(min(world_size, sum(COUNTS)) + 1)]
    return [places[a:b] for a, b in pairwise(starts)]


def test_a_small_state_is_never_a_long_computation() -> None:
    """Many ranks in many sessions, of more samples than there are, or of very many."""
    reading = dataset_of(COUNTS).shuffled(seed=5)
    state = {**reading.state_dict(), "samples": 2**61}
    for sessions, said in (
        ([[100_000, 1], [99_999, 1]], "this is a dataset of 30 samples"),
        ([[2 + i % 2, 1] for i in range(1_001)], "limits.state_sessions"),
        ([[2**61, 1]], "limits.state_ranks"),
        ([[100_000, 1], [99_999, 1], [2, 1]], "limits.state_ranks"),
    ):
        with pytest.raises(StateError, match=said):
            reading.load_state_dict({**state, "history": sessions})
    ranges = left_of(10**12, [(100_000 - i % 2, 1) for i in range(10)])
    assert sum(stop - start for start, stop in ranges) == 10**12 - 999_995
    assert all(a[1] < b[0] for a, b in pairwise(ranges))


@pytest.mark.parametrize("kind", ["without a seed", "buffer without a seed"])
def test_a_seed_that_was_chosen_is_that_of_the_state(kind: str) -> None:
    """Where no seed is given, a state brings its own; where one is given, it has to agree."""
    reading = KINDS[kind]()
    seen = [next(reading).number for _ in range(9)]
    state = json.loads(json.dumps(reading.state_dict()))
    other = KINDS[kind]()
    next(other)
    assert sorted(seen + rest_of(state, other)) == list(range(30))
    with pytest.raises(StateError, match="seed=5"):
        KINDS["buffer" if "buffer" in kind else "permutation"]().load_state_dict(
            {**state, "shuffle": {**KINDS["buffer"]().state_dict()["shuffle"], "seed": 4}}
            if "buffer" in kind
            else state
        )


def test_a_buffer_has_what_its_state_says_was_read() -> None:
    """A state of more samples than there are is an error, not an end without a word."""
    state = KINDS["buffer"]().state_dict()
    for taken in (31, 2**60):
        with pytest.raises(StateError, match=f"{taken} samples were read, and there are 30"):
            rest_of({**state, "taken": taken}, KINDS["buffer"]())
    assert rest_of({**state, "taken": 30}, KINDS["buffer"]()) == []
    with pytest.raises(StateError, match="not split among ranks"):
        rest_of({**state, "history": [[3, [1, 2, 3]]]}, KINDS["buffer"]())


def test_one_rank_reads_in_the_order_of_many() -> None:
    """A dataset split among one rank resumes on three, without tables, too; and the other way."""
    dataset = without_tables(COUNTS)
    for before, after in ((1, 3), (3, 1)):
        seen, states = [], []
        for rank in range(before):
            reading = dataset.split(rank, before).shuffled(seed=5)
            seen += [next(reading).number for _ in range(4)]
            states.append(reading.state_dict())
        assert states[0]["shuffle"]["window"]
        for rank in range(after):
            seen += rest_of(states[0], dataset.split(rank, after).shuffled(seed=5))
        assert sorted(seen) == list(range(30))
    # Saved by a version in which one rank was a buffer.
    reading = dataset.shuffled(seed=5)
    seen = [next(reading).number for _ in range(4)]
    seen += rest_of(reading.state_dict(), dataset.split(0, 1).shuffled(seed=5))
    assert sorted(seen) == list(range(30))
