"""Payloads in the wanted order: copied out of maps, or read into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata.dataset.reading.shard_files import SHARD_DISTANCE, ShardFiles, WrongTableError
from atdata.shards.columns.column import Buffers
from atdata.shards.columns.decode import Payloads
from atdata.shards.layouts.check import Wanted
from atdata.shards.tar.check import BytesAt
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.keys import KeyMatrix
from atdata.shards.tar.table import SampleTable

_SMALL_PAYLOAD_BYTES: Final = 8 << 10
"""Bytes of a payload up to which neighbours are read together, and then moved to their places."""
_SCRATCH_BYTES: Final = 1 << 20
"""Bytes that are read before payloads are moved out of them: what the cache has room for."""
_MAX_MAPPED_BYTES: Final = 1 << 27
"""Bytes of shards up to which small payloads are taken out of maps: with each page that is used,
systems map many around it, and they all count as memory of this process."""
_MAX_MAPPED_SHARDS: Final = 32
"""The same in shards: of more, too few samples are taken out of each at once."""
_PIECES_GAP_BYTES: Final = 1 << 14
"""Bytes of other members between two that are read, which are read along."""
_MOST_PARTS: Final = 0.875
"""Of all bytes, the share from which on whole samples are read."""
_RESIDENT_BYTES: Final = 1 << 23
"""Bytes of samples that are taken out of maps before their pages are given back."""
_buffers: Final = Buffers(4)
"""What payloads are in; of large ones, a batch is put together of several windows."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where samples are, as their tables say."""

    starts: Integers
    """Where each header begins, shards counted as `SHARD_DISTANCE` apart."""
    sizes: Integers
    """Bytes of each payload."""
    shards: list[int]
    """Numbers of the shards that they are in."""
    tables: list[SampleTable]
    """The tables of these shards that say so."""
    keys: KeyMatrix | None
    """The key of each in UTF-8, padded with zeros, if none is long."""
    inside: Inside | None = None
    """Their members, where the layout has them."""

    def take(self, rows: slice | Integers) -> Located:
        """Some of them, in the order of ``rows``."""
        keys = None if self.keys is None else self.keys[rows]
        inside = None if self.inside is None else self.inside.take(rows)
        place = self.starts[rows], self.sizes[rows], self.shards, self.tables
        return Located(*place, keys, inside)


Selection: TypeAlias = slice | Integers
"""Which samples."""
CheckMembers: TypeAlias = Callable[[Located, Bytes, Integers, Inside], None]
"""See `PayloadReader.read_members`."""
Check: TypeAlias = Callable[[Located, Selection, Bytes, Integers], None]
"""Takes which samples were found, the memory that they are in, and where each payload begins."""
_Portion: TypeAlias = tuple[Selection, Bytes, Integers]
"""The same as a value, but which of the payloads they become."""


