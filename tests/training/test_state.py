"""States, ranks and options that do not fit are distinct errors."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from atdata import mix, write_samples
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
