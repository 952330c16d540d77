"""Worker processes of the PyTorch loader."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler
from operator import itemgetter
from typing import Any
from weakref import WeakSet

from atdata._secrets import redacted_repr
from atdata.dataset.reading.column_batches import ColumnBatches
from atdata.dataset.reading.epoch import Shuffle
from atdata.dataset.reading.rows import SampleRows
from atdata.dataset.reading.state import History
from atdata.dataset.reading.stream import EpochStream
from atdata.dataset.torch.tensors import Parcel, torch
from atdata.errors import AtdataError
from atdata.system.forks import at_fork
from atdata.system.parent import end_with_parent


class Workers:
    """Processes that read one epoch after the other, for one loop at a time.

    Args:
        batches: What they read.
        options: For ``DataLoader``.
    """

    def __init__(self, batches: Batches, options: Mapping[str, Any]) -> None:
        self._number = options["num_workers"]
        self._assignments = Assignments()
        self._loader = torch.utils.data.DataLoader(
            batches,
            batch_size=None,
            sampler=self._assignments,
            collate_fn=_as_it_is,
            worker_init_fn=_begin,
            **options,
        )
        self._turn = 0
        self._parent = os.getpid()
        self._processes: set[Any] = set()
        self._items: Iterator[Any] = iter(())
        _living.add(self)

    def are_mine(self) -> bool:
        """Whether they were started by this process, and all of them live."""
        return self._parent == os.getpid() and all(p.is_alive() for p in self._processes)

    def read(self, shuffle: Shuffle | None, history: History, count: int) -> Iterator[Any]:
        """So many batches, or rows of them where some are left out, in their order.

        Args:
            shuffle: The epoch.
            history: What was read of it before.
            count: How many there are.
        """
        self._turn += 1
        self._assignments.next = _assignments(
            Assignment(self._turn, shuffle, history), count, self._number
        )
        before = set(multiprocessing.active_children())
        # No frame of a generator here, see `Batches`.
        self._items = map(_checked, iter(self._loader))
        self._processes |= set(multiprocessing.active_children()) - before
        return self._items


_living: WeakSet[Workers] = WeakSet()
_inherited: list[Workers] = []
"""Workers of a process that this one was forked from. Were they let go of here, they would end
where they belong."""


def _keep_inherited() -> None:
    _inherited.extend(_living)


at_fork(after_in_child=_keep_inherited)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker has to know to read its next batch."""

    turn: int
    """Number of the iteration."""
    shuffle: Shuffle | None
    """The epoch."""
    history: History
    """What was read of it before the iteration."""
    is_last: bool = False
    """Whether the worker is asked for no more of it."""


def _assignments(assignment: Assignment, count: int, workers: int) -> Iterator[Assignment]:
    last = replace(assignment, is_last=True)
    return (assignment if number + workers < count else last for number in range(count))


class Assignments:
    """What a ``DataLoader`` asks workers for, one after the other: a sampler in its words."""

    next: Iterator[Assignment] = iter(())

    def __iter__(self) -> Iterator[Assignment]:
        return self.next


class Batches(torch.utils.data.Dataset):  # type: ignore[misc]
    """Batches that a worker takes its turn with, as parcels; or their rows, if some are left out.

    Args:
        stream: What is read.
        columns: Makes batches.
        filtered: Whether batches are put together in the loop, from rows.
    """

    def __init__(self, stream: EpochStream[Any], columns: ColumnBatches, filtered: bool) -> None:
        self._stream = stream
        self._columns = replace(columns, then=Parcel)
        self._filtered = filtered
        self._turn = 0
        self._items: Iterator[Any] = iter(())

    def __getitem__(self, assignment: Assignment) -> Any:
        try:
            return self._next(assignment)
        except AtdataError as error:
            return Failed.of(error)

    def _next(self, assignment: Assignment) -> Any:
        if assignment.turn != self._turn:
            # What is left of a loop that was left early is not held while the next one is read.
            self._items = iter(())
            self._stream.set_shuffle(assignment.shuffle)
            self._turn, self._items = assignment.turn, self._begin(assignment.history)
        item = next(self._items)
        if assignment.is_last:
            self._items = iter(())
        return item

    def _begin(self, history: History) -> Iterator[Any]:
        worker, workers = worker_of_all()
        runs = self._stream.runs(history, worker=worker, workers=workers, single=self._filtered)
        if not self._filtered:
            # No frame of a generator here, which would hold the last parcel and its memory.
            shuffle = self._stream.epoch.shuffle
            seed, epoch = (0, 0) if shuffle is None else (shuffle.seed or 0, shuffle.epoch)
            columns = self._columns.in_epoch(seed, epoch, workers=workers)
            return map(itemgetter(0), columns(runs))
        return ((SampleRows(rows.keys, rows.samples()), taken) for rows, taken in runs)


@redacted_repr
@dataclass(frozen=True, slots=True)
class Failed:
    """An error of ours on its way from a worker, sent as an item.

    An error that a worker raises PyTorch makes again from its text: all else that it has is lost.
    """

    error: AtdataError
    trace: str
    """Where in the worker it was raised."""

    @classmethod
    def of(cls, error: AtdataError) -> Failed:
        """An error that was caught. One that cannot be sent is raised again."""
        try:
            ForkingPickler.loads(ForkingPickler.dumps(error))
        except Exception:
            raise error from None
        worker, _ = worker_of_all()
        return cls(error, f"Raised in worker {worker} of to_torch():\n{traceback.format_exc()}")


def _checked(item: Any) -> Any:
    """An item of a worker; if that failed, its error is raised."""
    if isinstance(item, Failed):
        item.error.add_note(item.trace)
        raise item.error
    return item


def worker_of_all() -> tuple[int, int]:
    """Number of this worker, and how many there are."""
    info = torch.utils.data.get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _begin(_: int) -> None:
    end_with_parent()


def _as_it_is(item: Any) -> Any:
    return item
