"""Rows: consecutive samples from shard to reader, cut into samples and batches.

Every way of reading yields runs of rows. So batching never changes what is read, and a state can
say after which stored sample reading stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from atdata._arrays import Indices, Integers
from atdata._secrets import redacted_repr
from atdata.dataset.decode.options import Decodes, check_decode, decoded_fields
from atdata.dataset.reading.results import type_of_results
from atdata.errors import OptionError, SampleTypeError
from atdata.samples.batch import SampleBatch
from atdata.samples.codec import fields_of, is_sample_type
from atdata.samples.kinds import Field
from atdata.shards.columns.column import Keys, LazyColumn, joined_columns
from atdata.system.forks import importing, once

if TYPE_CHECKING:
    from atdata.dataset.decode.columns import Decoding

X = TypeVar("X")


class Rows(Protocol):
    """Consecutive samples with their keys; read from a shard or made by a step."""

    def __len__(self) -> int: ...

    @property
    def keys(self) -> Sequence[str]:
        """Key of each sample in its shard."""
        ...

    def samples(self) -> list[Any]:
        """The samples, as a list."""
        ...

    def each(self) -> Iterator[Any]:
        """The samples, one after the other."""
        ...

    def columns(self) -> dict[str, LazyColumn] | None:
        """The samples field by field, or None if they exist one by one only.

        Some may not be copied yet, see `joined_columns`.
        """
        ...

    def payloads(self) -> Iterator[memoryview] | None:
        """The msgpack bytes of each sample; None: a step made the samples, or they are stored in
        another layout."""
        ...

    def take(self, indices: Indices) -> Rows:
        """Some of the rows, in the order of ``indices``."""
        ...


Run: TypeAlias = tuple[Rows, Integers]
"""Rows; for each, the number of stored samples used up by then, itself included; shape (n,)."""


ItemsOf: TypeAlias = Callable[[Iterator[Run]], Iterator[tuple[X, int]]]
"""Makes samples or batches of runs of rows: each item, with the number of stored samples used up
by then."""


class MadeRows(Protocol):
    """What all rows made by a step have in common."""

    __slots__ = ()

    def samples(self) -> list[Any]: ...

    def each(self) -> Iterator[Any]:
        return iter(self.samples())

    def payloads(self) -> None:
        return None


@redacted_repr
@dataclass(frozen=True, slots=True)
class SampleRows(MadeRows):
    """Rows that exist as samples."""

    keys: Sequence[str]
    made: list[Any]
    origin: tuple[Rows, Sequence[int]] | None = None
    """The rows that they were made of, and which of those each is; only to find their places."""

    def __len__(self) -> int:
        return len(self.made)

    def place(self, row: int) -> tuple[str, int] | None:
        """See `place_in`."""
        return None if self.origin is None else place_in([self.origin[0]], self.origin[1][row])

    def samples(self) -> list[Any]:
        return self.made

    def columns(self) -> dict[str, LazyColumn] | None:
        return None

    def take(self, indices: Indices) -> SampleRows:
        if isinstance(indices, slice):
            origin = self.origin and (self.origin[0], self.origin[1][indices])
            return SampleRows(self.keys[indices], self.made[indices], origin)
        order = indices.tolist()
        origin = self.origin and (self.origin[0], [self.origin[1][i] for i in order])
        return SampleRows([self.keys[i] for i in order], [self.made[i] for i in order], origin)


class SharedRows(MadeRows):
    """Rows that are cut into several batches: decoded once, and passed on as views."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Sequence[str]:
        return self._rows.keys

    def samples(self) -> list[Any]:
        return self._rows.samples()

    def columns(self) -> dict[str, LazyColumn] | None:
        return self._columns

    @once
    def _columns(self) -> dict[str, LazyColumn] | None:
        return self._rows.columns()

    def take(self, indices: Indices) -> Rows:
        if isinstance(indices, slice):
            return _Slice(self, indices)
        return self._rows.take(indices)

    def part(self, place: slice) -> Rows:
        """Some of the rows, decoded on their own."""
        return self._rows.take(place)


