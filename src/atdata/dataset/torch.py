"""The loader for PyTorch. Imported when it is first asked for: it needs torch."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from atdata.dataset.plan import Run
from atdata.dataset.ragged import Columns
from atdata.dataset.rows import SampleRows
from atdata.dataset.state import History, history_of, state_of
from atdata.dataset.stream import EpochStream
from atdata.errors import LengthError, MissingExtraError, OptionError, StateError
from atdata.samples.batch import Column

try:
    torch: Any = importlib.import_module("torch")
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "to_torch() needs PyTorch, which is not installed. Install it as https://pytorch.org "
        "says for your machine: pip install torch"
    ) from error


def as_tensors(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Columns as tensors, which share their memory; lists of arrays as lists of tensors."""
    return {name: _tensor(column) for name, column in columns.items()}


def _tensor(column: Column) -> Any:
    if isinstance(column, list):
        return [_tensor(v) if isinstance(v, np.ndarray) else v for v in column]
    if not column.dtype.isnative:
        column = column.astype(column.dtype.newbyteorder("="))
    return torch.from_numpy(column)


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
        self._options = {
            "num_workers": num_workers,
            "prefetch_factor": prefetch_factor if num_workers else None,
            "multiprocessing_context": multiprocessing_context if num_workers else None,
        }
        self._pin_memory = pin_memory and _has_accelerator()
        self._history: History = []
        self._taken = 0

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
        return Chunks(self._stream, self._columns, self._history, filtered=False)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches that are left of the epoch; the next epoch comes after its end."""
        self._taken = 0
        for batch, taken in self._items():
            self._taken = taken
            if self._pin_memory:
                batch = {name: _pinned(column) for name, column in batch.items()}
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
        workers = self._options["num_workers"]
        if not workers:
            yield from self._stream.begin(self._history)
            return
        chunks = Chunks(self._stream, self._columns, self._history, filtered=self._filtered)
        loader = torch.utils.data.DataLoader(
            chunks, batch_size=None, collate_fn=_as_it_is, **self._options
        )
        if self._filtered:
            yield from self._columns(iter(loader))
            return
        total = self._stream.samples_left(self._history)
        for number, batch in enumerate(loader, 1):
            yield batch, min(number * self._columns.size, total)


class Chunks(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Batches that several workers read in turn.

    Args:
        stream: What is read.
        columns: Makes batches.
        history: What was read before.
        filtered: Whether batches are put together from chunks afterwards.
    """

    def __init__(
        self,
        stream: EpochStream[Any],
        columns: Columns,
        history: History,
        *,
        filtered: bool,
    ) -> None:
        self._stream = stream
        self._columns = columns
        self.before = history
        self._filtered = filtered

    def __iter__(self) -> ChunkIterator:
        return ChunkIterator(self)

    def begin(self, history: History) -> Iterator[Any]:
        """What this worker gives: a batch for each chunk, or its rows where some are left out."""
        worker, workers = _worker()
        runs = self._stream.runs(history, worker=worker, workers=workers, single=self._filtered)
        return self._rows(runs) if self._filtered else (b for b, _ in self._columns(runs))

    @staticmethod
    def _rows(runs: Iterator[Run]) -> Iterator[Run]:
        for rows, taken in runs:
            yield SampleRows(rows.keys, rows.samples()), taken

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


def _pinned(column: Any) -> Any:
    if isinstance(column, list):
        return [_pinned(value) for value in column]
    return column.pin_memory() if isinstance(column, torch.Tensor) else column


def _has_accelerator() -> bool:
    """Whether there is a device that memory can be pinned for."""
    accelerator = getattr(torch, "accelerator", torch.cuda)
    return bool(accelerator.is_available())
