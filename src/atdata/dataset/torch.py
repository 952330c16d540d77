"""The loader for PyTorch. Imported when it is first asked for: it needs torch."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from atdata.dataset.epoch import Shuffle
from atdata.dataset.ragged import Columns
from atdata.dataset.rows import SampleRows
from atdata.dataset.state import History, history_of, state_of
from atdata.dataset.stream import EpochStream
from atdata.dataset.tensors import Parcel, has_accelerator, pinned, torch
from atdata.errors import LengthError, OptionError, StateError


class TorchLoader:
    """Batches of tensors; one epoch for each time that it is iterated over.

    Not made by itself: ``dataset.to_torch(…)`` returns it.
    """

    def __init__(
        self,
        stream: EpochStream[dict[str, Any]],
        columns: Columns,
        *,
        filtered: bool,
        num_workers: int,
        pin_memory: bool,
        prefetch_factor: int | None,
        persistent_workers: bool,
        multiprocessing_context: str | None,
    ) -> None:
        prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        counts = (("num_workers", num_workers, 0), ("prefetch_factor", prefetch_factor, 1))
        for name, value, least in counts:
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name}={value!r}: expected a whole number from {least} on.")
        if multiprocessing_context not in (None, *multiprocessing.get_all_start_methods()):
            known = ", ".join(map(repr, multiprocessing.get_all_start_methods()))
            raise OptionError(
                f"multiprocessing_context={multiprocessing_context!r}: expected one of {known}."
            )
        self._stream = stream
        self._columns = columns
        self._filtered = filtered
        self._num_workers = num_workers
        self._options = {
            "num_workers": num_workers,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
            "multiprocessing_context": multiprocessing_context,
        }
        self._idle: Workers | None = None
        self._pin_memory = pin_memory and has_accelerator()
        self._history: History = []
        self._taken = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": None}

    @property
    def dataset(self) -> Any:
        """What is left of the loader's epoch as an ``IterableDataset`` of batches.

        For other loaders, such as torchdata's ``StatefulDataLoader(loader.dataset,
        batch_size=None, num_workers=…)``; such a loader restores its state with the same number
        of workers and ranks only. `set_epoch` decides over its next iteration as well.

        Raises:
            OptionError: The dataset is filtered: its batches are put together by this loader.
        """
        if self._filtered:
            raise OptionError("The batches of a filtered dataset are made by to_torch() alone.")
        return Chunks(self._stream, self._columns, self._history)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches that are left of the epoch; the next epoch comes after its end."""
        self._taken = 0
        for batch, taken in self._items():
            self._taken = taken
            if self._pin_memory:
                batch = {name: pinned(column) for name, column in batch.items()}
            yield batch
        shuffle = self._stream.epoch.shuffle
        if shuffle is not None:
            self.set_epoch(shuffle.epoch + 1)
        else:
            self._begin_at([])

    def __len__(self) -> int:
        """Batches that an iteration has from here.

        Raises:
            LengthError: The dataset is filtered.
        """
        if self._filtered:
            raise LengthError("A filtered dataset has as many batches as turn out.")
        samples, size = self._stream.samples_left(self._history), self._columns.size
        return samples // size if self._columns.drop_last else -(-samples // size)

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next iteration.

        Raises:
            OptionError: The loader does not shuffle: all epochs are the same.
        """
        shuffle = self._stream.epoch.shuffle
        if shuffle is None:
            raise OptionError("Without shuffle=True all epochs are the same.")
        self._stream.set_shuffle(replace(shuffle, epoch=epoch))
        self._begin_at([])

    def state_dict(self) -> dict[str, Any]:
        """Where training stands: batches that the loop was given count as read.

        What workers have prefetched does not. It is JSON, and fits any number of workers, and
        of ranks that have made equally many steps.
        """
        return state_of(self._stream, self._history, self._taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another loader of the same samples stood, with the next iteration.

        Raises:
            StateError: It is no state, or one of another dataset, order or version.
        """
        self._begin_at(history_of(state, self._stream))

    def _begin_at(self, history: History) -> None:
        # In place: what `dataset` returned goes on from there as well.
        self._history[:] = history
        self._taken = 0

    def _items(self) -> Iterator[tuple[dict[str, Any], int]]:
        if not self._num_workers:
            yield from self._stream.begin(self._history)
            return
        total, size = self._stream.samples_left(self._history), self._columns.size
        chunks = -(-total // size) if self._filtered else len(self)
        workers = self._workers()
        items = workers.read(self._stream.epoch.shuffle, list(self._history), chunks)
        try:
            if self._filtered:
                yield from self._columns(items)
            else:
                for number, batch in enumerate(items, 1):
                    yield batch, min(number * size, total)
        except GeneratorExit:
            # The loop was left before its end.
            self._keep(workers)
            raise
        self._keep(workers)

    def _keep(self, workers: Workers) -> None:
        self._idle = workers if self._options["persistent_workers"] else None

    def _workers(self) -> Workers:
        """Those of the iteration before, where there are any that no other loop uses."""
        idle, self._idle = self._idle, None
        if idle is not None and idle.are_mine():
            return idle
        return Workers(Batches(self._stream, self._columns, self._filtered), self._options)


class Workers:
    """Processes that read one epoch after the other, for one loop at a time.

    Args:
        batches: What they read.
        options: For ``DataLoader``.
    """

    def __init__(self, batches: Batches, options: Mapping[str, Any]) -> None:
        self._number = options["num_workers"]
        self._orders = Orders()
        self._loader = torch.utils.data.DataLoader(
            batches, batch_size=None, sampler=self._orders, collate_fn=_as_it_is, **options
        )
        self._turn = 0
        self._parent = os.getpid()
        self._processes: set[Any] = set()

    def are_mine(self) -> bool:
        """Whether they were started by this process, and all of them live."""
        if self._parent != os.getpid():
            # Were they let go of here, they would end where they belong.
            _inherited.append(self)
            return False
        return all(process.is_alive() for process in self._processes)

    def read(self, shuffle: Shuffle | None, history: History, count: int) -> Iterator[Any]:
        """So many batches, or rows of them where some are left out, in their order.

        Args:
            shuffle: The epoch.
            history: What was read of it before.
            count: How many there are.
        """
        self._turn += 1
        order = Order(self._turn, shuffle, history)
        last = replace(order, is_last=True)
        self._orders.next = (
            order if number + self._number < count else last for number in range(count)
        )
        before = set(multiprocessing.active_children())
        items = iter(self._loader)
        self._processes |= set(multiprocessing.active_children()) - before
        yield from items


_inherited: list[Workers] = []
"""Workers of a process that this one was forked from."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker has to know to read its next batch."""

    turn: int
    """Number of the iteration."""
    shuffle: Shuffle | None
    """The epoch."""
    history: History
    """What was read of it before the iteration."""
    is_last: bool = False
    """Whether the worker is asked for no more of it."""


class Orders:
    """What a ``DataLoader`` asks workers for, one after the other: a sampler in its words."""

    next: Iterator[Order] = iter(())

    def __iter__(self) -> Iterator[Order]:
        return self.next


class Batches(torch.utils.data.Dataset):  # type: ignore[misc]
    """Batches that a worker takes its turn with, as parcels; or their rows, if some are left out.

    Args:
        stream: What is read.
        columns: Makes batches.
        filtered: Whether batches are put together in the loop, from rows.
    """

    def __init__(self, stream: EpochStream[Any], columns: Columns, filtered: bool) -> None:
        self._stream = stream
        self._columns = replace(columns, then=Parcel)
        self._filtered = filtered
        self._turn = 0
        self._items: Iterator[Any] = iter(())

    def __getitem__(self, order: Order) -> Any:
        if order.turn != self._turn:
            self._stream.set_shuffle(order.shuffle)
            self._turn, self._items = order.turn, self._begin(order.history)
        item = next(self._items)
        if order.is_last:
            self._items = iter(())
        return item

    def _begin(self, history: History) -> Iterator[Any]:
        worker, workers = _worker()
        runs = self._stream.runs(history, worker=worker, workers=workers, single=self._filtered)
        if not self._filtered:
            return (parcel for parcel, _ in self._columns(runs))
        return ((SampleRows(rows.keys, rows.samples()), taken) for rows, taken in runs)


class Chunks(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Batches that several workers read in turn.

    Args:
        stream: What is read.
        columns: Makes batches.
        history: What was read before.
    """

    def __init__(self, stream: EpochStream[Any], columns: Columns, history: History) -> None:
        self._stream = stream
        self._columns = columns
        self.before = history

    def __iter__(self) -> ChunkIterator:
        return ChunkIterator(self)

    def begin(self, history: History) -> Iterator[Any]:
        """The batches of this worker."""
        worker, workers = _worker()
        runs = self._stream.runs(history, worker=worker, workers=workers)
        return (batch for batch, _ in self._columns(runs))

    def state(self, history: History) -> dict[str, Any]:
        """What the state of a worker has to agree with."""
        state = state_of(self._stream, history, 0)
        return {**state, "batch_size": self._columns.size, "worker": list(_worker())}

    def history(self, state: Mapping[str, Any]) -> History:
        """What was read before the batches that a worker's state counts.

        Raises:
            StateError: It is of other batches, or of another worker's.
        """
        found = history_of(state, self._stream)
        for name, mine in self.state(found).items():
            if name != "history" and state.get(name) != mine:
                raise StateError(
                    f"The state was saved with {name}={state.get(name)}, here it is {mine}. The "
                    "state of to_torch() itself fits other ranks, workers and batch sizes."
                )
        return found


class ChunkIterator:
    """One worker's batches, with a state for loaders that keep one of each worker."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._history = chunks.before
        self._items: Iterator[Any] | None = None
        self._state: dict[str, Any] | None = None
        self._given = 0

    def __iter__(self) -> ChunkIterator:
        return self

    def __next__(self) -> Any:
        if self._items is None:
            self._state = self._chunks.state(self._history)
            self._items = islice(self._chunks.begin(self._history), self._given, None)
        item = next(self._items)
        self._given += 1
        return item

    def state_dict(self) -> dict[str, Any]:
        """What is read, and how many batches of it this worker has given."""
        if self._state is None:
            self._state = self._chunks.state(self._history)
        return {**self._state, "given": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind the batches that were given.

        Raises:
            StateError: It is of another dataset, order, batch size, rank or worker.
        """
        self._history = self._chunks.history(state)
        self._given, self._items, self._state = state["given"], None, None


def _worker() -> tuple[int, int]:
    """Number of this worker, and how many there are."""
    info = torch.utils.data.get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _as_it_is(item: Any) -> Any:
    return item
