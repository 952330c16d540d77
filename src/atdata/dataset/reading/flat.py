"""One to many: each sample becomes those that a function makes of it, none, one or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from atdata._arrays import Indices, Integers
from atdata.dataset.reading.derived import Derived, Part, fingerprint_of, runs_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.results import checked_results, name_of_function
from atdata.dataset.reading.rows import Rows, Run, SampleRows
from atdata.dataset.reading.steps import warn_of_failed, with_place
from atdata.errors import DecodeError, LengthError, SampleTypeError
from atdata.samples.codec import is_sample_type
from atdata.samples.pickling import check_function
from atdata.system.forks import once


class Flat(Derived):
    """What a function makes of each sample, one after the other.

    Args:
        part: The dataset.
        function: Gives a list of samples.
        declared: The type of these; None: unknown, and they are not checked.
        skip: Whether nothing is made of samples for which the function fails.
    """

    def __init__(
        self,
        part: Part,
        function: Callable[[Any], Iterable[Any]],
        declared: type | None,
        *,
        skip: bool,
    ) -> None:
        super().__init__([part])
        self._function, self._declared, self._skip = function, declared, skip

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "inner"}

    @once
    def inner(self) -> Epoch:
        """The dataset, in stored order."""
        return self.parts[0]._epoch(None)

    @once
    def counted(self) -> tuple[Integers, Integers]:
        """Position of each sample of the dataset, and the end of what is made of it."""
        positions, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with closing(runs_of(self.parts[0])) as runs:  # type: ignore[type-var]
            for rows, taken in runs:
                positions.append(taken - 1)
                counts.append(np.array([len(made) for made in self._made(rows)], np.int64))
        return np.concatenate(positions), np.cumsum(np.concatenate(counts))

    @property
    def samples(self) -> int:
        ends = self.counted[1]
        return int(ends[-1]) if len(ends) else 0

    def known_samples(self) -> int | None:
        return self.samples if "counted" in self.__dict__ else None

    @property
    def is_filtered(self) -> bool:
        return False

    @once
    def fingerprint(self) -> str:
        return fingerprint_of("flat", self.inner.fingerprint, fingerprint_of(*self.counted[1]))

    @once
    def sizes(self) -> tuple[int, int, int]:
        return scaled(super().sizes, self.samples, len(self.counted[0]))

    def check_sendable(self) -> None:
        super().check_sendable()
        check_function(self._function, "the function of flat_map()")

    def fetch(self, positions: Integers) -> tuple[Any, Integers, Integers, Integers]:
        found, ends = self.counted
        owner = np.searchsorted(ends, positions, side="right")
        owners, back = np.unique(owner, return_inverse=True)
        inside = positions - np.concatenate([[0], ends])[owner]
        return self.inner.fetch(found[owners]), owners, back.reshape(-1), inside

    def finish(
        self, fetched: tuple[Any, Integers, Integers, Integers], part: Indices
    ) -> tuple[Rows, Integers]:
        inner, owners, back, inside = fetched
        wanted, which = np.unique(back[part], return_inverse=True)
        rows, _ = self.inner.finish(inner, wanted)
        made, keys = self._made(rows), rows.keys
        ends = np.concatenate([[0], self.counted[1]])
        counts = np.diff(ends)[owners[wanted]].tolist()
        for number, (count, of) in enumerate(zip(counts, made, strict=True)):
            if len(of) != count:
                raise LengthError(
                    f"flat_map({name_of_function(self._function)}), sample {keys[number]!r}: it "
                    f"gave {count} samples when they were counted, and now {len(of)}. It must give "
                    "the same each time."
                )
        places = list(zip(which.reshape(-1).tolist(), inside[part].tolist(), strict=True))
        samples = [made[of][number] for of, number in places]
        return (
            SampleRows([f"{keys[of]}-{number}" for of, number in places], samples),
            np.arange(len(samples)),
        )

    def in_order(self, size: int | None, *, copy: bool) -> Iterator[Run] | None:
        return self._in_order(size, copy)

    def _in_order(self, size: int | None, copy: bool) -> Iterator[Run]:
        before = 0
        with closing(runs_of(self.parts[0], size, copy=copy)) as runs:  # type: ignore[type-var]
            for rows, _ in runs:
                keys: list[str] = []
                samples: list[Any] = []
                for key, made in zip(rows.keys, self._made(rows), strict=True):
                    keys += [f"{key}-{number}" for number in range(len(made))]
                    samples += made
                if samples:
                    count = len(samples)
                    yield SampleRows(keys, samples), np.arange(before + 1, before + count + 1)
                    before += count

    def _made(self, rows: Rows) -> list[list[Any]]:
        """What is made of each sample, checked."""
        out: list[list[Any]] = []
        failed: list[tuple[int, Exception]] = []
        call = f"flat_map({name_of_function(self._function)})"
        for row, (key, sample) in enumerate(zip(rows.keys, rows.samples(), strict=True)):
            try:
                out.append(self._of(key, sample))
            except Exception as error:
                if not self._skip and isinstance(error, DecodeError) and error.shard is None:
                    raise with_place(error, rows, row, call) from error
                if not self._skip:
                    raise
                failed.append((row, error))
                out.append([])
        if failed:
            warn_of_failed(call, rows, len(failed), *failed[0])
        return out

    def _of(self, key: str, sample: Any) -> list[Any]:
        made: Any = self._function(sample)
        is_list = isinstance(made, Iterable) and not isinstance(made, str | bytes | Mapping)
        if not is_list or is_sample_type(type(made)):
            raise SampleTypeError(
                f"flat_map({name_of_function(self._function)}), sample {key!r}: expected a list "
                f"of samples, found {type(made).__name__}. Return [sample] for one, and [] for "
                "none."
            )
        found = list(made)
        if self._declared is None:
            return found
        keys = [key] * len(found)
        return checked_results(self._function, found, self._declared, keys, verb="flat_map")

    def shown(self) -> str:
        return f"flat_map({name_of_function(self._function)}) of {self.parts[0]!r}"


def scaled(sizes: tuple[int, int, int], samples: int, of: int) -> tuple[int, int, int]:
    """Sizes for so many samples that are made of so many others."""
    block, window, piece = (max(1, size * samples // max(1, of)) for size in sizes)
    return block, window, piece
