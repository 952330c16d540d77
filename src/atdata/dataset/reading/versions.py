"""Which version of each shard a dataset reads: the one that it met first, in all that it gives"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from atdata.errors import IntegrityError


class Versions:
    """What a dataset has seen of its shards. A shard that was changed since stays an error.

    Args:
        shards: Their identifiers.
    """

    def __init__(self, shards: tuple[str, ...]) -> None:
        self._shards = shards
        self._files: dict[int, tuple[int, int]] = {}
        """Size and time of change of local shards. Not their inodes: some file systems across a
        network give others each time."""
        self._samples: dict[int, int] = {}
        self._changed: dict[int, str] = {}
        """What was done to them."""

    def check(self, number: int) -> None:
        """Let a shard pass that was not found changed.

        Raises:
            IntegrityError: It was.
        """
        if number in self._changed:
            raise self.changed(number)

    def seen(self, number: int, stat: os.stat_result) -> None:
        """Told what file a local shard is, before and after something is learned of it.

        Raises:
            IntegrityError: It was another file before.
        """
        self.check(number)
        found = stat.st_size, stat.st_mtime_ns
        before = self._files.setdefault(number, found)
        if before != found:
            raise self.changed(number, "cut short" if found[0] < before[0] else "changed")

    def look(self, number: int, path: Path) -> None:
        """`seen` of what is there now; that it is missing, reading tells."""
        with suppress(OSError):
            self.seen(number, path.stat())

    def counted(self, number: int, samples: int) -> None:
        """Told how many samples a shard has, by whichever way they were counted.

        Raises:
            IntegrityError: It had another number before.
        """
        self.check(number)
        if self._samples.setdefault(number, samples) != samples:
            raise self.changed(number)

    def changed(self, number: int, how: str = "changed") -> IntegrityError:
        """The error of a shard that is no longer what it was; from now on it is one each time."""
        how = self._changed.setdefault(number, how)
        return IntegrityError(
            f"the dataset was opened before this shard, or its table in .idx beside it, was {how}. "
            "Open the dataset again",
            shard=self._shards[number],
        )
