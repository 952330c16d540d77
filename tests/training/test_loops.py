"""Loops over a loader that are left, nested, or reach into each other; and what the state says.

Needs PyTorch, which is not among the locked packages: `make test-torch` says how to run these.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata import Dataset
from atdata.errors import StateError
from tests.training.counted import Item, dataset_of
from tests.training.test_exit import LOADERS, READINGS, at_exit

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch runs these tests with it"
)
BATCH = 7


@pytest.fixture(scope="module")
def dataset() -> Dataset[Item]:
    return dataset_of((40, 23, 37))


def flat(batches: Iterator[dict[str, Any]]) -> list[int]:
    return [number for batch in batches for number in batch["number"].tolist()]


def epoch_of(dataset: Dataset[Item], epoch: int) -> list[int]:
    return flat(dataset.batches(BATCH, shuffle=True, seed=0, epoch=epoch, ragged="pad"))


def loader_of(dataset: Dataset[Item], **how: Any) -> Any:
    return dataset.to_torch(BATCH, shuffle=True, ragged="pad", **how)


def some_of(loader: Any, steps: int) -> tuple[list[int], Any]:
    """The first steps of a loop that is left then, and the state within it."""
    batches = iter(loader)
    return flat(next(batches) for _ in range(steps)), loader.state_dict()


def resumed(dataset: Dataset[Item], state: Any, **how: Any) -> Any:
    loader = loader_of(dataset, **how)
    loader.load_state_dict(json.loads(json.dumps(state)))
    return loader


@pytest.mark.parametrize("workers", [0, 2])
def test_each_loop_is_a_new_epoch(dataset: Dataset[Item], workers: int) -> None:
    """However a loop ends, the next one is the next epoch; and so it is after resuming there."""
    loader = loader_of(dataset, num_workers=workers)

    def with_break() -> list[int]:
        seen = []
        for batch in loader:
            seen.append(batch)
            if len(seen) == 3:
                break
        return flat(iter(seen))

    def with_error() -> list[int]:
        seen = []
        try:
            for batch in loader:
                seen.append(batch)
                if len(seen) == 3:
                    raise ArithmeticError
        except ArithmeticError:
            pass
        return flat(iter(seen))

    def with_islice() -> list[int]:
        return flat(itertools.islice(loader, 3))

    def with_next() -> list[int]:
        batches = iter(loader)
        return flat(next(batches) for _ in range(3))

    for epoch, loop in enumerate((with_break, with_error, with_islice, with_next)):
        assert loop() == epoch_of(dataset, epoch)[: 3 * BATCH]
        after = loader.state_dict()
        assert (after["shuffle"]["epoch"], after["taken"]) == (epoch + 1, 0)
        assert flat(resumed(dataset, after)) == epoch_of(dataset, epoch + 1)
    assert flat(loader) == epoch_of(dataset, 4)


def test_loops_that_are_nested_have_their_own_epochs(dataset: Dataset[Item]) -> None:
    """A check in the middle of training costs the loop around it nothing, nor its state."""
    loader = loader_of(dataset)
    outer = iter(loader)
    seen = flat(itertools.islice(outer, 3))
    assert flat(loader) == epoch_of(dataset, 1)
    with pytest.raises(StateError, match="ran last is over, and another one is not"):
        loader.state_dict()
    seen += next(outer)["number"].tolist()
    state = loader.state_dict()
    rest = resumed(dataset, state)
    assert seen + flat(rest) == epoch_of(dataset, 0)
    # Here as there, the epoch after it is the third one: the second has been read.
    assert flat(rest) == epoch_of(dataset, 2)
    assert seen + flat(outer) == epoch_of(dataset, 0)
    assert flat(loader) == epoch_of(dataset, 2)


def test_two_loops_in_step_are_told_apart(dataset: Dataset[Item]) -> None:
    """The state is that of the loop that was given a batch last, whichever it was."""
    loader = loader_of(dataset)
    loops = [iter(loader), iter(loader)]
    seen: list[list[int]] = [[], []]
    for begun, which in enumerate((0, 1, 1, 0, 0, 1, 0)):
        seen[which] += next(loops[which])["number"].tolist()
        rest = resumed(dataset, loader.state_dict())
        assert seen[which] + flat(rest) == epoch_of(dataset, which)
        assert flat(rest) == epoch_of(dataset, 2 if begun else 1)


def test_an_epoch_that_is_set_within_a_loop_is_the_next_one(dataset: Dataset[Item]) -> None:
    """The loop that runs keeps its epoch, and the state knows which one comes after it."""
    loader = loader_of(dataset)
    seen: list[int] = []
    state: Any = None
    for number, batch in enumerate(loader):
        seen += batch["number"].tolist()
        if number == 4:
            loader.set_epoch(9)
            state = loader.state_dict()
            rest = resumed(dataset, state)
            assert seen + flat(rest) == epoch_of(dataset, 0)
            assert flat(rest) == epoch_of(dataset, 9)
    assert seen == epoch_of(dataset, 0)
    assert flat(loader) == epoch_of(dataset, 9)


def test_a_loaded_state_outlives_the_same_epoch_set(dataset: Dataset[Item]) -> None:
    """`set_epoch(n)` leaves what was loaded of epoch n; a state of another epoch, it does not."""
    loader = loader_of(dataset, epoch=3)
    seen, state = some_of(loader, 5)
    again = resumed(dataset, state)
    again.set_epoch(3)
    assert seen + flat(again) == epoch_of(dataset, 3)
    other = resumed(dataset, state)
    other.set_epoch(4)
    assert flat(other) == epoch_of(dataset, 4)


def test_a_state_that_is_loaded_within_a_loop_ends_it(dataset: Dataset[Item]) -> None:
    """The step after it is an error, and the next loop reads what was loaded."""
    loader = loader_of(dataset, num_workers=1)
    begin, state = some_of(loader, 2)
    batches = iter(loader)
    next(batches)
    loader.load_state_dict(state)
    assert loader.state_dict()["history"] == [[1, 2 * BATCH]]
    with pytest.raises(StateError, match="within this loop"):
        next(batches)
    assert begin + flat(loader) == epoch_of(dataset, 0)


def test_a_loop_that_was_given_nothing_has_not_begun(dataset: Dataset[Item]) -> None:
    """An iterator that nobody asks for a batch takes no epoch away."""
    loader = loader_of(dataset)
    unused = iter(loader)
    assert flat(loader) == epoch_of(dataset, 0)
    assert flat(unused) == epoch_of(dataset, 1)
    assert flat(loader) == epoch_of(dataset, 2)


def test_a_refused_state_changes_nothing(dataset: Dataset[Item]) -> None:
    """A loader and a reading go on where they were after a state that does not fit."""
    loader = loader_of(dataset)
    batches = iter(loader)
    seen = next(batches)["number"].tolist()
    good = loader.state_dict()
    reading = dataset.shuffled(BATCH, seed=0)
    read = next(reading).number
    for wrong in ({"taken": 101}, {"data": "x"}, {"next_epoch": -1}, {"atdata_state": 99}):
        state = {**good, **wrong, "shuffle": {**good["shuffle"], "epoch": 5}}
        with pytest.raises(StateError):
            loader.load_state_dict(state)
        if "next_epoch" not in wrong:
            with pytest.raises(StateError):
                reading.load_state_dict(state)
    assert loader.state_dict() == good
    assert seen + flat(batches) == epoch_of(dataset, 0)
    assert read + [n for batch in reading for n in batch.number] == epoch_of(dataset, 0)


@pytest.mark.parametrize("stateful", [False, True])
def test_workers_of_other_loaders_that_live_on_change_epochs(
    dataset: Dataset[Item], stateful: bool
) -> None:
    """`set_epoch` and a loaded state reach workers of other loaders that were started before."""
    loader = loader_of(dataset)
    made: Any = torch.utils.data.DataLoader
    if stateful:
        made = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    how = {"num_workers": 2, "batch_size": None, "persistent_workers": True}
    other = made(loader.dataset, **how)
    for epoch in (0, 1, 5):
        loader.set_epoch(epoch)
        assert flat(other) == epoch_of(dataset, epoch)
    seen, state = some_of(loader_of(dataset, epoch=2), 4)
    loader.load_state_dict(state)
    assert seen + flat(other) == epoch_of(dataset, 2)


def test_nothing_is_said_at_exit(tmp_path: Path) -> None:
    """Loaders that are half-read end with the modules in silence, and their workers too."""
    assert at_exit(READINGS + LOADERS, tmp_path) == (0, "")