@dataclass(slots=True)
class _Slice(MadeRows):
    """Consecutive rows out of shared ones."""

    rows: SharedRows
    place: slice

    def __len__(self) -> int:
        return len(range(len(self.rows))[self.place])

    @property
    def keys(self) -> Sequence[str]:
        return self.rows.keys[self.place]

    def samples(self) -> list[Any]:
        return self.rows.part(self.place).samples()

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = self.rows.columns()
        return columns and {name: column[self.place] for name, column in columns.items()}

    def take(self, indices: Indices) -> Rows:
        return self.rows.part(self.place).take(indices)


def samples_of(runs: Iterator[Run]) -> Iterator[tuple[Any, int]]:
    """Every sample, each with the number of stored samples used up by then, itself included."""
    for rows, samples_taken in runs:
        yield from zip(rows.each(), samples_taken.tolist(), strict=True)


def batches_of(
    runs: Iterator[Run],
    sample_type: type,
    size: int,
    *,
    type_is_known: bool = True,
    drop_last: bool = False,
    decoding: Decoding | None = None,
) -> Iterator[tuple[SampleBatch[Any], int]]:
    """Batches of ``size`` rows, each with the number of stored samples used up by its end.

    The last batch may be smaller, or is dropped.

    ``sample_type`` and ``type_is_known`` are as for `batch_of`. With ``decoding``, the pictures
    of each batch are decoded.
    """
    fields = fields_of(sample_type)
    found = parts_of(runs, size, drop_last=drop_last)
    make = partial(_batch, sample_type, fields, type_is_known=type_is_known)
    if decoding is not None:
        with importing():
            from atdata.dataset.decode.columns import one_ahead

        yield from one_ahead(
            (decoding.begin(make(parts), partial(place_in, parts)), samples_taken)
            for parts, samples_taken in found
        )
        return
    for parts, samples_taken in found:
        batch = make(parts)
        del parts
        yield batch, samples_taken
        del batch


def parts_of(
    runs: Iterator[Run], size: int, *, drop_last: bool
) -> Iterator[tuple[list[Rows], int]]:
    """The rows of each batch, one part after the other; see `batches_of`."""
    waiting: list[Rows] = []
    have, at_end = 0, 0
    for run, samples_taken in runs:
        rows, count = SharedRows(run), len(run)
        at = 0
        while have + count - at >= size:
            need = size - have
            waiting.append(rows if need == count else rows.take(slice(at, at + need)))
            at += need
            whole, waiting, have = waiting, [], 0
            yield whole, int(samples_taken[at - 1])
            del whole
        if at < count:
            waiting.append(rows.take(slice(at, count)) if at else rows)
            have += count - at
            at_end = int(samples_taken[-1])
        # What is read next takes the place of these rows, where nobody needs them any more.
        del run, rows
    if have and not drop_last:
        yield waiting, at_end


def place_in(parts: Sequence[Rows], row: int) -> tuple[str, int] | None:
    """The shard of a row, counted through all parts, and where in it its payload begins.

    None: unknown, since a step made the row.
    """
    for part in parts:
        if row < len(part):
            return _place(part, row)
        row -= len(part)
    return None


def _place(rows: Any, row: int) -> tuple[str, int] | None:
    match rows:
        case SharedRows():
            return _place(rows.part(slice(row, row + 1)), 0)
        case _Slice():
            return _place(rows.rows, range(len(rows.rows))[rows.place][row])
        case _:
            place = getattr(rows, "place", None)
            found: tuple[str, int] | None = None if place is None else place(row)
            return found


class OfEpoch(ABC):
    """Makes items of rows, and some of what it makes of them depends on the epoch."""

    @abstractmethod
    def in_epoch(self, seed: int, epoch: int, *, workers: int = 1) -> OfEpoch:
        """The same in an epoch.

        Args:
            seed: Of its order; 0: none.
            epoch: Its number.
            workers: Processes that make items at the same time.
        """

    @abstractmethod
    def __call__(self, runs: Iterator[Run]) -> Iterator[tuple[Any, int]]: ...


