"""Members with plain headers, many at once as arrays: their names split, their samples found.

What is not plain (long names, names not in ASCII, metadata, members twice) is left to the walk
header by header, which decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from atdata._arrays import Bytes, Integers, Mask, distinct
from atdata.shards.layouts.names import RESERVED
from atdata.shards.tar.check import BytesAt, checksums_hold, octal
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.inside import Group, Inside
from atdata.shards.tar.keys import KeyMatrix
from atdata.shards.tar.scan import (
    GNU,
    MTIME_BYTES,
    USTAR,
    find_plain,
    holds_mtime_alone,
)

_DOT, _SLASH, _LOW = b"./_"
_NAME_BYTES: Final = 100
_MOST_MEMBERS: Final = 64
"""Members of a sample that are found many samples at once."""
_WEIGHTS: Final = np.cumprod(np.full(_NAME_BYTES // 4, 0x9E3779B97F4A7C15, np.uint64))
"""Names that differ have other sums, but for chance."""


def key_lengths(names: Bytes) -> tuple[Integers, Mask]:
    """Bytes of the key in each name, and which names are plain: of a sample, in ASCII.

    Args:
        names: Zeros after shorter ones, shape (n, length).
    """
    places = np.arange(names.shape[1])
    dots, slashes = names == _DOT, names == _SLASH
    last = np.where(slashes, places, -1).max(axis=1)
    dots &= places > last[:, None]
    lengths = dots.argmax(axis=1)
    good: Mask = dots.any(axis=1) & (lengths > last + 1)
    good &= (names < 0x80).all(axis=1)
    good &= ~((names[:, 0] == _LOW) & (names[:, 1] == _LOW))
    # A zero within a name ends it.
    zeros = names == 0
    good &= ~(zeros[:, :-1] & ~zeros[:, 1:]).any(axis=1)
    return lengths, good


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples that follow each other, shape (n,) each; offsets as in `Plain`."""

    starts: Integers
    ends: Integers
    """Where the data of the last member end."""
    keys: KeyMatrix
    after: int
    """Where the next sample begins."""
    members: Inside


def _inside(
    firsts: Integers,
    counts: Integers,
    names: Bytes,
    lengths: Integers,
    spans: tuple[Integers, Integers],
) -> Inside:
    """The members of samples that follow each other.

    Args:
        firsts: Number of the first member of each sample, shape (n,).
        counts: Number of members of each sample.
        names: Name of each member.
        lengths: Bytes of the key in each name.
        spans: Where the data of each member begin and end, from its sample's first header.
    """
    forms = _Forms(len(firsts))
    fields = _after(names, lengths)
    for step in range(int(counts.max())):
        rows = np.flatnonzero(counts > step)
        forms.add(rows, fields[firsts[rows] + step])
    used, form = np.unique(forms.of, return_inverse=True)
    spelled = [forms.spelled(number) for number in used.tolist()]
    # Members that appear twice or are reserved are not found here.
    known = tuple(fields for fields in spelled if fields is not None)
    assert len(known) == len(spelled)
    return Inside(known, form.reshape(-1), firsts, *spans)


