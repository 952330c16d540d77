"""Some samples of a dataset, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from atdata._arrays import Indices, Integers
from atdata.dataset.reading.choices import Choice, Positions, Span
from atdata.dataset.reading.derived import Derived, Part, fingerprint_of, runs_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.rows import Rows, Run
from atdata.errors import LengthError
from atdata.system.forks import once


class Chosen(Derived):
    """The chosen samples of a dataset.

    Args:
        part: The dataset.
        choice: Which samples.
    """

    def __init__(self, part: Part, choice: Choice) -> None:
        super().__init__([part])
        self._choice = choice

    def __getstate__(self) -> dict[str, Any]:
        # Positions are sent where finding them takes reading.
        return {name: value for name, value in self.__dict__.items() if name != "inner"}

    @once
    def positions(self) -> Positions:
        """The position in the dataset of each chosen sample."""
        return self._choice.of(self.parts[0])

    @once
    def inner(self) -> Epoch:
        """The dataset, in stored order."""
        return self.parts[0]._epoch(None)

    @property
    def samples(self) -> int:
        return len(self.positions)

    def known_samples(self) -> int | None:
        # What is not read from its start needs positions in any case, also where finding them takes
        # reading; but shards on servers are never read for a length.
        part = self.parts[0]
        unread = part._known_samples() is None or (part._is_filtered and self._first is not None)
        if unread and "positions" not in self.__dict__:
            return None
        return self.samples

    @property
    def is_filtered(self) -> bool:
        return False

    @once
    def fingerprint(self) -> str:
        found = self.positions
        shown = found if isinstance(found, range) else fingerprint_of(found.tolist())
        return fingerprint_of(self.inner.fingerprint, shown)

    @once
    def neighbours(self) -> Integers | None:
        found = self.positions
        if isinstance(found, range) or bool((found[1:] >= found[:-1]).all()):
            return None
        return np.argsort(found, kind="stable")

    def check_sendable(self) -> None:
        super().check_sendable()
        self._choice.check_sendable()

    def fetch(self, positions: Integers) -> tuple[Any, Integers]:
        found = self.positions
        if isinstance(found, range):
            positions = found.start + positions * found.step
        else:
            positions = found[positions]
        wanted, back = np.unique(positions, return_inverse=True)
        return self.inner.fetch(wanted), back.reshape(-1)

    def finish(self, fetched: tuple[Any, Integers], part: Indices) -> tuple[Rows, Integers]:
        inner, back = fetched
        rows, kept = self.inner.finish(inner, back[part])
        if len(kept) < len(back[part]):
            raise LengthError(
                "A filter left out samples that it kept when they were chosen. What a filter says "
                "of a sample must not change: not at random, and not from call to call."
            )
        return rows, kept

    def in_order(self, size: int | None, *, copy: bool) -> Iterator[Run] | None:
        first = None if "positions" in self.__dict__ else self._first
        return None if first is None else self._read_first(first, size, copy)

    @property
    def _first(self) -> int | None:
        """How many samples from the first on are chosen, and no others; None: not so."""
        choice = self._choice
        if (
            not isinstance(choice, Span)
            or choice.chosen.start
            or choice.chosen.step not in (1, None)
        ):
            return None
        return choice.until

    def _read_first(self, most: int, size: int | None, copy: bool) -> Iterator[Run]:
        before = 0
        if not most:
            return
        with closing(runs_of(self.parts[0], size, copy=copy)) as runs:  # type: ignore[type-var]
            for rows, _ in runs:
                count = min(len(rows), most - before)
                if count:
                    left = rows if count == len(rows) else rows.take(slice(0, count))
                    yield left, np.arange(before + 1, before + count + 1)
                before += count
                if before >= most:
                    return

    def shown(self) -> str:
        return f"{self._choice} of {self.parts[0]!r}"
