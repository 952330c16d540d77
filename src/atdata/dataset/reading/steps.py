"""Steps applied to samples as they are read: filter, map, lens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from atdata._arrays import Indices, Integers
from atdata._secrets import redacted_repr
from atdata._warnings import warn
from atdata.dataset.reading.results import checked_results, name_of_function
from atdata.dataset.reading.rows import MadeRows, Rows, Run, SampleRows, place_in
from atdata.dataset.reading.selecting import Select
from atdata.errors import DecodeError, OptionError, SkippedSamplesWarning
from atdata.lenses.lens import Lens
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.pickling import check_function, check_type
from atdata.shards.columns.column import LazyColumn


@redacted_repr
@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the samples for which a function is true."""

    predicate: Callable[[Any], bool]

    def apply(self, rows: Rows, skip: Skip | None) -> tuple[Rows, Integers]:
        samples = rows.samples()
        call = f"filter({name_of_function(self.predicate)})"
        true, called = made_of_each(self.predicate, samples, rows, call, skip)
        kept = [row for row, is_true in zip(called, true, strict=True) if is_true]
        if len(kept) < len(samples):
            keys = rows.keys
            origin = rows, kept
            rows = SampleRows([keys[i] for i in kept], [samples[i] for i in kept], origin)
        return rows, np.array(kept, np.int64)


def made_of_each(
    function: Callable[[Any], Any], samples: list[Any], rows: Rows, call: str, skip: Skip | None
) -> tuple[list[Any], list[int]]:
    """What a function makes of each sample, and the rows of these.

    Args:
        function: The function.
        samples: The samples of ``rows``.
        rows: Where they are from.
        call: The function, and what it was given to; for errors.
        skip: Leaves out, and reports, samples for which the function raises a DecodeError.

    Raises:
        DecodeError: The function cannot decode a value of a sample; has the sample's place.
    """
    made: list[Any] = []
    kept: list[int] = []
    first: DecodeError | None = None
    for row, sample in enumerate(samples):
        try:
            made.append(function(sample))
        except DecodeError as error:
            if error.shard is not None:  # of a dataset that the function reads
                raise
            if skip is None:
                raise with_place(error, rows, row, call) from error
            first = first or with_place(error, rows, row, call)
        else:
            kept.append(row)
    if first is not None and skip is not None:
        skip.report(len(samples) - len(kept), len(samples), first)
    return made, kept


def with_place(error: DecodeError, rows: Rows, row: int, call: str) -> DecodeError:
    """An error that a function raised for a row, with the place of that."""
    shard, offset = place_in([rows], row) or (None, None)
    key = rows.keys[row]
    return DecodeError(f"{call}: {error.problem}", shard=shard, offset=offset, key=key)


def warn_of_skipped(skipped: int, read: int, first: DecodeError) -> None:
    """Warn that so many of the samples that were read together were skipped."""
    warn(
        SkippedSamplesWarning(
            f"{skipped:,} of {read:,} samples that were read together "
            f"{'was' if skipped == 1 else 'were'} skipped. The first: {first}"
        )
    )


@redacted_repr
@dataclass(frozen=True, slots=True)
class Skip:
    """Leave out the samples that cannot be decoded."""

    report: Callable[[int, int, DecodeError], object] = warn_of_skipped
    """Called with their number in a run, the number of all in it, and the error of the first."""

    def apply(self, rows: Rows, _: Skip | None) -> tuple[Rows, Integers]:
        try:
            samples = rows.samples()
            return SampleRows(rows.keys, samples, (rows, range(len(rows)))), np.arange(len(rows))
        except DecodeError as error:
            first = error
        kept: list[int] = []
        samples = []
        for row in range(len(rows)):
            with suppress(DecodeError):
                samples += rows.take(slice(row, row + 1)).samples()
                kept.append(row)
        self.report(len(rows) - len(kept), len(rows), first)
        keys = rows.keys
        left = SampleRows([keys[row] for row in kept], samples, (rows, kept))
        return left, np.array(kept, np.int64)


