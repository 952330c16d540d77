"""Which samples of a dataset are chosen, and in which order."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import Integers
from atdata._secrets import redacted_repr
from atdata.dataset.reading.derived import Part, runs_of
from atdata.dataset.reading.joined import Joined
from atdata.dataset.reading.permutation import mixed
from atdata.dataset.reading.subscripts import positions_of
from atdata.dataset.reading.values import Values
from atdata.errors import OptionError
from atdata.system.forks import once

Positions: TypeAlias = "Integers | range"
_SAMPLED: Final = 1 << 40
"""Purposes of random numbers, which no shuffled epoch and no mixture has."""
_DIVIDED: Final = _SAMPLED + 1


class Choice(ABC):
    """Which samples are chosen."""

    @abstractmethod
    def of(self, part: Part) -> Positions:
        """The positions of the chosen samples, in their order."""

    def check_sendable(self) -> None:  # noqa: B027 - most have no functions
        """See `Steps.check_sendable`."""

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Span(Choice):
    """Those that a slice chooses."""

    chosen: slice

    @property
    def until(self) -> int | None:
        """How many samples from the first on decide; None: all."""
        ends = self.chosen.start or 0, self.chosen.stop, self.chosen.step or 1
        if ends[1] is None or min(ends) < 0:
            return None
        return int(ends[1])

    def of(self, part: Part) -> Positions:
        return kept(part, self.until)[self.chosen]

    def __str__(self) -> str:
        start, stop, step = self.chosen.start, self.chosen.stop, self.chosen.step
        shown = [*("" if end is None else str(end) for end in (start, stop))]
        return f"samples {':'.join(shown + ([] if step in (None, 1) else [str(step)]))}"


@redacted_repr
@dataclass(frozen=True)
class Listed(Choice):
    """Those at some positions."""

    positions: Any

    def of(self, part: Part) -> Positions:
        whole = kept(part)
        return _at(whole, positions_of(self.positions, len(whole)))

    def __str__(self) -> str:
        return f"{len(self.positions):,} positions"


@dataclass(frozen=True)
class Sampled(Choice):
    """Some at random, in stored order."""

    number: int | float
    seed: int

    def of(self, part: Part) -> Positions:
        whole = kept(part)
        count = _share_of(self.number, len(whole), "sample")
        return _at(whole, np.sort(mixed(len(whole), self.seed, 0, _SAMPLED)[:count]))

    def __str__(self) -> str:
        return f"a sample of {self.number}"


@redacted_repr
@dataclass(frozen=True)
class Sorted(Choice):
    """All, by a value; those with equal values stay in their order."""

    values: Values
    descending: bool

    def of(self, part: Part) -> Positions:
        positions, values = self.values.found
        try:
            # Python's sort is stable in both directions.
            order = sorted(range(len(values)), key=values.__getitem__, reverse=self.descending)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"sort({self.values}): the values cannot be compared: {error}. Sort by a function "
                "that gives numbers or text."
            ) from None
        return positions[np.array(order, np.int64)]

    def check_sendable(self) -> None:
        self.values.check_sendable()

    def __str__(self) -> str:
        return f"sorted by {self.values}"


@redacted_repr
@dataclass(frozen=True)
class Distinct(Choice):
    """The first sample of each value."""

    values: Values

    def of(self, part: Part) -> Positions:
        first: dict[Any, int] = {}
        for number, value in enumerate(self.values.hashable()):
            first.setdefault(value, number)
        return self.values.found[0][np.array([*first.values()], np.int64)]

    def check_sendable(self) -> None:
        self.values.check_sendable()

    def __str__(self) -> str:
        return f"distinct by {self.values}"


@redacted_repr
class Division:
    """A dataset in two: which samples are on the side of the test.

    Args:
        part: The dataset.
        test: Share of its samples, below 1, or their number.
        seed: Decides which.
        strata: Each of its values has the same share of the test.
        groups: Samples with the same value are on the same side.
    """

    def __init__(
        self, part: Part, test: float, seed: int, strata: Values | None, groups: Values | None
    ) -> None:
        self._part, self._test, self._seed = part, test, seed
        self._strata, self._groups = strata, groups

    def check_sendable(self) -> None:
        """See `Steps.check_sendable`."""
        for values in (self._strata, self._groups):
            if values is not None:
                values.check_sendable()

    @once
    def sides(self) -> tuple[Positions, Integers]:
        """The position of each sample, and the numbers of those of the test, ascending."""
        if self._groups is not None:
            positions = self._groups.found[0]
            return positions, np.flatnonzero(self._by_hash(self._groups.hashable()))
        if self._strata is not None:
            return self._strata.found[0], self._by_strata(self._strata.hashable())
        whole = kept(self._part)
        count = _share_of(self._test, len(whole), "train_test_split")
        return whole, np.sort(mixed(len(whole), self._seed, 0, _DIVIDED)[:count])

    def _by_hash(self, values: list[Any]) -> Any:
        test = self._test / max(1, len(values)) if isinstance(self._test, int) else self._test
        sides: dict[Any, bool] = {}
        for value in values:
            if value not in sides:
                digest = hashlib.sha256(f"{self._seed}\n{value!r}".encode()).digest()
                sides[value] = int.from_bytes(digest[:8]) < test * 2.0**64
        return np.array([sides[value] for value in values], bool)

    def _by_strata(self, values: list[Any]) -> Integers:
        members: dict[Any, list[int]] = {}
        for number, value in enumerate(values):
            members.setdefault(value, []).append(number)
        total = _share_of(self._test, len(values), "train_test_split")
        exact = {value: total * len(of) / len(values) for value, of in members.items()}
        counts = {value: int(share) for value, share in exact.items()}
        # What rounding leaves over goes to those that it took most of, of equal ones the first.
        over = sorted(exact, key=lambda value: counts[value] - exact[value])
        for value in over[: total - sum(counts.values())]:
            counts[value] += 1
        chosen = [np.zeros(0, np.int64)]
        for number, (value, of) in enumerate(members.items()):
            order = mixed(len(of), self._seed, number, _DIVIDED)[: counts[value]]
            chosen.append(np.array(of, np.int64)[order])
        return np.sort(np.concatenate(chosen))


@redacted_repr
@dataclass(frozen=True)
class Side(Choice):
    """One side of a division."""

    division: Division
    is_test: bool

    def of(self, part: Part) -> Positions:
        positions, test = self.division.sides
        if self.is_test:
            return _at(positions, test)
        rest = np.ones(len(positions), bool)
        rest[test] = False
        return _at(positions, np.flatnonzero(rest))

    def check_sendable(self) -> None:
        self.division.check_sendable()

    def __str__(self) -> str:
        return "the test part" if self.is_test else "the part without the test"


@dataclass(frozen=True)
class Interleaved(Choice):
    """One sample of each of several datasets in turn; they are the parts of a joined dataset.

    Args:
        ends_first: Whether it ends with the first dataset that ends; else with the last one.
    """

    ends_first: bool

    def of(self, part: Part) -> Positions:
        whole = np.asarray(kept(part), np.int64)
        joined = part._origin
        assert isinstance(joined, Joined)
        of = np.searchsorted(joined.ends, whole, side="right")
        counts = np.bincount(of, minlength=len(joined.ends))
        turns = np.arange(len(whole)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.lexsort((of, turns))
        if self.ends_first:
            # The first dataset that has no sample when it is its turn.
            shortest = int(np.argmin(counts))
            missing = int(counts[shortest]) * len(counts) + shortest
            order = order[:missing]
        return whole[order]

    def __str__(self) -> str:
        return "samples in turn"


def kept(part: Part, most: int | None = None) -> Positions:
    """The positions of the samples of a dataset; of a filtered one, found by reading it.

    Args:
        part: The dataset.
        most: How many are enough; None: all.
    """
    if not part._is_filtered:
        return range(len(part._epoch(None)))
    found: list[Integers] = [np.zeros(0, np.int64)]
    count = 0
    with closing(runs_of(part)) as runs:  # type: ignore[type-var]
        for _, taken in runs:
            found.append(taken - 1)
            count += len(taken)
            if most is not None and count >= most:
                break
    return np.concatenate(found)


def _at(whole: Positions, numbers: Integers) -> Integers:
    return whole.start + numbers * whole.step if isinstance(whole, range) else whole[numbers]


def _share_of(number: float, samples: int, verb: str) -> int:
    """A number of samples; of a share of them, the nearest."""
    count = number if isinstance(number, int) else round(number * samples)
    if count > samples:
        raise OptionError(f"{verb}({number}): the dataset has {samples:,} samples.")
    return count


def check_share(number: object, verb: str) -> float:
    """Validate a share of samples, from 0 to 1 as a float, or their number as an int.

    Raises:
        OptionError: It is neither.
    """
    if isinstance(number, np.integer | np.floating):
        number = number.item()
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    if isinstance(number, float) and isfinite(number) and 0 <= number <= 1:
        return number
    raise OptionError(
        f"{verb}({number!r:.80}): expected a number of samples, such as 100, or a share of them, "
        "such as 0.1."
    )


def check_count(number: object, verb: str) -> int:
    """Validate a number of samples.

    Raises:
        OptionError: It is not an int from 0 on.
    """
    if isinstance(number, np.integer):
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise OptionError(f"{verb}({number!r:.80}): expected a whole number from 0 on.")
    return number
