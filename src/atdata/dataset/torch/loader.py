"""The PyTorch loader. Imported on first use: it needs torch."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from atdata._secrets import redacted_repr
from atdata.dataset.reading.column_batches import ColumnBatches
from atdata.dataset.reading.state import History, continued, history_of, next_epoch_of, state_of
from atdata.dataset.reading.stream import EpochStream, in_epoch
from atdata.dataset.torch.chunks import Chunks, SharedStart
from atdata.dataset.torch.tensors import has_accelerator, pinned
from atdata.dataset.torch.workers import Batches, Workers
from atdata.errors import LengthError, OptionError, StateError


@redacted_repr
@dataclass(frozen=True)
class Start:
    """Where a loop begins."""

    stream: EpochStream[dict[str, Any]]
    """The epoch."""
    history: History = field(default_factory=list)
    """What was read of it before."""
    next_epoch: int | None = None
    """Epoch of the loop after it; None: the epoch that follows."""

    def after(self) -> Start:
        """Where the loop after it begins."""
        shuffle = self.stream.epoch.shuffle
        if shuffle is None:
            return Start(self.stream)
        return Start(self.stream.in_epoch(shuffle.following(self.next_epoch)))


@dataclass(eq=False)
class Loop:
    """One iteration over a loader."""

    start: Start
    taken: int = 0
    """Samples that it was given."""
    is_cut_off: bool = False
    """Whether a state was loaded since."""
    process: int = field(default_factory=os.getpid)


class TorchLoader:
    """Batches of tensors; one epoch for each time that it is iterated over.

    Not made by itself: ``dataset.to_torch(…)`` returns it.
    """

    def __init__(
        self,
        stream: EpochStream[dict[str, Any]],
        columns: ColumnBatches,
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
        self._start = Start(stream)
        self._shared: SharedStart | None = None
        self._open: list[Loop] = []
        self._last: Loop | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": None, "_shared": None, "_open": [], "_last": None}

    @property
    def dataset(self) -> Any:
        """What is left of the loader's epoch as an ``IterableDataset`` of batches.

        For other loaders, such as torchdata's ``StatefulDataLoader(loader.dataset,
        batch_size=None, num_workers=…)``; such a loader restores its state with the same number
        of workers and ranks only. `set_epoch` decides over its next iteration as well, also
        with workers that live on.

        Raises:
            OptionError: The dataset is filtered: its batches are put together by this loader.
        """
        if self._filtered:
            raise OptionError("The batches of a filtered dataset are made by to_torch() alone.")
        if self._shared is None:
            self._shared = SharedStart()
            self._begin_at(self._start)
        return Chunks(self._start.stream, self._columns, self._shared)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches that are left of the epoch.

        The next iteration is the next epoch, whether this one came to its end or was left early.

        Raises:
            StateError: A state was loaded in the middle of it.
        """
        loop, this_process = Loop(self._start), os.getpid
        items = self._items(loop.start)
        try:
            while (item := next(items, None)) is not None:
                batch, taken = item
                if self._pin_memory:
                    batch = {name: pinned(column) for name, column in batch.items()}
                self._give(loop, taken)
                yield batch
                if loop.is_cut_off:
                    raise StateError(
                        "load_state_dict() was called within this loop; what it loaded is read by "
                        "the next one. Leave the loop (break) after loading a state."
                    )
                if loop.process != os.getpid():
                    _inherited.append(items)
                    loop = self._resumed(loop)
                    items = self._items(loop.start)
            if loop not in self._open:
                self._begin_at(loop.start.after())
        finally:
            if loop in self._open:
                self._open.remove(loop)
            if self._last is loop:
                self._last = None
            # When Python ends, its modules are gone before this.
            if loop.process != this_process():
                _inherited.append(items)

    def __len__(self) -> int:
        """Batches of the loop that runs, counted from where it began, or else of the next one.

        Raises:
            LengthError: The dataset is filtered.
        """
        if self._filtered:
            raise LengthError("The batch count of a filtered dataset is unknown until it is read.")
        return self._steps(self._start if self._last is None else self._last.start)

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next iteration; one that runs stays in its own.

        Of an epoch that a state was loaded of, the rest.

        Raises:
            OptionError: The loader does not shuffle: all epochs are the same.
        """
        stream = self._start.stream
        shuffle = stream.epoch.shuffle
        if shuffle is None:
            raise OptionError("Without shuffle=True all epochs are the same.")
        if not self._start.history or epoch != shuffle.epoch:
            self._begin_at(Start(stream.in_epoch(shuffle.following(epoch))))

    def state_dict(self) -> dict[str, Any]:
        """Where training stands: batches that the loop was given count as read.

        What workers have prefetched does not. It is JSON, and fits any number of workers, and
        of ranks that have made equally many steps. After a loop, also one that was left early,
        it is the start of the next epoch: to continue within an epoch, take the state within
        the loop. Of several loops at once, it is that of the one that was given a batch last.

        Raises:
            StateError: The loop that was given a batch last is over, and another one is not.
        """
        loop = self._last
        if loop is None:
            if self._open:
                raise StateError(
                    "The loop over this loader that ran last is over, and another one is not: a "
                    "state of both cannot be. Continue that one first, or delete its iterator; "
                    "or loop over a loader of its own, made by another to_torch()."
                )
            return state_of(self._start.stream, self._start.history, 0)
        state = state_of(loop.start.stream, loop.start.history, loop.taken)
        shuffle, following = loop.start.stream.epoch.shuffle, self._start.stream.epoch.shuffle
        if shuffle and following and following.epoch != shuffle.epoch + 1:
            state["next_epoch"] = following.epoch
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume where another loader of the same samples stood, with the next iteration.

        A loop that is running ends: its next step is an error.

        Raises:
            StateError: It is no state, or one of another dataset, order or version. The loader
                is as it was.
        """
        stream = self._start.stream.in_epoch(None)
        history = history_of(state, stream)
        start = Start(stream, history, next_epoch_of(state))
        for loop in self._open:
            loop.is_cut_off = True
        self._open, self._last = [], None
        self._begin_at(start)

    def _begin_at(self, start: Start) -> None:
        self._start = start
        if self._shared is not None:
            self._shared.set(start.stream.epoch.shuffle, start.history)

    def _give(self, loop: Loop, taken: int) -> None:
        """Count a batch as read. A loop that was given nothing has not begun."""
        loop.taken = taken
        if self._last is not loop:
            self._last = loop
            if loop not in self._open:
                self._open.append(loop)
                self._begin_at(loop.start.after())

    def _resumed(self, loop: Loop) -> Loop:
        """The rest of a loop that the process that this one was forked from began."""
        start = loop.start
        history = continued(start.history, start.stream.share.world_size, loop.taken)
        made = Loop(replace(start, history=history))
        self._open = [made if one is loop else one for one in self._open]
        self._last = made if self._last is loop else self._last
        return made

    def _steps(self, start: Start) -> int:
        samples, size = start.stream.samples_left(start.history), self._columns.size
        return samples // size if self._columns.drop_last else -(-samples // size)

    def _items(self, start: Start) -> Iterator[tuple[dict[str, Any], int]]:
        if not self._num_workers:
            yield from start.stream.begin(start.history)
            return
        total, size = start.stream.samples_left(start.history), self._columns.size
        steps = -(-total // size) if self._filtered else self._steps(start)
        workers = self._workers(start)
        items = workers.read(start.stream.epoch.shuffle, start.history, steps)
        try:
            if self._filtered:
                yield from in_epoch(self._columns, start.stream.epoch.shuffle)(items)
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

    def _workers(self, start: Start) -> Workers:
        """Those of the iteration before, where there are any that no other loop uses."""
        idle, self._idle = self._idle, None
        if idle is not None and idle.are_mine():
            return idle
        method = (
            self._options["multiprocessing_context"]
            or multiprocessing.get_start_method(allow_none=True)
            or multiprocessing.get_all_start_methods()[0]
        )
        if method != "fork":
            # Checked here, before PyTorch warns with pickle's words.
            start.stream.epoch.check_sendable()
        return Workers(Batches(start.stream, self._columns, self._filtered), self._options)


_inherited: list[Iterator[Any]] = []
"""What loops of a process that this one was forked from read: closing it could wait for its threads
or end its workers."""