@redacted_repr
@dataclass(frozen=True)
class DecodedBatches(OfEpoch):
    """Batches whose pictures are decoded; for the rest, see `batches_of`."""

    sample_type: type
    size: int
    type_is_known: bool
    decoding: Decoding

    def in_epoch(self, seed: int, epoch: int, *, workers: int = 1) -> DecodedBatches:
        return replace(self, decoding=self.decoding.of(seed, epoch, workers=workers))

    def __call__(self, runs: Iterator[Run]) -> Iterator[tuple[SampleBatch[Any], int]]:
        return batches_of(
            runs,
            self.sample_type,
            self.size,
            type_is_known=self.type_is_known,
            decoding=self.decoding,
        )


def items_of(
    sample_type: type,
    batch_size: int | None,
    decode: Decodes,
    *,
    type_is_known: bool,
    skips: bool,
) -> ItemsOf[Any]:
    """What makes batches of runs of rows; where ``batch_size`` is None, single samples.

    With ``skips``, samples whose pictures cannot be decoded are left out.

    Raises:
        OptionError: ``batch_size`` is not an int of 1 or more, or not given to ``decode``.
        SampleTypeError: Samples of this type have no fields.
    """
    found = check_decode(decode) if decode is not None else {}
    if batch_size is None:
        if found:
            raise OptionError("decode: only batches are decoded. Pass a batch_size.")
        return samples_of
    check_batch_size(batch_size)
    check_batchable(sample_type, type_is_known=type_is_known)
    if found:
        if type_is_known:
            decoded_fields(found, fields_of(sample_type))
        with importing():
            from atdata.dataset.decode.columns import Decoding

        decoding = Decoding(found, skip=skips)
        return DecodedBatches(sample_type, batch_size, type_is_known, decoding)
    return partial(
        batches_of, sample_type=sample_type, size=batch_size, type_is_known=type_is_known
    )


def check_batch_size(value: object) -> None:
    """Validate a batch size.

    Raises:
        OptionError: It is not an int of 1 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"batch_size is {value!r}; it must be an int of 1 or more.")


def check_batchable(sample_type: type, *, type_is_known: bool) -> None:
    """Refuse a type whose samples cannot be batched field by field.

    Raises:
        SampleTypeError: It is one.
    """
    if type_is_known and not is_sample_type(sample_type):
        raise SampleTypeError(
            f"Samples of {sample_type!r} cannot be batched field by field. "
            "Let the function given to map() return a packable class."
        )


def batch_of(
    sample_type: type, parts: Sequence[Rows], *, type_is_known: bool = True
) -> SampleBatch[Any]:
    """Rows as one batch, column by column where they have columns.

    Args:
        sample_type: Type of the samples.
        parts: The rows.
        type_is_known: False: a function given to map() made the samples, and nothing declares
            its type. Then the batch has the type of its samples.

    Raises:
        SampleTypeError: They have no fields, or several types.
    """
    check_batchable(sample_type, type_is_known=type_is_known)
    return _batch(sample_type, fields_of(sample_type), parts, type_is_known=type_is_known)


def _batch(
    sample_type: type, fields: Mapping[str, Field], parts: Sequence[Rows], *, type_is_known: bool
) -> SampleBatch[Any]:
    keys = Keys.joined([part.keys for part in parts])
    # Samples without a type may each have other fields, so that columns are the batch's.
    known = [columns for part in parts if fields and (columns := part.columns())]
    if known and len(known) == len(parts):
        return SampleBatch(sample_type, keys, joined_columns(known, fields))
    samples = [sample for part in parts for sample in part.samples()]
    made = type_of_results(samples, sample_type, type_is_known=type_is_known)
    return SampleBatch(made, keys, samples=samples)