@redacted_repr
@dataclass(frozen=True, slots=True)
class Map:
    """Replace each sample by what a function makes of it."""

    function: Callable[[Any], Any]
    declared: type | None
    """The type that it returns; None: unknown, and results are not checked."""
    verb: str = "map"
    """What it was given to: of ``zip``, it takes the samples of several datasets."""

    def __str__(self) -> str:
        return f"{self.verb}({name_of_function(self.function)})"

    def apply(self, rows: Rows, skip: Skip | None) -> tuple[Rows, Integers]:
        made, kept = made_of_each(self.call, rows.samples(), rows, str(self), skip)
        keys = [rows.keys[row] for row in kept]
        made = self.checked(made, keys)
        return SampleRows(keys, made, (rows, kept)), np.array(kept, np.int64)

    def call(self, sample: Any) -> Any:
        """What the function makes of a sample."""
        return self.function(*sample) if self.verb == "zip" else self.function(sample)

    def checked(self, made: list[Any], keys: Sequence[str]) -> list[Any]:
        """What the function made of the samples with these keys, checked."""
        if self.declared is None:
            return made
        return checked_results(self.function, made, self.declared, keys, verb=self.verb)


@redacted_repr
@dataclass(frozen=True, slots=True)
class TryMap:
    """As `Map`, but samples for which the function fails are left out, and reported."""

    map: Map

    @property
    def declared(self) -> type | None:
        """See `Map`."""
        return self.map.declared

    def apply(self, rows: Rows, _: Skip | None) -> tuple[Rows, Integers]:
        made: list[Any] = []
        kept: list[int] = []
        first: tuple[int, Exception] | None = None
        keys = rows.keys
        for row, sample in enumerate(rows.samples()):
            try:
                made += self.map.checked([self.map.call(sample)], [keys[row]])
                kept.append(row)
            except Exception as error:
                first = first or (row, error)
        if first is not None:
            warn_of_failed(str(self.map), rows, len(rows) - len(kept), *first)
        return SampleRows([keys[row] for row in kept], made, (rows, kept)), np.array(kept, np.int64)


def warn_of_failed(call: str, rows: Rows, skipped: int, row: int, error: Exception) -> None:
    """Warn that a function failed for so many of some rows, which are left out.

    Args:
        call: The function, and what it was given to.
        rows: The rows that were read together.
        skipped: How many of them are left out.
        row: The first of these.
        error: What it failed with.
    """
    place = place_in([rows], row)
    where = "" if place is None else f" of {place[0]}, at byte {place[1]}"
    warn(
        SkippedSamplesWarning(
            f"{call}: {skipped:,} of {len(rows):,} samples that were read together "
            f"{'was' if skipped == 1 else 'were'} skipped. The first: sample "
            f"{rows.keys[row]!r}{where}: {type(error).__name__}: {error}"
        )
    )


@redacted_repr
@dataclass(frozen=True, slots=True)
class View:
    """See each sample through a lens."""

    lens: Lens[Any, Any]

    def apply(self, rows: Rows, skip: Skip | None) -> tuple[Rows, Integers]:
        if self.lens.renames is not None:
            return ViewedRows(rows, self.lens, dict(self.lens.renames)), np.arange(len(rows))
        call = f"the lens {self.lens.name}"
        made, kept = made_of_each(self.lens.get, rows.samples(), rows, call, skip)
        left = SampleRows([rows.keys[row] for row in kept], made, (rows, kept))
        return left, np.array(kept, np.int64)


Step: TypeAlias = Skip | Filter | Map | TryMap | View | Select


OnError: TypeAlias = Literal["raise", "skip"]
"""What is done about a sample that cannot be decoded."""


def steps_of(sample_type: type, on_error: OnError) -> Steps:
    """The steps of a dataset that was just opened.

    Raises:
        OptionError: Another word.
    """
    return Steps(sample_type, (Skip(),) if skips(on_error) else ())


