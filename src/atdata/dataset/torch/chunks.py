"""An IterableDataset of batches, for other PyTorch loaders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import numpy as np

from atdata.dataset.reading.column_batches import ColumnBatches
from atdata.dataset.reading.epoch import Shuffle
from atdata.dataset.reading.state import History, history_of, state_of
from atdata.dataset.reading.stream import EpochStream
from atdata.dataset.torch.tensors import torch
from atdata.dataset.torch.workers import worker_of_all
from atdata.errors import StateError
from atdata.system.parent import end_with_parent

_SHARED_BYTES: Final = 1 << 16
"""Bytes of shared memory that an epoch and its history are written to."""


class SharedStart:
    """Which epoch an iteration begins, and where: in memory that all workers see, old and new."""

    def __init__(self) -> None:
        self._memory = torch.zeros(_SHARED_BYTES, dtype=torch.uint8).share_memory_()

    def set(self, shuffle: Shuffle | None, history: History) -> None:
        """Decide what the next iteration reads."""
        how = None if shuffle is None else {**shuffle.to_json(), "version": shuffle.version}
        text = json.dumps([how, history]).encode()
        if len(text) > _SHARED_BYTES:
            text = b"null"
        memory = self._memory.numpy()
        memory[: len(text)] = np.frombuffer(text, np.uint8)
        memory[len(text) :] = ord(" ")

    def get(self) -> tuple[Shuffle | None, History]:
        """The epoch, and what was read of it before.

        Raises:
            StateError: There was no room for the history.
        """
        found = json.loads(self._memory.numpy().tobytes())
        if found is None:
            raise StateError(
                f"The history of the loaded state is longer than the {_SHARED_BYTES:,} bytes that "
                "workers of loader.dataset share. Iterate over the loader itself."
            )
        how, history = found
        return None if how is None else Shuffle(**how), [(world, taken) for world, taken in history]


class Chunks(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Batches that several workers read in turn.

    Args:
        stream: What is read.
        columns: Makes batches.
        start: Where an iteration begins.
    """

    def __init__(
        self, stream: EpochStream[Any], columns: ColumnBatches, start: SharedStart
    ) -> None:
        self._stream = stream
        self._columns = columns
        self._start = start

    def __iter__(self) -> ChunkIterator:
        if torch.utils.data.get_worker_info() is not None:
            end_with_parent()
        shuffle, history = self._start.get()
        return ChunkIterator(self._stream.in_epoch(shuffle), self._columns, history)


class ChunkIterator:
    """One worker's batches of one epoch, with a state for loaders that keep one of each worker.

    Args:
        stream: The epoch.
        columns: Makes batches.
        history: What was read of it before.
    """

    def __init__(self, stream: EpochStream[Any], columns: ColumnBatches, history: History) -> None:
        self._stream = stream
        self._columns = columns
        self._history = history
        self._items: Iterator[Any] | None = None
        self._state: dict[str, Any] | None = None
        self._given = 0

    def __iter__(self) -> ChunkIterator:
        return self

    def __next__(self) -> Any:
        if self._items is None:
            worker, workers = worker_of_all()
            runs = self._stream.runs(self._history, worker=worker, workers=workers)
            self._items = islice(self._columns(runs), self._given, None)
        item, _ = next(self._items)
        self._given += 1
        return item

    def state_dict(self) -> dict[str, Any]:
        """What is read, and how many batches of it this worker has given."""
        if self._state is None:
            self._state = self._described(self._history)
        return {**self._state, "given": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batches that were given.

        Raises:
            StateError: It is of another dataset, order, batch size, rank or worker.
        """
        stream = self._stream.in_epoch(None)
        found = history_of(state, stream)
        for name, mine in self._described(found, stream).items():
            if name != "history" and state.get(name) != mine:
                raise StateError(
                    f"The state was saved with {name}={state.get(name)}, here it is {mine}. The "
                    "state of to_torch() itself fits other ranks, workers and batch sizes."
                )
        given = state.get("given")
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            raise StateError("The state is damaged: it does not say how many batches were given.")
        self._stream, self._history, self._given = stream, found, given
        self._items, self._state = None, None

    def _described(
        self, history: History, stream: EpochStream[Any] | None = None
    ) -> dict[str, Any]:
        state = state_of(stream or self._stream, history, 0)
        return {**state, "batch_size": self._columns.size, "worker": list(worker_of_all())}
