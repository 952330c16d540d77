"""Many ranges of the members layout → samples or columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata.errors import DecodeError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Misfit
from atdata.shards.columns.column import LazyColumn, column_of
from atdata.shards.columns.decode import Payloads, columns_of
from atdata.shards.layouts.codec import MembersCodec
from atdata.shards.layouts.plain import Group, Members, find_groups
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.keys import key_list

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
        self._codec = MembersCodec(codec)

    def unpack(self, payload: memoryview, url: str) -> T:
        """See `LayoutDecoder`."""
        return self._codec.unpack(payload, url)

    def samples(self, payloads: Payloads, unpack: Callable[[int], T]) -> Iterable[T]:
        """As `Decoder.samples`."""
        parts = list(self._parts(payloads, unpack))
        if len(parts) == 1:
            return parts[0][1]
        out: list[Any] = [None] * len(payloads.starts)
        for rows, samples in parts:
            for row, sample in zip(rows.tolist(), samples, strict=True):
                out[row] = sample
        return out

    def columns(self, payloads: Payloads, unpack: Callable[[int], T]) -> dict[str, LazyColumn]:
        """As `Decoder.columns`."""
        samples: list[Any] = list(self.samples(payloads, unpack))
        if self._codec.base.untyped:
            return columns_of(samples)
        names = self._codec.base.by_name
        return {name: column_of([getattr(sample, name) for sample in samples]) for name in names}

    def _parts(
        self, payloads: Payloads, unpack: Callable[[int], T]
    ) -> Iterator[tuple[Integers, Iterable[T]]]:
        """Samples that were read together, and which rows they are."""
        groups: list[Group] = []
        if "__url__" in self._codec.base.by_name or len(payloads.starts) < _FEW_ROWS:
            left: Integers = np.arange(len(payloads.starts))
        else:
            groups, left = self._groups(payloads)
        for group in groups:
            columns = self._columns(group, payloads.buffer)
            if columns is None:
                # What is wrong, and where, is found row by row.
                left = np.concatenate([left, group.rows])
            else:
                yield group.rows, self._codec.built_of(columns, len(group.rows))
        if len(left):
            left.sort()
            yield left, map(unpack, left.tolist())

    def _groups(self, payloads: Payloads) -> tuple[list[Group], Integers]:
        """The members of the samples, as they were found before, or found now; rows left over."""
        groups: list[Group] = []
        unknown, done = [np.empty(0, np.int64)], 0
        for count, inside in payloads.inside or ((len(payloads.starts), None),):
            if isinstance(inside, Members):
                groups += inside.groups(done)
            else:
                unknown.append(np.arange(done, done + count))
            done += count
        rows = np.concatenate(unknown)
        if len(rows) < _FEW_ROWS:
            return groups, rows
        data: Bytes = np.frombuffer(payloads.buffer, np.uint8)
        more, left = find_groups(data, payloads.starts[rows] - BLOCK, payloads.ends[rows])
        groups += (replace(group, rows=rows[group.rows]) for group in more)
        return groups, rows[left]

    def _columns(self, group: Group, data: memoryview) -> dict[str, list[Any]] | None:
        """The values of each field; None: a sample has one that does not fit."""
        try:
            plan = self._codec.plan(group.fields)
            columns: dict[str, list[Any]] = {}
            for name, at, read in plan.steps:
                spans = zip(group.starts[:, at].tolist(), group.ends[:, at].tolist(), strict=True)
                columns[name] = [read(data[start:end]) for start, end in spans]
            for name in plan.missing:
                columns[name] = [self._codec.base.missing(name) for _ in group.rows]
        except (Misfit, DecodeError):
            return None
        if "__key__" in self._codec.base.by_name:
            columns["__key__"] = key_list([_without_zeros(group.keys)])
        return columns


def _without_zeros(keys: Bytes) -> Bytes:
    """Keys without the bytes that are zero in all."""
    return np.ascontiguousarray(keys[:, : int(np.count_nonzero(keys, axis=1).max())])


@lru_cache(maxsize=64)
def members_decoder(codec: SampleCodec[T]) -> MembersDecoder[T]:
    """The decoder of a codec's type, made once."""
    return MembersDecoder(codec)
