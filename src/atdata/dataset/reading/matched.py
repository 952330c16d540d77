"""Samples of two datasets joined by key: in lockstep where they correspond, else by an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np

from atdata._arrays import Indices, Integers
from atdata._secrets import redacted_repr
from atdata._warnings import warn
from atdata.dataset.reading.derived import Derived, Part, fingerprint_of, runs_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.joined import JoinedRows
from atdata.dataset.reading.key_index import KeyIndex
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.random_access import RandomAccess
from atdata.dataset.reading.rows import MadeRows, Rows, Run, place_in
from atdata.errors import JoinError, MissingSamplesWarning
from atdata.samples.codec import codec_of, fields_of
from atdata.samples.dict_sample import DictSample
from atdata.samples.pickling import check_type
from atdata.shards.columns.column import LazyColumn
from atdata.system.forks import once

OnMissing: TypeAlias = Literal["raise", "skip", "none"]
"""What is done about a sample that the other dataset has no sample for."""
_KEYS_SHOWN: Final = 3


@redacted_repr
@dataclass(frozen=True, slots=True)
class Pairing:
    """How two samples become one."""

    sample_type: type
    left: Mapping[str, str]
    """Field of the type → field of the left sample."""
    right: Mapping[str, str]
    """Field of the type → field of the right sample."""
    prefix: str
    """What comes before the names of the right sample's fields, where the type is `DictSample`."""

    def of(self, left: Any, right: Any | None) -> Any:
        """One sample of two; of one, the fields of the other are None, or missing."""
        if self.sample_type is DictSample:
            values = _items(left)
            for name, value in ({} if right is None else _items(right)).items():
                if (named := self.prefix + name) in values:
                    raise JoinError(
                        f"Both samples have a field {named!r}. Name the other's with prefix=…."
                    )
                values[named] = value
            return DictSample(values)
        values = {name: getattr(left, source) for name, source in self.left.items()}
        for name, source in self.right.items():
            values[name] = None if right is None else getattr(right, source)
        return codec_of(self.sample_type).build(values)


def _items(sample: Any) -> dict[str, Any]:
    if isinstance(sample, DictSample):
        return DictSample.to_dict(sample)
    return {name: getattr(sample, name) for name in fields_of(type(sample))}


@redacted_repr
@dataclass(frozen=True, slots=True)
class PairedRows(MadeRows):
    """Rows of two datasets."""

    left: Rows
    right: Rows | None
    at: Integers | None
    """Row of the right for each of the left, -1: none; None: they correspond."""
    pairing: Pairing

    @classmethod
    def of(cls, left: Rows, right: Rows | None, at: Integers, pairing: Pairing) -> PairedRows:
        """The rows of the left, each with the row of the right that ``at`` says; -1: none."""
        if right is None or bool((at < 0).any()):
            return cls(left, right, at, pairing)
        if len(right) != len(at) or not np.array_equal(at, np.arange(len(at))):
            right = right.take(at)
        return cls(left, right, None, pairing)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def keys(self) -> Sequence[str]:
        return self.left.keys

    def samples(self) -> list[Any]:
        rights: list[Any] = [] if self.right is None else self.right.samples()
        if self.at is not None:
            rights = [rights[row] if row >= 0 else None for row in self.at.tolist()]
        return list(map(self.pairing.of, self.left.samples(), rights))

    def columns(self) -> dict[str, LazyColumn] | None:
        if self.at is not None or self.right is None or self.pairing.sample_type is DictSample:
            return None
        left, right = self.left.columns(), self.right.columns()
        if left is None or right is None:
            return None
        own = {name: left[source] for name, source in self.pairing.left.items()}
        return own | {name: right[source] for name, source in self.pairing.right.items()}

    def place(self, row: int) -> tuple[str, int] | None:
        """See `place_in`."""
        return place_in([self.left], row)

    def take(self, indices: Indices) -> PairedRows:
        left = self.left.take(indices)
        if self.at is None and self.right is not None:
            return replace(self, left=left, right=self.right.take(indices))
        assert self.at is not None
        return PairedRows.of(left, self.right, self.at[indices], self.pairing)


