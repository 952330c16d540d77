"""Positions by key, in 16 bytes a sample: which sample of a dataset has a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atdata._arrays import Integers
from atdata.dataset.reading.derived import Part, runs_of
from atdata.dataset.reading.positions import PositionedShards
from atdata.errors import JoinError
from atdata.system.forks import once


class KeyIndex:
    """The keys of a dataset, read when one is first looked for.

    Args:
        part: The dataset. Of shards, their tables are read; of anything else, all samples.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    def find(self, keys: Sequence[str]) -> Integers:
        """The position of the sample with each key; -1: none has it.

        Another key may have the same hash: who reads the sample compares its key.

        Raises:
            JoinError: Two samples of the dataset have one key.
        """
        found = self._find(keys)
        if bool((found < 0).any()) and self._confirms():
            found = self._find(keys)
        return found

    def _find(self, keys: Sequence[str]) -> Integers:
        hashes, positions, collided = self._entries
        found = np.full(len(keys), -1, np.int64)
        if len(hashes):
            wanted = np.fromiter(map(hash, keys), np.int64, len(keys))
            at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
            found = np.where(hashes[at] == wanted, positions[at], -1)
        if collided:
            found = np.array(
                [collided.get(k, p) for k, p in zip(keys, found.tolist(), strict=True)]
            )
        return found

    def _confirms(self) -> bool:
        """Whether tables of local shards had hidden samples. Each is compared once with headers."""
        origin: Any = self._part._origin
        if not isinstance(origin, PositionedShards):
            return False
        found = [origin.tables.confirm(number) for number in range(len(origin.each))]
        if any(found):
            self.__dict__.pop("_entries", None)
        return any(found)

    def check(self) -> None:
        """Read all keys.

        Raises:
            JoinError: Two samples have one key.
        """
        _ = self._entries

    @once
    def _entries(self) -> tuple[Integers, Integers, dict[str, int]]:
        """Hashes of all keys, ascending; their positions; and of keys with equal hashes theirs."""
        some, where = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for keys, positions in _keys_of(self._part):
            some.append(np.fromiter(map(hash, keys), np.int64, len(keys)))
            where.append(positions)
        hashes, places = np.concatenate(some), np.concatenate(where)
        order = np.argsort(hashes, kind="stable")
        hashes, places = hashes[order], places[order]
        collided: dict[str, int] = {}
        for row in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            for position in places[row : row + 2].tolist():
                key = self._key(position)
                before = collided.setdefault(key, position)
                if before != position:
                    raise JoinError(
                        f"Two samples of {self._part!r} have the key {key!r}: at the positions "
                        f"{before:,} and {position:,}. Samples are joined by key, so that each "
                        "needs one of its own."
                    )
        return hashes, places, collided

    def _key(self, position: int) -> str:
        epoch = self._part._epoch(None)
        rows, _ = epoch.finish(epoch.fetch(np.array([position])), slice(None))
        return str(rows.keys[0])


def _keys_of(part: Part) -> Iterator[tuple[Sequence[str], Integers]]:
    """All keys, with their positions."""
    origin: Any = part._origin
    if isinstance(origin, PositionedShards) and not part._is_filtered:
        for number, end in enumerate(origin.ends.tolist()):
            table = origin.tables.table(number)
            rows = np.arange(len(table))
            yield table.keys(rows), end - len(table) + rows
            origin.tables.release_pages(number)
        return
    for found, taken in runs_of(part):
        yield found.keys, taken - 1
