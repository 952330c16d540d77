"""Many ranges of the members layout → samples or columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final, Generic, TypeVar

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata.errors import DecodeError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Misfit
from atdata.shards.columns.column import LazyColumn, column_of
from atdata.shards.columns.decode import Payloads, columns_of
from atdata.shards.layouts.codec import Found, MembersCodec
from atdata.shards.layouts.plain import find_groups
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.inside import Group, Inside

T = TypeVar("T")

_FEW_ROWS: Final = 4
"""Fewer rows than this are read faster one by one."""


class MembersDecoder(Generic[T]):
    """Decodes many ranges of one sample type; used like `Decoder`.

    Args:
        codec: Codec of the type.
    """

    head: Final = BLOCK

    def __init__(self, codec: SampleCodec[T]) -> None:
        self.codec = MembersCodec(codec)

    def unpack(
        self, payload: memoryview, url: str, linked: Callable[[int], memoryview] | None = None
    ) -> T:
        """See `LayoutDecoder`."""
        return self.codec.unpack(payload, url, linked)

    def unpack_row(self, payloads: Payloads, row: int, key: str, url: str) -> T:
        """See `LayoutDecoder`. Where its members are known, perhaps only some of them are there."""
        begin = int(payloads.starts[row]) - BLOCK
        known = None if payloads.inside is None else payloads.inside.of_row(row)
        if known is None:
            linked = None if payloads.linked is None else partial(payloads.linked, row)
            return self.unpack(payloads.buffer[begin : int(payloads.ends[row])], url, linked)
        fields, places = known
        values = [payloads.buffer[begin + start : begin + end] for start, end in places]
        return self.codec.of_members(Found(key, fields, values), url)

    def wanted(self, fields: tuple[str, ...]) -> list[int]:
        """Which of these members of a sample are read, in stored order; at least one."""
        try:
            steps = self.codec.plan(fields).steps
        except Misfit:
            return list(range(len(fields)))
        return sorted({at for _, at, _ in steps}) or [0]

    def samples(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str]
    ) -> Iterable[T]:
        """As `Decoder.samples`."""
        parts, left = self._parts(payloads, keys)
        built = [(part.rows, self.codec.built_of(part.columns, len(part.rows))) for part in parts]
        if len(built) == 1 and not len(left):
            return built[0][1]
        out: list[Any] = [None] * len(payloads.starts)
        for rows, samples in (*built, (left, map(unpack, left.tolist()))):
            for row, sample in zip(rows.tolist(), samples, strict=True):
                out[row] = sample
        return out

    def columns(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str]
    ) -> dict[str, LazyColumn]:
        """As `Decoder.columns`."""
        if self.codec.base.untyped:
            return columns_of(list(self.samples(payloads, unpack, keys)))
        parts, left = self._parts(payloads, keys)
        samples = [(row, unpack(row)) for row in left.tolist()]
        out: dict[str, LazyColumn] = {}
        for name in self.codec.base.by_name:
            if len(parts) == 1 and not samples:
                out[name] = column_of(parts[0].columns[name])
                continue
            values: list[Any] = [None] * len(payloads.starts)
            for part in parts:
                for row, value in zip(part.rows.tolist(), part.columns[name], strict=True):
                    values[row] = value
            for row, sample in samples:
                values[row] = getattr(sample, name)
            out[name] = column_of(values)
        return out

    def _parts(self, payloads: Payloads, keys: Sequence[str]) -> tuple[list[_Part], Integers]:
        """Rows that were read together; and those to read one by one, in order."""
        few = len(payloads.starts) < _FEW_ROWS
        if few or payloads.refused or "__url__" in self.codec.base.by_name:
            return [], np.arange(len(payloads.starts))
        groups, left = _groups(payloads)
        parts: list[_Part] = []
        for group in groups:
            columns = self._columns(group, payloads, keys)
            if columns is None:
                # What is wrong, and where, is found row by row.
                left = np.concatenate([left, group.rows])
            else:
                parts.append(_Part(group.rows, columns))
        return parts, np.sort(left)

    def _columns(
        self, group: Group, payloads: Payloads, keys: Sequence[str]
    ) -> dict[str, list[Any]] | None:
        """The values of each field; None: a sample has one that does not fit."""
        data, begin = payloads.buffer, payloads.starts[group.rows] - BLOCK
        try:
            plan = self.codec.plan(group.fields)
            if plan.packed > 1:
                return None
            columns: dict[str, list[Any]] = {}
            for name, at, read in plan.steps:
                # Without a line of Python a value.
                starts, ends = begin + group.starts[:, at], begin + group.ends[:, at]
                spans = map(slice, starts.tolist(), ends.tolist())
                columns[name] = list(map(read, map(data.__getitem__, spans)))
            for name in plan.missing:
                columns[name] = [self.codec.base.missing(name) for _ in group.rows]
        except (Misfit, DecodeError):
            return None
        if "__key__" in self.codec.base.by_name:
            columns["__key__"] = [keys[row] for row in group.rows.tolist()]
        return columns


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that were read together, field by field."""

    rows: Integers
    columns: dict[str, list[Any]]


def _groups(payloads: Payloads) -> tuple[list[Group], Integers]:
    """The members of the samples, as they were found before, or found now; rows left over."""
    inside = payloads.inside or Inside.unknown(len(payloads.starts))
    groups, rows = list(inside.groups()), inside.left()
    if len(rows) < _FEW_ROWS:
        return groups, rows
    more, left = _found_in(payloads, rows)
    return groups + more, left


def _found_in(payloads: Payloads, rows: Integers) -> tuple[list[Group], Integers]:
    data: Bytes = np.frombuffer(payloads.buffer, np.uint8)
    more, left = find_groups(data, payloads.starts[rows] - BLOCK, payloads.ends[rows])
    return [replace(group, rows=rows[group.rows]) for group in more], rows[left]


def members_of(payloads: Payloads) -> Inside:
    """The members of samples, all looked for that are not known yet."""
    inside = payloads.inside or Inside.unknown(len(payloads.starts))
    rows = inside.left()
    if not len(rows):
        return inside
    groups, _ = _found_in(payloads, rows)
    return Inside.of_groups([*inside.groups(), *groups], len(inside))


@lru_cache(maxsize=64)
def members_decoder(codec: SampleCodec[T]) -> MembersDecoder[T]:
    """The decoder of a codec's type, made once."""
    return MembersDecoder(codec)