class Matched(Derived):
    """The samples of one dataset, each with the fields of another's with the same key.

    A sample is joined with the one at the same position, if its key is the same; else with the one
    that has its key, and then no two may have one.

    Args:
        left: Says which samples there are, and in which order.
        right: Has more fields of them.
        pairing: What two of them become.
        on_missing: What is done if the right has none.
    """

    def __init__(self, left: Part, right: Part, pairing: Pairing, on_missing: OnMissing) -> None:
        super().__init__([left, right])
        self._pairing = pairing
        self._on_missing = on_missing

    _COMPUTED: Final = ("inner", "other", "left_index", "index")

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dict__ if name not in self._COMPUTED}

    def over(self, change: Callable[[Any], Any]) -> Self:
        made = super().over(change)
        for name in self._COMPUTED:
            made.__dict__.pop(name, None)
        return made

    @once
    def inner(self) -> Epoch:
        """The left, in stored order."""
        return self.parts[0]._epoch(None)

    @once
    def other(self) -> Epoch:
        """The right, in stored order."""
        return self.parts[1]._epoch(None)

    @once
    def left_index(self) -> KeyIndex:
        """The keys of the left."""
        return KeyIndex(self.parts[0])

    @once
    def index(self) -> KeyIndex:
        """The keys of the right."""
        return KeyIndex(self.parts[1])

    @property
    def samples(self) -> int:
        return len(self.inner)

    def known_samples(self) -> int | None:
        return self.parts[0]._known_samples()

    @property
    def fingerprint(self) -> str:
        pairing = self._pairing
        fields = sorted(pairing.left.items()), sorted(pairing.right.items()), pairing.prefix
        return fingerprint_of(
            self.inner.fingerprint, self.other.fingerprint, self._on_missing, *fields
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.inner.sizes

    @property
    def is_filtered(self) -> bool:
        return self.parts[0]._is_filtered or self._on_missing == "skip"

    @property
    def type_is_known(self) -> bool:
        return True

    def check_sendable(self) -> None:
        super().check_sendable()
        check_type(self._pairing.sample_type)

    def numbers_of(self, positions: Integers) -> Integers | None:
        return self.parts[0]._origin.numbers_of(positions)

    def position_of(self, key: str) -> int:
        part = self.parts[0]
        if not isinstance(part._origin, PositionedShards):
            return part._origin.position_of(key)
        access = RandomAccess(part._origin, codec_of(DictSample))
        return int(access.by_key(key).positions[0])

    def fetch(self, positions: Integers) -> tuple[PairedRows, Integers]:
        wanted, back = np.unique(positions, return_inverse=True)
        left, kept = self.inner.finish(self.inner.fetch(wanted), slice(None))
        rows, paired = self._paired(left, self._found(left.keys, wanted[kept]))
        at = np.full(len(wanted), -1, np.int64)
        at[kept[paired]] = np.arange(len(paired))
        return rows, at[back.reshape(-1)]

    def finish(self, fetched: tuple[PairedRows, Integers], part: Indices) -> tuple[Rows, Integers]:
        rows, at = fetched
        wanted = at[part]
        kept = np.flatnonzero(wanted >= 0)
        return rows.take(wanted[kept]), kept

    def in_order(self, size: int | None, *, copy: bool) -> Iterator[Run] | None:
        runs = self.parts[0]._in_order(size, copy=copy)
        return None if runs is None else self._in_lockstep(runs, size, copy)

    def _in_lockstep(self, runs: Iterator[Run], size: int | None, copy: bool) -> Iterator[Run]:
        fields = fields_of(self.parts[1].sample_type)
        used = _Used()
        with (
            closing(runs),  # type: ignore[type-var]
            closing(_Following(runs_of(self.parts[1], size, copy=copy))) as following,
        ):
            for rows, taken in runs:
                keys = list(rows.keys)
                parts, at = following.rows_at(taken - 1)
                here = [key for part in parts for key in part.keys]
                same = np.array(
                    [
                        row >= 0 and here[row] == key
                        for row, key in zip(at.tolist(), keys, strict=True)
                    ],
                    bool,
                )
                at[~same] = -1
                if not same.all():
                    rest = np.flatnonzero(~same)
                    if 2 * len(rest) > len(keys):
                        following.close()
                    found = self._by_key([keys[row] for row in rest.tolist()])
                    if self.parts[0]._known_samples() is None:
                        used.add(found, self.parts[0])
                    right, places = self._read([keys[row] for row in rest.tolist()], found)
                    if right is not None:
                        at[rest] = np.where(places >= 0, places + len(here), -1)
                        parts = [*parts, right]
                gathered: Rows | None = None
                if parts:
                    count = sum(map(len, parts))
                    one = len(parts) == 1
                    gathered = parts[0] if one else JoinedRows(parts, np.arange(count), fields)
                joined, kept = self._complete(rows, gathered, at)
                yield joined, taken[kept]

    def _found(self, keys: Sequence[str], positions: Integers) -> Integers:
        """The position in the right of each left sample; -1: there is none."""
        found = np.full(len(positions), -1, np.int64)
        inside = np.flatnonzero(positions < len(self.other))
        if len(inside):
            there, kept = self._keys_at(positions[inside])
            mine = [keys[row] for row in inside[kept].tolist()]
            same = np.array([a == b for a, b in zip(mine, there, strict=True)], bool)
            at = inside[kept][same]
            found[at] = positions[at]
        rest = np.flatnonzero(found < 0)
        if len(rest):
            found[rest] = self._by_key([keys[row] for row in rest.tolist()])
        return found

    def _keys_at(self, positions: Integers) -> tuple[Sequence[str], Integers]:
        """Keys of the right, and which of the positions have one."""
        part = self.parts[1]
        if isinstance(part._origin, PositionedShards) and not part._is_filtered:
            access = RandomAccess(part._origin, codec_of(DictSample))
            return access.keys(positions), np.arange(len(positions))
        rows, kept = self.other.finish(self.other.fetch(positions), slice(None))
        return rows.keys, kept

    def _by_key(self, keys: Sequence[str]) -> Integers:
        part = self.parts[0]
        # Where the left is a stream, which is read only once, `_Used` finds out.
        if isinstance(part._origin, PositionedShards) and part._known_samples() is not None:
            self.left_index.check()
        return self.index.find(keys)

    def _paired(self, left: Rows, found: Integers) -> tuple[PairedRows, Integers]:
        right, at = self._read(left.keys, found)
        return self._complete(left, right, at)

    def _read(self, keys: Sequence[str], found: Integers) -> tuple[Rows | None, Integers]:
        """Rows of the right at some positions, and which of them each is; -1: none."""
        at = np.full(len(found), -1, np.int64)
        have = np.flatnonzero(found >= 0)
        if not len(have):
            return None, at
        wanted, back = np.unique(found[have], return_inverse=True)
        rows, kept = self.other.finish(self.other.fetch(wanted), slice(None))
        rows_of = np.full(len(wanted), -1, np.int64)
        rows_of[kept] = np.arange(len(kept))
        at[have] = rows_of[back.reshape(-1)]
        there = rows.keys
        of_row = zip(have.tolist(), at[have].tolist(), strict=True)
        wrong = np.array([r for r, n in of_row if n >= 0 and there[n] != keys[r]], np.int64)
        if len(wrong):
            # A wrong table was found while they were read; or another key has the same hash.
            self.__dict__.pop("index", None)
            again = self.index.find([keys[row] for row in wrong.tolist()])
            if not np.array_equal(again, found[wrong]):
                found = found.copy()
                found[wrong] = again
                return self._read(keys, found)
            at[wrong] = -1
        return rows, at

    def _complete(
        self, left: Rows, right: Rows | None, at: Integers
    ) -> tuple[PairedRows, Integers]:
        """Rows of both, and which of the left's are among them."""
        missing = np.flatnonzero(at < 0).tolist()
        kept = np.arange(len(at))
        if missing:
            keys = [left.keys[row] for row in missing[:_KEYS_SHOWN]]
            shown = ", ".join(f"{key!r:.80}" for key in keys)
            of = f"{len(missing):,} of {len(at):,} samples that were read together"
            if self._on_missing == "raise":
                raise JoinError(
                    f"{self.parts[1]!r} has no sample for {of}: {shown}"
                    f"{' …' if len(missing) > len(keys) else ''}. Leave them out with "
                    'on_missing="skip", or have None in their place with "none".'
                )
            left_out = "left out" if self._on_missing == "skip" else "joined with None"
            warn(MissingSamplesWarning(f"{of} were {left_out}. The first keys: {shown}"))
            if self._on_missing == "skip":
                kept = np.flatnonzero(at >= 0)
                left, at = left.take(kept), at[kept]
        return PairedRows.of(left, right, at, self._pairing), kept

    def shown(self) -> str:
        return f"{self.parts[0]!r} joined with {self.parts[1]!r}"


class _Following:
    """A stream of the right, read as far as the left is."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self._runs: Iterator[Run] | None = runs
        self._held: list[tuple[Rows, Integers]] = []
        self._end = 0

    def close(self) -> None:
        """Read no more of it."""
        if self._runs is not None:
            self._runs.close()  # type: ignore[attr-defined]
        self._runs, self._held = None, []

    def rows_at(self, positions: Integers) -> tuple[list[Rows], Integers]:
        """Rows at ascending positions, in parts; and which of them each is, -1: none."""
        at = np.full(len(positions), -1, np.int64)
        if not len(positions):
            return [], at
        while self._runs is not None and self._end <= positions[-1]:
            found = next(self._runs, None)
            if found is None:
                break
            rows, taken = found
            if len(rows):
                self._held.append((rows, taken - 1))
                self._end = int(taken[-1])
        self._held = [held for held in self._held if held[1][-1] >= positions[0]]
        parts: list[Rows] = []
        count = 0
        for rows, places in self._held:
            mine = np.flatnonzero(np.isin(places, positions, assume_unique=True))
            if not len(mine):
                continue
            at[np.searchsorted(positions, places[mine])] = count + np.arange(len(mine))
            first, last = int(mine[0]), int(mine[-1]) + 1
            whole = last - first == len(mine)
            part: Indices = slice(first, last) if whole else mine
            parts.append(rows if len(mine) == len(rows) else rows.take(part))
            count += len(mine)
        return parts, at


class _Used:
    """Samples of the right that were joined by key in one reading, each with one of the left."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, found: Integers, left: Part) -> None:
        """Add positions.

        Raises:
            JoinError: Two samples of the left have one key.
        """
        for position in found[found >= 0].tolist():
            if position in self._seen:
                raise JoinError(
                    f"Two samples of {left!r} have one key: that of position {position:,} of the "
                    "other dataset. Samples are joined by key, so that each needs one of its own."
                )
            self._seen.add(position)