def skips(on_error: OnError) -> bool:
    """Whether samples with errors are left out.

    Raises:
        OptionError: Another word.
    """
    if on_error not in get_args(OnError):
        raise OptionError(f'on_error={on_error!r:.80}: expected "raise" or "skip".')
    return on_error == "skip"


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps applied to stored samples, a run of rows at a time."""

    stored_type: type
    """The type of the samples that they are applied to: in the shards, or of other datasets."""
    each: tuple[Step, ...] = ()
    is_known: bool = True
    """Whether the samples that they are applied to are known to be of that type."""

    def then(self, step: Step) -> Steps:
        """The same steps, followed by another one."""
        again = isinstance(step, Select) and self.last_selected is not None
        before = self.each[:-1] if again else self.each
        return replace(self, each=(*before, step))

    @property
    def selected(self) -> Select | None:
        """The fields that are read of stored samples; None: all."""
        first = next((step for step in self.each if not isinstance(step, Skip)), None)
        return first if isinstance(first, Select) else None

    @property
    def last_selected(self) -> Select | None:
        """The fields that the last step keeps; None: it is another."""
        last = self.each[-1] if self.each else None
        return last if isinstance(last, Select) else None

    @property
    def codec(self) -> SampleCodec[Any]:
        """Codec of the stored samples, or of what is read of them."""
        return codec_of(self.stored_type) if self.selected is None else self.selected.codec

    @property
    def is_plain(self) -> bool:
        """Whether samples come out as they are stored."""
        return not self.each

    @property
    def skips(self) -> bool:
        """Whether samples that cannot be decoded are left out."""
        return any(isinstance(step, Skip) for step in self.each)

    @property
    def is_filtered(self) -> bool:
        """Whether some samples may be left out."""
        return any(isinstance(step, Skip | Filter | TryMap) for step in self.each)

    @property
    def type_is_known(self) -> bool:
        """Whether the type of the resulting samples is known before reading.

        It is not after a map() whose function and arguments declare none.
        """
        for step in reversed(self.each):
            if not isinstance(step, Skip | Filter):
                return isinstance(step, View | Select) or step.declared is not None
        return self.is_known

    def reporting(self, report: Callable[[int, int, DecodeError], object]) -> Steps:
        """The same steps, which report samples that they skip to a function; see `Skip`."""
        each = (
            replace(step, report=report) if isinstance(step, Skip) else step for step in self.each
        )
        return replace(self, each=tuple(each))

    def check_sendable(self) -> None:
        """Check that another process can import the types and functions of the steps.

        Raises:
            NotSendableError: A class or a function of a step; says what to do.
        """
        check_type(self.stored_type)
        for step in self.each:
            if isinstance(step, Filter):
                check_function(step.predicate, "the function of filter()")
            elif isinstance(step, Map | TryMap):
                made = step.map if isinstance(step, TryMap) else step
                check_function(
                    getattr(made.function, "func", made.function), f"the function of {made.verb}()"
                )

    def apply(self, rows: Rows) -> tuple[Rows, Integers]:
        """Rows with every step applied, and the indices of those that filters kept."""
        left = np.arange(len(rows), dtype=np.int64)
        skip = next((step for step in self.each if isinstance(step, Skip)), None)
        for step in self.each:
            if isinstance(step, Select):
                rows = step.apply(rows)
                continue
            rows, kept = step.apply(rows, skip)
            left = left[kept]
        return rows, left

    def applied(self, runs: Iterator[Run]) -> Iterator[Run]:
        """Runs with every step applied."""
        with closing(runs):  # type: ignore[type-var]
            for rows, taken in runs:
                made, kept = self.apply(rows)
                yield made, taken[kept]


@redacted_repr
@dataclass(frozen=True, slots=True)
class ViewedRows(MadeRows):
    """Rows seen through a lens that only selects and renames fields: columns stay columns."""

    rows: Rows
    lens: Lens[Any, Any]
    renames: dict[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> Sequence[str]:
        return self.rows.keys

    def samples(self) -> list[Any]:
        return [self.lens.get(sample) for sample in self.rows.samples()]

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = self.rows.columns()
        if columns is None:
            return None
        return {target: columns[source] for target, source in self.renames.items()}

    def place(self, row: int) -> tuple[str, int] | None:
        """See `place_in`."""
        return place_in([self.rows], row)

    def take(self, indices: Indices) -> ViewedRows:
        return replace(self, rows=self.rows.take(indices))
