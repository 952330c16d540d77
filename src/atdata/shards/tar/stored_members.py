"""The members of samples as a table has them: which fields each sample has, and where they are."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from atdata._arrays import Integers, distinct
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.inside import UNKNOWN, Group, Inside
from atdata.system.forks import once

_HEAD: Final = struct.Struct("<QQ")
_MOST_BYTES: Final = 2**32 - 1
"""Bytes of the largest sample whose members have room in a table."""


class StoredMembers:
    """Which members samples have, in the bytes of a table.

    Args:
        data: What `stored` gives; kept, not copied.
        count: How many samples there are.

    Raises:
        ShardError: The bytes are not of so many samples.
    """

    def __init__(self, data: memoryview, count: int) -> None:
        if len(data) < _HEAD.size:
            raise ShardError("a sample table without the members of its samples")
        members, name_bytes = _HEAD.unpack_from(data)
        names_at = _HEAD.size + 4 * count + 8 * members
        if names_at + name_bytes != len(data) or name_bytes > limits.extended_bytes:
            raise ShardError(f"a sample table that claims {members:,} members")
        try:
            lists = str(data[names_at:], "ascii").split("\0\0")[:-1]
        except UnicodeDecodeError:
            raise ShardError("a sample table with names of members that are not ASCII") from None
        self._forms = tuple(tuple(names.split("\0")) for names in lists)
        self._form: Any = np.frombuffer(data, "<i4", count, _HEAD.size)
        self._starts: Any = np.frombuffer(data, "<u4", members, _HEAD.size + 4 * count)
        self._sizes: Any = np.frombuffer(data, "<u4", members, _HEAD.size + 4 * (count + members))

    @once
    def _firsts(self) -> Integers:
        """Number of each sample's first member."""
        counts = np.array([*map(len, self._forms), 0])
        form = self._form
        if len(form) and not (form.min() >= UNKNOWN and form.max() < len(self._forms)):
            raise ShardError("a sample table with members that it does not name")
        each = counts[form]
        if int(each.sum()) != len(self._starts):
            raise ShardError("a sample table with more or fewer members than its samples have")
        firsts: Integers = np.cumsum(each) - each
        return firsts

    def of_rows(self, rows: Integers, sizes: Integers) -> Inside:
        """The members of some samples; a copy.

        Args:
            rows: Which samples.
            sizes: Bytes of each, from its first header to the end of its last member's data.

        Raises:
            ShardError: They do not fill their samples.
        """
        # Another process may overwrite a mapped table, so what is checked are copies.
        form, firsts = self._form[rows].astype(np.int64), self._firsts[rows]
        groups: list[Group] = []
        for number in distinct(form).tolist():
            if number == UNKNOWN:
                continue
            mine = np.flatnonzero(form == number)
            fields = self._forms[number] if 0 <= number < len(self._forms) else ()
            which = firsts[mine][:, None] + np.arange(len(fields))
            if not fields or int(which.max()) >= len(self._starts):
                raise ShardError("a sample table with members that it does not name")
            starts = self._starts[which].astype(np.int64)
            groups.append(Group(mine, fields, starts, starts + self._sizes[which]))
        found = Inside.of_groups(groups, len(rows))
        found.check(sizes)
        return found


def stored(inside: Inside) -> bytes:
    """Members as bytes of a table; of lists of names that take too much room, nothing is kept."""
    groups: list[Group] = []
    names: dict[tuple[str, ...], int] = {}
    room = limits.extended_bytes
    for group in inside.groups():
        if group.fields not in names:
            size = sum(map(len, group.fields)) + len(group.fields) + 1
            # Two zeros end a list, so that no name in it can be empty.
            if size > room or not all(group.fields) or not all(map(str.isascii, group.fields)):
                continue
            room -= size
            names[group.fields] = len(names)
        small = group.ends[:, -1] <= _MOST_BYTES
        kept = group.rows[small], group.fields, group.starts[small], group.ends[small]
        groups.append(Group(*kept))
    form = np.full(len(inside), UNKNOWN)
    for group in groups:
        form[group.rows] = names[group.fields]
    counts = np.array([*map(len, names), 0])[form]
    firsts = np.cumsum(counts) - counts
    starts, sizes = (np.zeros(int(counts.sum()), "<u4") for _ in range(2))
    for group in groups:
        which = firsts[group.rows][:, None] + np.arange(len(group.fields))
        starts[which], sizes[which] = group.starts, group.ends - group.starts
    text = "".join("\0".join(fields) + "\0\0" for fields in names).encode("ascii")
    head = _HEAD.pack(len(starts), len(text))
    return b"".join((head, form.astype("<i4").tobytes(), starts.tobytes(), sizes.tobytes(), text))