class PayloadReader:
    """Finds samples in memory, or reads them, and puts their payloads into order.

    Args:
        files: Where they are.
    """

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._scratch = Buffers()
        self._resident = 0

    def maps(self, found: Located) -> bool:
        """Whether samples are to be taken out of maps, which is done when they are wanted."""
        few = (
            0 < len(found.shards) <= _MAX_MAPPED_SHARDS
            and int(found.sizes.max()) <= _SMALL_PAYLOAD_BYTES
        )
        few = few and self._files.bytes_of(found.shards) <= _MAX_MAPPED_BYTES
        return few and self._files.are_local(found.shards)

    def prefetch(self, found: Located) -> None:
        """Have samples read whose payloads will be taken out of maps, without waiting for it.

        Args:
            found: Where they are, ascending.
        """
        self._files.prefetch(found.starts, _ends(found))

    def taken(self, found: Located, check: Check) -> Payloads:
        """Payloads taken out of maps, in any order.

        Args:
            found: Where they are.
            check: Called with what was found; raises where a table was wrong.

        Raises:
            WrongTableError: They are not where a table says.
        """
        starts, sizes = np.empty_like(found.sizes), found.sizes
        # With their headers they are the neighbours that they are in the shard.
        buffer = self._moved(starts, sizes, self._mapped(found), head=BLOCK)
        check(found, slice(None), buffer, starts)
        self._resident += len(buffer)
        if self._resident > _RESIDENT_BYTES:
            self._resident = 0
            self._files.release_pages()
        return _payloads(buffer, starts, sizes, found.inside)

    def read(self, found: Located, places: Integers, check: Check, *, head: int = 0) -> Payloads:
        """Payloads read into memory, in their order.

        Args:
            found: Where they are, ascending.
            places: Which one each of them becomes: the numbers from 0 to before n.
            check: As for `taken`.
            head: Bytes before each that are wanted as well, at least: none, or its header.

        Raises:
            WrongTableError: They are not where a table says.
        """
        count = len(places)
        starts, sizes = np.zeros(count, np.int64), np.empty(count, np.int64)
        sizes[places] = found.sizes
        buffer = np.empty(0, np.uint8)
        if count > 1 and int(sizes.max()) <= _SMALL_PAYLOAD_BYTES:
            buffer = self._moved(starts, sizes, self._portions(found, places, check), head=head)
        elif self._files.are_local(found.shards):
            buffer = self._in_place(found, places, starts, sizes, check)
        else:
            for plan in self._files.plan_reads(found.starts, _ends(found), None):
                buffer = _buffers.take(plan.size)
                self._files.load(plan, buffer)
                check(found, plan.part, buffer, plan.at + BLOCK)
                starts[places[plan.part]] = plan.at + BLOCK
        inside = None if found.inside is None else found.inside.take(np.argsort(places))
        return _payloads(buffer, starts, sizes, inside)

    def read_members(
        self, found: Located, places: Integers, check: CheckMembers, wanted: Wanted
    ) -> Payloads | None:
        """Only those members that are wanted, each with its header.

        Args:
            found: Where the samples are, ascending.
            places: As for `read`.
            check: Called with the samples, the memory that the members are in, where the payload
                of each sample would begin there, and where in it the members are.
            wanted: Which members.

        Returns:
            The payloads, in which other members are missing. None: that would save little.

        Raises:
            WrongTableError: They are not where a table says.
        """
        pieces = None if found.inside is None else _pieces_of(found, found.inside, wanted)
        if pieces is None or found.inside is None:
            return None
        [plan] = self._files.plan_reads(pieces.starts, pieces.ends, None, gap=_PIECES_GAP_BYTES)
        buffer = _buffers.take(plan.size)
        self._files.load(plan, buffer)
        # As if the payload began right after the first record of the first piece.
        starts = plan.at[pieces.firsts] + BLOCK
        inside = pieces.placed(found.inside, plan.at, starts - BLOCK)
        check(found, buffer, starts, inside)
        order = np.argsort(places)
        return _payloads(buffer, starts[order], np.zeros(len(order), np.int64), inside.take(order))

    def _moved(
        self, starts: Integers, sizes: Integers, found: Iterator[_Portion], *, head: int
    ) -> Bytes:
        """Small payloads, away from what is between them.

        Those of one size are rows of a matrix in their order; others lie there as they were found,
        with their padding.

        Args:
            starts: Filled with where each begins.
            sizes: Bytes of each.
            found: Memory that they are in.
            head: Bytes before each that come along: none, or its header.
        """
        if (sizes == sizes[:1]).all():
            width = head + int(sizes[0]) if len(sizes) else 0
            starts[:] = np.arange(head, head + len(sizes) * width, width) if width else 0
            buffer = _buffers.take(len(sizes) * width)
            for which, data, at in found:
                if width:
                    buffer.view(f"V{width}")[which] = BytesAt(data, at).read(-head, width)
            return buffer
        counts = (head + sizes + BLOCK - 1) // BLOCK
        buffer = _buffers.take(int(counts.sum()) * BLOCK)
        records = buffer.view(f"V{BLOCK}")
        before = 0
        for which, data, at in found:
            count = counts[which]
            ends = np.cumsum(count)
            first, end = ends - count, before + int(ends[-1])
            starts[which] = (before + first) * BLOCK + head
            wanted = np.repeat((at - head) // BLOCK - first, count) + np.arange(end - before)
            there = data[: len(data) // BLOCK * BLOCK].view(f"V{BLOCK}")
            # That they are all there was checked: without a mode, they are copied twice.
            there.take(wanted, out=records[before:end], mode="clip")
            before = end
        return buffer

    def _mapped(self, found: Located) -> Iterator[_Portion]:
        """Payloads in maps, each shard's together."""
        shard, ends = found.starts // SHARD_DISTANCE, _ends(found)
        for number in found.shards:
            part = slice(None) if len(found.shards) == 1 else np.flatnonzero(shard == number)
            zero = number * SHARD_DISTANCE
            at = found.starts[part] - (zero - BLOCK)
            if len(at):
                data = self._files.mapped(number)
                if int(ends[part].max()) > zero + len(data):
                    raise WrongTableError(number, None)
                yield part, data, at

    def _portions(self, found: Located, places: Integers, check: Check) -> Iterator[_Portion]:
        """Payloads read with the headers and the padding around them, one plan at a time."""
        for plan in self._files.plan_reads(found.starts, _ends(found), _SCRATCH_BYTES):
            data = self._scratch.take(plan.size)
            self._files.load(plan, data)
            check(found, plan.part, data, plan.at + BLOCK)
            yield places[plan.part], data, plan.at + BLOCK

    def _in_place(
        self, found: Located, places: Integers, starts: Integers, sizes: Integers, check: Check
    ) -> Bytes:
        """Large payloads, each read to its place with its header.

        Args:
            found: Where they are.
            places: Which row each becomes.
            starts: Filled with where each row begins.
            sizes: Bytes of each row.
            check: As for `taken`.
        """
        ends = np.cumsum(sizes + BLOCK)
        starts[:] = ends - sizes
        buffer = _buffers.take(int(ends[-1]) if len(ends) else 0)
        view: Any = memoryview(buffer)  # type: ignore[arg-type]
        spans = (
            found.starts // SHARD_DISTANCE,
            starts[places],
            ends[places],
            found.starts % SHARD_DISTANCE,
        )
        self._files.read(
            [
                (number, view[begin - BLOCK : end], start)
                for number, begin, end, start in zip(*(x.tolist() for x in spans), strict=True)
            ]
        )
        check(found, slice(0, len(places)), buffer, starts[places])
        return buffer


def _ends(found: Located) -> Integers:
    """Where the padding after each payload ends."""
    return found.starts + BLOCK + (found.sizes + BLOCK - 1) // BLOCK * BLOCK


def _payloads(buffer: Bytes, starts: Integers, sizes: Integers, inside: Inside | None) -> Payloads:
    view: Any = buffer
    return Payloads(memoryview(view).toreadonly(), starts, starts + sizes, inside=inside)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Members of samples, each with the headers before it and the padding after it."""

    starts: Integers
    """Where each begins, shards counted as `SHARD_DISTANCE` apart; ascending."""
    ends: Integers
    firsts: Integers
    """Number of the first one of each sample, shape (samples,)."""
    members: Integers
    """Which member of all each is."""
    samples: Integers
    """Which sample each is of."""
    heads: Integers
    """Bytes of the headers before each."""

    def placed(self, inside: Inside, at: Integers, begin: Integers) -> Inside:
        """The members where they are in memory.

        Args:
            inside: Where they are in the shards.
            at: Where in memory each piece begins.
            begin: What places in each sample are counted from.
        """
        starts, ends = np.zeros_like(inside.starts), np.zeros_like(inside.ends)
        starts[self.members] = at + self.heads - begin[self.samples]
        sizes = inside.ends[self.members] - inside.starts[self.members]
        ends[self.members] = starts[self.members] + sizes
        return replace(inside, starts=starts, ends=ends)


def _pieces_of(found: Located, inside: Inside, wanted: Wanted) -> _Pieces | None:
    """What is read of samples; None: nearly all of them, or some whose members are not known."""
    if not len(inside) or len(inside.left()):
        return None
    columns: list[tuple[Integers, ...]] = []
    for group in inside.groups():
        rows, begin = group.rows, found.starts[group.rows]
        for number in wanted(group.fields):
            before = group.ends[:, number - 1] if number else np.zeros(len(rows), np.int64)
            start = (before + BLOCK - 1) // BLOCK * BLOCK
            end = (group.ends[:, number] + BLOCK - 1) // BLOCK * BLOCK
            member = inside.firsts[rows] + number
            columns.append(
                (begin + start, begin + end, member, rows, group.starts[:, number] - start)
            )
    starts, ends, members, samples, heads = map(np.concatenate, zip(*columns, strict=True))
    if int((ends - starts).sum()) > _MOST_PARTS * int((_ends(found) - found.starts).sum()):
        return None
    order = np.argsort(starts)
    firsts = np.searchsorted(samples[order], np.arange(len(inside)))
    rest = (part[order] for part in (members, samples, heads))
    return _Pieces(starts[order], ends[order], firsts, *rest)
