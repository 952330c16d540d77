"""One epoch: the iterator that the user gets, and the stream that it reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

from atdata.dataset.reading.epoch import Epoch, Shuffle, read_epoch
from atdata.dataset.reading.permutation import VERSION
from atdata.dataset.reading.ranks import Share, check_history, left_for, length
from atdata.dataset.reading.rows import ItemsOf, OfEpoch, Run
from atdata.dataset.reading.state import (
    History,
    Stream,
    continued,
    history_of,
    is_of_buffer,
    same_or_raise,
    state_of,
)
from atdata.errors import StateError
from atdata.system.forks import ForkLock, at_fork, once

X = TypeVar("X")
X_co = TypeVar("X_co", covariant=True)

SequentialRead: TypeAlias = Callable[[], "Iterator[Run] | None"]
"""Reads everything from its start, in stored order; None: reading by position is faster."""


def in_epoch(items_of: ItemsOf[X], shuffle: Shuffle | None) -> ItemsOf[X]:
    """What makes items in an epoch; see `OfEpoch`."""
    if not isinstance(items_of, OfEpoch):
        return items_of
    if shuffle is None:
        return items_of.in_epoch(0, 0)
    return items_of.in_epoch(shuffle.seed or 0, shuffle.epoch)


class Reading(Generic[X_co]):
    """Samples or batches of one epoch, one after the other; an iterator that has a state.

    Not made by itself: `Dataset.ordered` and its like return it. Threads may take turns; one that
    asks while another does gets a StateError.
    """

    def __init__(self, stream: Stream[X_co]) -> None:
        self._stream = stream
        self._history: History = []
        self._samples_taken = 0
        self._items: Iterator[tuple[X_co, int]] | None = None
        self._process = _process

    def __iter__(self) -> Iterator[X_co]:
        # For a loop, a generator takes half the time that calling `__next__` does.
        while True:
            items = self._begun()
            try:
                for item, self._samples_taken in items:
                    yield item
                    if self._process != _process:
                        break
                else:
                    if items is self._items:
                        return
            except GeneratorExit:
                raise
            except BaseException as error:
                self._failed(items, error)
                raise

    def __next__(self) -> X_co:
        items = self._begun()
        try:
            item, self._samples_taken = next(items)
        except StopIteration:
            raise
        except BaseException as error:
            self._failed(items, error)
            raise
        return item

    def _failed(self, items: Iterator[Any], error: BaseException) -> None:
        trace = error.__traceback__
        # Raised by asking a running generator, not by reading: the generator is intact.
        if str(error) == _BUSY and trace is not None and trace.tb_next is None:
            raise StateError(
                "Two threads ask for the next samples of one reading at once. Give each thread a "
                "part of its own, dataset.split(thread, threads).ordered(), or let one read for "
                "all. Nothing was read twice or lost."
            ) from error
        # A generator that has failed is at its end: the rest would be missing in silence.
        if items is self._items:
            self._begin_again()

    def _begin_again(self) -> None:
        """Begin again after the last item that was returned."""
        self._history = continued(self._history, self._stream.share.world_size, self._samples_taken)
        self._samples_taken, self._items = 0, None

    def _begun(self) -> Iterator[tuple[X_co, int]]:
        if self._process != _process:
            self._after_fork()
        items = self._items
        if items is None:
            # Of several threads that begin at once, one does.
            with self.__dict__.setdefault("_beginning", ForkLock()):
                items = self._items
                if items is None:
                    items = self._items = self._stream.begin(self._history)
        return items

    def _after_fork(self) -> None:
        # What threads of the parent were reading is lost in the child: it is read again.
        _inherited.append(self._items)
        self._process = _process
        if self._items not in (None, _NOTHING):
            self._begin_again()

    def close(self) -> None:
        """End reading, and close files and connections."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
        self._items = _NOTHING

    def state_dict(self) -> dict[str, Any]:
        """Where reading is: what has been returned so far counts as read.

        It is JSON, and the same whatever the number of workers. It holds for every rank if
        all of them have returned equally many samples; `merge_states` puts unequal ones together.
        """
        return state_of(self._stream, self._history, self._samples_taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume where another reading of the same samples was, also on other ranks.

        Raises:
            StateError: It is no state, or one of another dataset, order or version.
        """
        history = history_of(state, self._stream)
        self.close()
        self._history, self._samples_taken, self._items = history, 0, None


_process = os.getpid()
"""Number of this process. Asking the system once a sample would take as long as reading it."""


def _forked() -> None:
    global _process
    _process = os.getpid()


at_fork(after_in_child=_forked)

_BUSY: Final = "generator already executing"
"""What Python says in a ValueError where a second thread asks."""
_NOTHING: Final[Iterator[Any]] = iter(())
_inherited: list[object] = []
"""Iterators of a process that this one was forked from: closing them could wait for its threads."""


class EpochStream(Generic[X]):
    """Reads an epoch by position: its order decides which sample comes next.

    Args:
        epoch_of: Makes the epoch of a shuffle; of None, the one in stored order.
        shuffle: How it is shuffled.
        share: Which rank's samples.
        items_of: Makes samples or batches of the rows.
        size: Samples in a batch; None: one by one.
        sequential: Reads a whole epoch that is not shuffled, from its start.
    """

    def __init__(
        self,
        epoch_of: Callable[[Shuffle | None], Epoch],
        shuffle: Shuffle | None,
        share: Share,
        items_of: ItemsOf[X],
        size: int | None,
        *,
        sequential: SequentialRead | None = None,
    ) -> None:
        self._epoch_of = epoch_of
        self._shuffle = shuffle
        self.share = share
        self.items_of = items_of
        self._size = size
        self._sequential = sequential

    def __getstate__(self) -> dict[str, Any]:
        # A worker makes the epoch again from its seed, which is much less to send.
        state = dict(self.__dict__)
        epoch: Epoch | None = state.pop("epoch", None)
        if epoch is not None:
            state["_shuffle"] = epoch.shuffle
        return state

    @once
    def epoch(self) -> Epoch:
        """The epoch; if no seed was given, one is chosen here."""
        return self._epoch_of(self._shuffle)

    def samples_left(self, history: History) -> int:
        """Stored samples that are still to be read."""
        return length(left_for(len(self.epoch), history, self.share))

    def runs(
        self, history: History, *, worker: int = 0, workers: int = 1, single: bool = False
    ) -> Iterator[Run]:
        """The runs that one of several workers reads; ``single`` as in `read_epoch`."""
        ranges = left_for(len(self.epoch), history, self.share)
        return read_epoch(
            self.epoch, ranges, size=self._size, worker=worker, workers=workers, single=single
        )

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """Samples or batches from where the history ends."""
        from_start = self._sequential and not history and self.share.world_size == 1
        found = self._sequential() if self._sequential and from_start else None
        items_of = self.items_of
        if isinstance(items_of, OfEpoch):
            items_of = in_epoch(items_of, self.epoch.shuffle)
        return items_of(self.runs(history) if found is None else found)

    @property
    def version(self) -> int:
        """Version of the order."""
        return VERSION if self._shuffle is None else self._shuffle.version

    def describe(self) -> dict[str, Any]:
        """What a state has to agree with, as JSON."""
        shuffle = self.epoch.shuffle
        return {
            "samples": len(self.epoch),
            "data": self.epoch.fingerprint,
            "shuffle": None if shuffle is None else shuffle.to_json(),
        }

    def adopt(self, state: Mapping[str, Any], history: History) -> None:
        """Continue as a state says. A StateError changes nothing."""
        said = state.get("shuffle")
        if is_of_buffer(state):
            raise StateError(
                "The state is of a whole dataset that was shuffled in a buffer, since it has no "
                "sample tables. Load it into dataset.shuffled(), not split among ranks, until that "
                "epoch ends. batches(), to_torch() and ranks have an order of their own: begin an "
                "epoch with them."
            )
        found = self
        if self._shuffle is not None:
            found = self.in_epoch(self._shuffle.loaded(said, state["atdata_state"]))
        elif said is not None:
            raise StateError("The state is of shuffled samples; these come as they are stored.")
        # Epochs of a mixture differ in length.
        same_or_raise({"samples": len(found.epoch), "data": found.epoch.fingerprint}, state)
        check_history(len(found.epoch), history)
        self.__dict__.update(found.__dict__)

    def set_shuffle(self, shuffle: Shuffle | None) -> None:
        """Read another epoch from now on."""
        if shuffle is not None and shuffle != self._shuffle:
            self._shuffle = shuffle
            self.__dict__.pop("epoch", None)

    def in_epoch(self, shuffle: Shuffle | None) -> EpochStream[X]:
        """Another stream of the same samples."""
        made: EpochStream[X] = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.set_shuffle(shuffle)
        return made
