"""Which members samples have, and where in each sample they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import numpy as np

from atdata._arrays import Integers, distinct
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK

WITH_MTIME: Final = 3 * BLOCK
"""Bytes before a member's data where its header comes after one that holds its mtime."""
UNKNOWN: Final = -1
"""The form of a sample whose members were not looked for, or do not have plain headers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Samples with the same members in the same order."""

    rows: Integers
    """Which samples, in order, shape (n,)."""
    fields: tuple[str, ...]
    starts: Integers
    """Where the data of each member begin, counted from the sample's first header; shape (n,
    members)."""
    ends: Integers


@dataclass(frozen=True, slots=True)
class Inside:
    """The members of samples, in stored order. Each has a plain header right before its data."""

    forms: tuple[tuple[str, ...], ...]
    """Lists of fields, in lower case, each the members of some samples."""
    form: Integers
    """Number of each sample's list, or `UNKNOWN`; shape (n,)."""
    firsts: Integers
    """Number of each sample's first member, shape (n,)."""
    starts: Integers
    """Where the data of each member begin, counted from its sample's first header; shape (members
    of all,)."""
    ends: Integers

    def __len__(self) -> int:
        return len(self.form)

    @classmethod
    def unknown(cls, count: int) -> Inside:
        """Samples whose members are not known."""
        none = np.empty(0, np.int64)
        return cls((), np.full(count, UNKNOWN), np.zeros(count, np.int64), none, none)

    @classmethod
    def of_groups(cls, groups: Sequence[Group], count: int) -> Inside:
        """Samples of these groups; those of none are unknown.

        Args:
            groups: The groups.
            count: How many samples there are.
        """
        form, firsts = np.full(count, UNKNOWN), np.zeros(count, np.int64)
        before = 0
        for number, group in enumerate(groups):
            form[group.rows] = number
            firsts[group.rows] = before + np.arange(len(group.rows)) * len(group.fields)
            before += group.starts.size
        none = [np.empty(0, np.int64)]
        starts = np.concatenate(none + [group.starts.reshape(-1) for group in groups])
        ends = np.concatenate(none + [group.ends.reshape(-1) for group in groups])
        return cls(tuple(group.fields for group in groups), form, firsts, starts, ends)

    @classmethod
    def joined(cls, parts: Sequence[Inside]) -> Inside:
        """Several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        numbers: dict[tuple[str, ...], int] = {}
        forms = []
        for part in parts:
            own = [numbers.setdefault(form, len(numbers)) for form in part.forms]
            forms.append(np.array([*own, UNKNOWN])[part.form])
        before = accumulate((len(part.starts) for part in parts), initial=0)
        firsts = [part.firsts + shift for part, shift in zip(parts, before, strict=False)]
        starts, ends = ([getattr(part, name) for part in parts] for name in ("starts", "ends"))
        columns = (np.concatenate(column) for column in (forms, firsts, starts, ends))
        return cls(tuple(numbers), *columns)

    def take(self, rows: slice | Integers) -> Inside:
        """Some of the samples, in the order of ``rows``."""
        return replace(self, form=self.form[rows], firsts=self.firsts[rows])

    def groups(self) -> Iterator[Group]:
        """Samples with the same members."""
        for number in distinct(self.form).tolist():
            if number != UNKNOWN:
                rows, fields = np.flatnonzero(self.form == number), self.forms[number]
                which = self.firsts[rows][:, None] + np.arange(len(fields))
                yield Group(rows, fields, self.starts[which], self.ends[which])

    def left(self) -> Integers:
        """The samples whose members are not known, in order."""
        return np.flatnonzero(self.form == UNKNOWN)

    def of_row(self, row: int) -> tuple[tuple[str, ...], list[tuple[int, int]]] | None:
        """The fields of one sample, and where the data of each begin and end; None: not known."""
        number, first = int(self.form[row]), int(self.firsts[row])
        if number == UNKNOWN:
            return None
        fields = self.forms[number]
        part = slice(first, first + len(fields))
        places = zip(self.starts[part].tolist(), self.ends[part].tolist(), strict=True)
        return fields, list(places)

    def check(self, sizes: Integers) -> None:
        """Check that members fill their samples, with room for headers and an mtime before each.

        Args:
            sizes: Bytes of each sample, from its first header to the end of its last member's data.

        Raises:
            ShardError: They do not.
        """
        for group in self.groups():
            before = np.zeros_like(group.starts)
            before[:, 1:] = (group.ends[:, :-1] + BLOCK - 1) // BLOCK * BLOCK
            gaps = group.starts - before
            good = ((gaps == BLOCK) | (gaps == WITH_MTIME)).all()
            good &= (group.ends >= group.starts).all()
            if not good or (group.ends[:, -1] != sizes[group.rows]).any():
                raise ShardError("a sample table whose members do not fill their samples")


def rows_by_form(form: Integers) -> Iterator[tuple[int, Integers]]:
    """The rows of each number but `UNKNOWN`, in order; as fast where each row has its own."""
    order = np.argsort(form, kind="stable")
    firsts = np.flatnonzero(np.diff(form[order], prepend=UNKNOWN - 1))
    for rows in np.split(order, firsts[1:]) if len(order) else ():
        number = int(form[rows[0]])
        if number != UNKNOWN:
            yield number, rows
