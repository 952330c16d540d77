"""Mixtures: one epoch of several datasets, each drawn with its weight."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Final, TypeVar, overload

import numpy as np

from atdata._arrays import Indices, Integers, distinct
from atdata.dataset.dataset import Dataset
from atdata.dataset.decode.options import Decodes
from atdata.dataset.reading.epoch import Epoch, Shuffle
from atdata.dataset.reading.joined import Drawn, check_same_type
from atdata.dataset.reading.permutation import scrambled
from atdata.dataset.reading.ranks import Even, Share, find_share
from atdata.dataset.reading.rows import Rows, check_batch_size, items_of, samples_of
from atdata.dataset.reading.stream import EpochStream, Reading
from atdata.dataset.trainable import Trainable
from atdata.dataset.verbs import Stop
from atdata.errors import NoDataUrlsError, OptionError
from atdata.lenses.lens import Lens
from atdata.samples.batch import SampleBatch
from atdata.samples.codec import fields_of
from atdata.samples.kinds import Field
from atdata.system.forks import once

T = TypeVar("T")
U = TypeVar("U")

_MAX_PASSES: Final = 1 << 20
"""Epochs of a dataset that one epoch of a mixture may have room for."""
_MAX_SAMPLES: Final = 1 << 31
"""Most samples of one epoch of a mixture."""


def mix(
    datasets: Sequence[Dataset[T]] | Mapping[str, Dataset[T]],
    *,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    seed: int = 0,
    stop: Stop = "first",
) -> Mixture[T]:
    """Several datasets of one type as one, in which each is drawn with its weight.

    Args:
        datasets: What is mixed; of a dict, each has a name.
        weights: How often each is drawn, as shares of their sum; None: by number of stored
            samples. A dict has a weight for each name.
        seed: Decides over the draws.
        stop: An epoch ends when the ``first`` dataset has no samples left, each sample then
            came at most once; or when ``all`` have come once, those that end before begin again.

    Raises:
        OptionError: No datasets, a weight below 0, weights that are all 0 or too few.
        SampleTypeError: Datasets of several types.
    """
    return Mixture(datasets, weights=weights, seed=seed, stop=stop)


class Mixture(Trainable[T]):
    """Datasets of one type, mixed; `mix` makes it, and says what the arguments are."""

    def __init__(
        self,
        datasets: Sequence[Dataset[T]] | Mapping[str, Dataset[T]],
        *,
        weights: Sequence[float] | Mapping[str, float] | None,
        seed: int,
        stop: Stop,
    ) -> None:
        named = dict(datasets) if isinstance(datasets, Mapping) else None
        if isinstance(weights, Mapping):
            if named is None or set(weights) != set(named):
                raise OptionError(
                    f"weights={dict(weights)!r:.200}: expected a weight for each of "
                    f"{', '.join(map(str, named or ()))}, and a dict of datasets with these names."
                )
            weights = [weights[name] for name in named]
        datasets = datasets if named is None else list(named.values())
        if not isinstance(datasets, Sequence) or not all(isinstance(d, Dataset) for d in datasets):
            raise OptionError(f"mix({datasets!r:.80}): expected a list of datasets.")
        if not datasets:
            raise OptionError("A mixture needs at least one dataset.")
        check_same_type(datasets, "mixed")
        if any(dataset._share != Share() for dataset in datasets):
            raise OptionError("Mix whole datasets, and split the mixture: mix(…).split().")
        if stop not in ("first", "all"):
            raise OptionError(f"stop={stop!r}: expected 'first' or 'all'.")
        if weights is not None:
            good = all(_is_weight(weight) for weight in weights) and any(weights)
            if not good or len(weights) != len(datasets):
                raise OptionError(
                    f"weights={list(weights)}: expected {len(datasets)} numbers from 0 on, not "
                    "all of them 0."
                )
        Shuffle(seed)
        self._names = tuple(map(str, named or range(len(datasets))))
        self._datasets = tuple(datasets)
        self._weights = None if weights is None else tuple(float(w) for w in weights)
        self._seed, self._stop = seed, stop
        self._sample_type = datasets[0].sample_type
        self._share = Share()

    def split(
        self, rank: int | None = None, world_size: int | None = None, *, even: Even | None = None
    ) -> Mixture[T]:
        """The part of this process; see `Dataset.split`."""
        made: Mixture[T] = object.__new__(Mixture)
        made.__dict__.update(
            self.__dict__, _share=find_share(rank, world_size, even, of=self._share)
        )
        return made

    @property
    def datasets(self) -> dict[str, Dataset[T]]:
        """What is mixed, by name; without names, by number: "0", "1", …"""
        return dict(zip(self._names, self._datasets, strict=True))

    def draws(self, epoch: int = 0) -> dict[str, int]:
        """How many samples of each dataset come in an epoch, on all ranks together.

        Those that filters leave out are counted.

        Args:
            epoch: The epoch.
        """
        found = self._epoch(Shuffle(self._seed, epoch)).draws()
        return dict(zip(self._names, found, strict=True))

    def filter(self, predicate: Callable[[T], bool]) -> Mixture[T]:
        """Only the samples for which ``predicate`` is true. Draws are as before."""
        return self._over([dataset.filter(predicate) for dataset in self._datasets])

    def map(self, function: Callable[[T], U], sample_type: type[U] | None = None) -> Mixture[U]:
        """What ``function`` makes of each sample; see `Dataset.map`."""
        return self._over([dataset.map(function, sample_type) for dataset in self._datasets])

    def as_type(self, sample_type: type[U], lens: Lens[T, U] | None = None) -> Mixture[U]:
        """The same samples seen as another type; see `Dataset.as_type`."""
        return self._over([dataset.as_type(sample_type, lens) for dataset in self._datasets])

    def _over(self, datasets: Sequence[Dataset[U]]) -> Mixture[U]:
        made: Mixture[U] = object.__new__(Mixture)
        made.__dict__.update(
            self.__dict__, _datasets=tuple(datasets), _sample_type=datasets[0].sample_type
        )
        return made

    @property
    def _type_is_known(self) -> bool:
        return all(dataset._type_is_known for dataset in self._datasets)

    @property
    def _skips(self) -> bool:
        return any(dataset._skips for dataset in self._datasets)

    @overload
    def shuffled(
        self,
        batch_size: None = None,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
    ) -> Reading[T]: ...
    @overload
    def shuffled(
        self,
        batch_size: int,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
        decode: Decodes = ...,
    ) -> Reading[SampleBatch[T]]: ...
    def shuffled(
        self,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        epoch: int = 0,
        window: int | None = None,
        decode: Decodes = None,
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """One epoch, each dataset in random order.

        Args:
            batch_size: Samples a batch; None: one by one.
            seed: Order of the samples of each dataset; None: the seed of the mixture, which
                decides in any case which dataset each sample is drawn from.
            epoch: Other draws and another order for each epoch.
            window: As for `Dataset.shuffled`.
            decode: As for `Dataset.ordered`.
        """
        if batch_size is not None:
            check_batch_size(batch_size)
        shuffle = self._shuffle(seed, epoch, window)
        known, skips = self._type_is_known, self._skips
        items = items_of(self._sample_type, batch_size, decode, type_is_known=known, skips=skips)
        return Reading(EpochStream(self._epoch, shuffle, self._share, items, batch_size))

    def _shuffle(
        self, seed: int | None, epoch: int, window: int | None, *, agreed: bool = False
    ) -> Shuffle:
        return Shuffle(self._seed if seed is None else seed, epoch, window=window)

    def _epoch(self, shuffle: Shuffle | None) -> MixedEpoch:
        return MixedEpoch(self._datasets, self._weights, self._seed, self._stop, shuffle)

    @property
    def _is_filtered(self) -> bool:
        return any(dataset._is_filtered for dataset in self._datasets)

    def __len__(self) -> int:
        """Samples of an epoch that is not shuffled, on this rank; others differ by chance.

        Raises:
            LengthError: A dataset is filtered.
        """
        for dataset in self._datasets:
            dataset._check_countable("length")
        stream: Any = EpochStream(self._epoch, None, self._share, samples_of, None)
        return int(stream.samples_left([]))

    def __repr__(self) -> str:
        parts = (f"{name}: {dataset!r}" for name, dataset in self.datasets.items())
        return f"<Mixture of {', '.join(parts)}>"


def _is_weight(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(number := float(value)) and number >= 0


class MixedEpoch:
    """One epoch of a mixture; see `Epoch`."""

    def __init__(
        self,
        datasets: Sequence[Dataset[Any]],
        weights: tuple[float, ...] | None,
        seed: int,
        stop: Stop,
        shuffle: Shuffle | None,
    ) -> None:
        self._datasets = datasets
        self._given = weights
        self._seed = seed
        self._stop = stop
        self._shuffle = shuffle
        self._epochs: dict[tuple[int, int], Epoch] = {}

    def check_sendable(self) -> None:
        """See `Epoch`."""
        for dataset in self._datasets:
            dataset._epoch(None).check_sendable()

    @once
    def shuffle(self) -> Shuffle | None:
        """See `Epoch`."""
        return None if self._shuffle is None else self._shuffle.with_seed()

    @once
    def fingerprint(self) -> str:
        """See `Epoch`."""
        parts = [self._one(n, 0).fingerprint for n in range(len(self._datasets))]
        text = f"{parts} {self._weights.tolist()} {self._seed} {self._stop}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @once
    def _fields(self) -> Mapping[str, Field]:
        return fields_of(self._datasets[0].sample_type)

    def __len__(self) -> int:
        return len(self._choices)

    def draws(self) -> list[int]:
        """How often each dataset is drawn from."""
        counts: list[int] = np.bincount(self._choices, minlength=len(self._datasets)).tolist()
        return counts

    @once
    def sizes(self) -> tuple[int, int, int]:
        """See `Epoch`."""
        found = [self._one(n, 0).sizes for n in range(len(self._datasets))]
        return min(s[0] for s in found), min(s[1] for s in found), min(s[2] for s in found)

    @once
    def at_once(self) -> int:
        """See `Epoch`."""
        return min(self._one(n, 0).at_once for n in range(len(self._datasets)))

    def piece_end(self, place: int) -> int:
        """See `Epoch`."""
        return min(len(self), (place // self._piece + 1) * self._piece)

    @once
    def _piece(self) -> int:
        """Samples that take about as much memory as a piece of one dataset does."""
        drawn = np.flatnonzero(self._weights).tolist()
        shares = (self._weights[n] / self._one(n, 0).piece_end(0) for n in drawn)
        return max(1, int(1 / sum(shares)))

    def fetch(self, places: Integers) -> Drawn:
        """See `Epoch`."""
        chosen = self._choices[places]
        part, inside = np.empty(len(places), np.int64), np.empty(len(places), np.int64)
        parts: list[tuple[Epoch, Any]] = []
        for dataset in distinct(chosen).tolist():
            mine = np.flatnonzero(chosen == dataset)
            nth = np.searchsorted(self._draws[dataset], places[mine])
            samples = self._counts[dataset]
            for number in distinct(nth // samples).tolist():
                of = nth // samples == number
                epoch = self._one(dataset, number)
                part[mine[of]], inside[mine[of]] = len(parts), np.arange(int(of.sum()))
                parts.append((epoch, epoch.fetch(nth[of] % samples)))
        return Drawn(parts, part, inside)

    def finish(self, fetched: Drawn, part: Indices) -> tuple[Rows, Integers]:
        """See `Epoch`."""
        return fetched.finish(part, self._fields)

    def _one(self, dataset: int, number: int) -> Epoch:
        """One pass through one dataset."""
        if (dataset, number) not in self._epochs:
            how = self.shuffle
            if how is not None:
                epoch = how.epoch * _MAX_PASSES + number
                how = Shuffle(how.seed, epoch, window=how.window, version=how.version)
            self._epochs[dataset, number] = self._datasets[dataset]._epoch(how)
        return self._epochs[dataset, number]

    @once
    def _counts(self) -> list[int]:
        counts = [len(self._one(n, 0)) for n in range(len(self._datasets))]
        if not all(counts):
            raise NoDataUrlsError("A dataset without samples cannot be mixed.")
        return counts

    @once
    def _weights(self) -> Any:
        weights = np.array(self._given or self._counts, np.float64)
        return weights / weights.sum()

    @once
    def _choices(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Which dataset each place of the epoch is drawn from."""
        bounds = np.cumsum(self._weights)
        drawn = np.flatnonzero(self._weights)
        needed = np.array(self._counts)[drawn] / self._weights[drawn]
        room = int((needed.min() if self._stop == "first" else needed.max()) * 1.1) + 1000
        epoch = self._shuffle.epoch if self._shuffle is not None else 0
        while room < _MAX_SAMPLES:
            random = scrambled(room, self._seed, epoch, _MAX_PASSES) >> np.uint64(11)
            places = np.searchsorted(bounds[:-1], random / 2.0**53, side="right")
            end = self._end(places.astype(np.int32), drawn.tolist())
            if end is not None:
                return places[:end].astype(np.int32)
            room *= 2
        raise OptionError(
            f"An epoch of this mixture would have over {_MAX_SAMPLES:,} samples: "
            "a weight is too small."
        )

    def _end(self, choices: Any, drawn: list[int]) -> int | None:
        """Where the epoch ends; None where it continues after these choices."""
        ends = []
        for dataset in drawn:
            at = np.flatnonzero(choices == dataset)
            samples = self._counts[dataset]
            if self._stop == "first" and len(at) > samples:
                ends.append(int(at[samples]))
            elif self._stop == "all":
                if len(at) < samples:
                    return None
                ends.append(int(at[samples - 1]) + 1)
        if not ends:
            return None
        return min(ends) if self._stop == "first" else max(ends)

    @once
    def _draws(self) -> list[Integers]:
        """At which places each dataset is drawn."""
        return [np.flatnonzero(self._choices == n) for n in range(len(self._datasets))]