def find_samples(view: memoryview, at: int, *, span: int, most: int) -> Samples | None:
    """The whole samples from ``at`` on whose members are plain; None: too few to be worth it.

    Args:
        view: The window.
        at: Where a sample begins.
        span: Bytes to look at.
        most: Most samples to find.
    """
    found = find_plain(view, at, span=span, most=span // BLOCK)
    if found is None:
        return None
    names = _cropped(found.names)
    lengths, good = key_lengths(names)
    count = len(names) if good.all() else int(good.argmin())
    if count < 2:
        return None
    names, lengths = names[:count], lengths[:count]
    inside = np.arange(names.shape[1]) < lengths[:, None]
    same = (lengths[1:] == lengths[:-1]) & ((names[1:] == names[:-1]) | ~inside[1:]).all(axis=1)
    firsts = np.flatnonzero(np.concatenate([[True], ~same]))
    # The last one may have more members.
    firsts, after = firsts[:-1][:most], firsts[1 : most + 1]
    if not len(firsts):
        return None
    whole = int(after[-1])
    if _needs_a_look(names[:whole], np.flatnonzero(after - firsts == 1)):
        return None
    lasts = after - 1
    ends = found.offsets[:whole] + found.sizes[:whole]
    zeros = np.repeat(found.chains[firsts], after - firsts)
    spans = (found.offsets[:whole] - zeros, ends - zeros)
    keys = names[firsts, : int(lengths[firsts].max())].copy()
    keys[~inside[firsts, : keys.shape[1]]] = 0
    return Samples(
        found.chains[firsts],
        ends[lasts],
        keys,
        int(found.chains[whole]),
        _inside(firsts, after - firsts, names[:whole], lengths[:whole], spans),
    )


def _cropped(names: Bytes) -> Bytes:
    """Name fields without the bytes that are zero in all."""
    used = np.flatnonzero(names.any(axis=0))
    return names[:, : max(2, int(used[-1]) + 1 if len(used) else 0)]


def _needs_a_look(names: Bytes, single: Integers) -> bool:
    """Whether a member may appear twice, be reserved, or be a sample of the other layout."""
    text = names.tobytes()
    if b".__" in text:
        return True
    lower = names | ((names >= ord("A")) & (names <= ord("Z"))) * np.uint8(0x20)
    padded = np.zeros((len(names), _NAME_BYTES), np.uint8)
    padded[:, : names.shape[1]] = lower
    sums = padded.view(np.uint32) @ _WEIGHTS
    if len(distinct(sums)) < len(sums):
        return True
    alone = lower[single].tobytes()
    return b".mp" in alone or b".ms" in alone


def find_groups(data: Bytes, starts: Integers, ends: Integers) -> tuple[list[Group], Integers]:
    """The members in many ranges, and the ranges that are left, in order.

    Args:
        data: Bytes that the ranges are in, shape (n,).
        starts: Where the first header of each sample is, shape (m,).
        ends: Where the data of its last member end.
    """
    count = len(starts)
    at, good, done = starts.copy(), np.ones(count, bool), np.zeros(count, bool)
    forms = _Forms(count)
    lengths, first = np.zeros(count, np.int64), np.zeros((count, 0), np.uint8)
    seen: list[tuple[Integers, Integers, Integers]] = []
    active: Integers = np.arange(count)
    while len(active) and len(seen) < _MOST_MEMBERS:
        active, names, sizes = _next_members(data, at, ends, good, active)
        if not seen:
            first = np.zeros((count, _NAME_BYTES), np.uint8)
            first[active] = names
            lengths[active], plain = key_lengths(names)
        else:
            outside = np.arange(_NAME_BYTES) >= lengths[active][:, None]
            plain = ((names == first[active]) | outside).all(axis=1)
            plain &= names[np.arange(len(active)), lengths[active]] == _DOT
            plain &= (names < 0x80).all(axis=1)
        fields = _after(names, lengths[active])
        plain &= ~(fields == _SLASH).any(axis=1)
        forms.add(active, fields)
        begin = at[active] + BLOCK
        stop = begin + sizes
        at[active] = begin + (sizes + BLOCK - 1) // BLOCK * BLOCK
        seen.append((active, begin, stop))
        good[active] &= plain & (stop <= ends[active])
        done[active] = stop == ends[active]
        active = active[good[active] & ~done[active]]
    good &= done
    groups: list[Group] = []
    left = [np.flatnonzero(~good)]
    rows = np.flatnonzero(good)
    for form in distinct(forms.of[rows]).tolist():
        mine, spelled = rows[forms.of[rows] == form], forms.spelled(form)
        if spelled is None:
            left.append(mine)
            continue
        places = [_of(mine, *part) for part in seen[: len(spelled)]]
        begins, stops = (np.stack(part, axis=1) for part in zip(*places, strict=True))
        zeros = starts[mine][:, None]
        groups.append(Group(mine, spelled, begins - zeros, stops - zeros))
    return groups, np.sort(np.concatenate(left))


def _of(
    wanted: Integers, rows: Integers, begin: Integers, stop: Integers
) -> tuple[Integers, Integers]:
    which = np.searchsorted(rows, wanted)
    return begin[which], stop[which]


def _next_members(
    data: Bytes, at: Integers, ends: Integers, good: Mask, active: Integers
) -> tuple[Integers, Bytes, Integers]:
    """The next member of each range that has a plain header: rows, name fields, sizes.

    ``at`` is moved to its header, and ``good`` cleared where it is another one.
    """
    active = _within(at, ends, good, active)
    extended = active[data[at[active] + 156] == ord("x")]
    if len(extended):
        places = BytesAt(data, at[extended])
        sizes, fine = _plain(places.matrix(0, BLOCK), ord("x"))
        fine &= at[extended] + 3 * BLOCK <= ends[extended]
        extended, sizes = extended[fine], sizes[fine]
        good[active] = data[at[active] + 156] != ord("x")
        if len(extended):
            records = BytesAt(data, at[extended]).matrix(BLOCK, MTIME_BYTES)
            good[extended] = holds_mtime_alone(records, sizes)
            at[extended] += 2 * BLOCK
        active = _within(at, ends, good, active[good[active]])
    if not len(active):
        return active, np.zeros((0, _NAME_BYTES), np.uint8), active
    headers = BytesAt(data, at[active]).matrix(0, BLOCK)
    sizes, fine = _plain(headers, ord("0"))
    good[active] = fine
    return active[fine], headers[fine, :_NAME_BYTES], sizes[fine]


def _within(at: Integers, ends: Integers, good: Mask, active: Integers) -> Integers:
    """The ranges that have room for a header."""
    fits = at[active] + BLOCK <= ends[active]
    good[active] &= fits
    return active if fits.all() else active[fits]


def _plain(headers: Bytes, flag: int) -> tuple[Integers, Mask]:
    """The sizes in headers, and which headers are plain, of a type flag."""
    sizes, good = octal(headers[:, 124:135])
    magic = np.ascontiguousarray(headers[:, 257:265]).view("<u8")[:, 0]
    good &= (headers[:, 135] == 0) & (headers[:, 156] == flag) & checksums_hold(headers)
    return sizes, good & ((magic == GNU) | ((magic == USTAR) & (headers[:, 345] == 0)))


def _after(names: Bytes, lengths: Integers) -> Bytes:
    """What follows the key and the dot in each name, zeros after it."""
    if not len(names):
        return names
    if (lengths == lengths[0]).all():
        return names[:, int(lengths[0]) + 1 :]
    places = np.arange(names.shape[1]) + lengths[:, None] + 1
    out: Bytes = np.take_along_axis(names, np.minimum(places, names.shape[1] - 1), axis=1)
    out[places >= names.shape[1]] = 0
    return out


class _Forms:
    """Which fields each of many samples has: a number for every list of fields.

    Args:
        count: How many samples there are.
    """

    def __init__(self, count: int) -> None:
        self.of: Integers = np.zeros(count, np.int64)
        """The number of each sample's list; 0: it is empty."""
        self._known: list[tuple[int, bytes]] = [(0, b"")]
        self._numbers: dict[tuple[int, bytes], int] = {}

    def add(self, rows: Integers, fields: Bytes) -> None:
        """Add one more field to some of the samples."""
        if not len(rows):
            return
        before = self.of[rows]
        which = np.zeros(len(rows), np.int64)
        firsts = [0]
        if not ((fields == fields[0]).all() and (before == before[0]).all()):
            both = np.empty((len(rows), 8 + fields.shape[1]), np.uint8)
            both[:, :8] = before[:, None].view(np.uint8)
            both[:, 8:] = fields
            packed = both.view(f"V{both.shape[1]}").reshape(-1)
            _, found, which = np.unique(packed, return_index=True, return_inverse=True)
            firsts, which = found.tolist(), which.reshape(-1)
        numbers = []
        for row in firsts:
            form = int(before[row]), fields[row].tobytes().rstrip(b"\0")
            if form not in self._numbers:
                self._numbers[form] = len(self._known)
                self._known.append(form)
            numbers.append(self._numbers[form])
        self.of[rows] = np.array(numbers)[which]

    def spelled(self, form: int) -> tuple[str, ...] | None:
        """The fields, in lower case; None: one appears twice, or is reserved."""
        fields: list[str] = []
        while form:
            form, raw = self._known[form]
            fields.append(raw.decode("ascii", "replace").lower())
        if len(set(fields)) < len(fields) or not RESERVED.isdisjoint(fields):
            return None
        return tuple(reversed(fields))
