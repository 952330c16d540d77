"""Parts of a conversion: each becomes one shard, whichever process writes it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from atdata._digest import sha256_of
from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata._shardlist import Layout, ShardInfo
from atdata.dataset.counted import Origin
from atdata.dataset.dataset import Dataset
from atdata.dataset.reading.derived import Derived, DerivedEpoch
from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, read_epoch
from atdata.dataset.reading.in_order import read_shard
from atdata.dataset.reading.packed import checked_samples, packed_rows
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import positions_in
from atdata.dataset.reading.rows import Rows
from atdata.dataset.reading.shards import Shard
from atdata.dataset.reading.steps import Steps
from atdata.errors import DecodeError, ShardError, SourceError, StoreError
from atdata.samples.codec import codec_of
from atdata.shards.members_writer import key_of, pack_members
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import SUFFIX
from atdata.shards.writer import PackedSample, write_keyed
from atdata.sources.capabilities import ranges_of, uncached
from atdata.system.durable import place_file
from atdata.system.files import open_file

_RECORD: Final = ".json"
"""What follows the number of a part in the name of the file that says it is whole."""


@redacted_repr
@dataclass(frozen=True, slots=True)
class Part:
    """What is recorded of a part that is written whole."""

    number: int
    samples: int
    """0: it has no shard."""
    bytes: int
    sha256: str
    skipped: int
    """Samples that could not be decoded and were left out."""
    first: str
    """The error of the first of them."""
    inputs: list[list[Any]]
    """What tells the versions of the shards that it was made of."""
    unread: Mapping[str, Mapping[str, int]]
    """Shard → members of it that are not samples."""


@redacted_repr
@dataclass(frozen=True)
class PartWriter:
    """Writes parts to a folder, each with its table and a record, which comes last.

    Args:
        dataset: What is converted.
        folder: Where the parts go.
        layout: The layout of their samples.
        samples: Stored samples of a part; None: those of one shard.
        fsync: Whether to wait for the disk.
    """

    dataset: Dataset[Any]
    folder: Path
    layout: Layout
    samples: int | None
    fsync: bool

    @property
    def _origin(self) -> Origin:
        return self.dataset._origin

    def count(self) -> int:
        """Number of parts."""
        if self.samples is not None:
            return -(-self._origin.samples // self.samples)
        return len(self._origin.each) if isinstance(self._origin, PositionedShards) else 1

    def __call__(self, number: int) -> Part:
        """Write a part, unless it is there already.

        Raises:
            StoreError: It is there, made of other versions of its shards; or the disk is full.
        """
        inputs = self._versions(number)
        found = self._existing(number)
        if found is not None and found.inputs != inputs:
            changed = next(a[0] for a, b in zip(inputs, found.inputs, strict=True) if a != b)
            raise StoreError(
                f"{changed} was changed since an unfinished conversion of it began, whose finished "
                f"parts are in {self.folder}. Nothing was replaced. Begin again: restart=True."
            )
        return found or self._written(number, inputs)

    def path(self, number: int) -> Path:
        """The shard of a part."""
        return self.folder / f"{number:06d}.tar"

    def table(self, number: int) -> bytes:
        """The table of a part."""
        return self._table_path(number).read_bytes()

    def _table_path(self, number: int) -> Path:
        path = self.path(number)
        return path.with_name(path.name + SUFFIX)

    def _shards_of(self, number: int) -> Sequence[Shard]:
        """The shards that a part is made of."""
        if isinstance(self._origin, Derived):
            return self._origin.each
        if self.samples is None:
            return [self._origin.each[number]]
        start, stop = self._range(number)
        first, last = self._origin.numbers_of(np.array([start, stop - 1])).tolist()
        return self._origin.each[first : last + 1]

    def _versions(self, number: int) -> list[list[Any]]:
        return [_version_of(shard, self._origin.source) for shard in self._shards_of(number)]

    def _range(self, number: int) -> tuple[int, int]:
        start = number * (self.samples or 0)
        return start, min(start + (self.samples or self._origin.samples), self._origin.samples)

    def _existing(self, number: int) -> Part | None:
        """A part that an unfinished run wrote, read whole to see that it is."""
        try:
            part = Part(**json.loads(self.path(number).with_suffix(_RECORD).read_bytes()))
            if part.samples:
                with open_file(self.path(number)) as stream:
                    whole = sha256_of(stream) == (part.sha256, part.bytes)
                if not whole or not self._table_path(number).exists():
                    return None
        except (OSError, ValueError, TypeError):
            return None
        return part

    def _written(self, number: int, inputs: list[list[Any]]) -> Part:
        skipped: list[tuple[int, DecodeError]] = []
        steps = self.dataset._steps.reporting(lambda some, _, first: skipped.append((some, first)))
        packed = self._packed(number, steps)
        first = next(packed, None)
        info = ShardInfo("", 0, 0, "")
        if first is not None:
            info = write_keyed(
                chain([first], packed),
                _Sink(self, number),
                stem=f"{number:06d}",
                maxcount=self.samples or self._most(),
                fsync=self.fsync,
            ).shards[0]
        unread = {}
        if isinstance(self._origin, PositionedShards):
            found = self._origin.unread
            unread = {shard.name: found.of(shard.name) for shard in self._shards_of(number)}
        part = Part(
            number,
            info.samples or 0,
            info.bytes or 0,
            info.sha256 or "",
            sum(some for some, _ in skipped),
            str(skipped[0][1]) if skipped else "",
            inputs,
            unread,
        )
        for shard, before, after in zip(
            self._shards_of(number), inputs, self._versions(number), strict=True
        ):
            if before != after:
                raise shard.changed()
        self._put(json.dumps(asdict(part)).encode(), self.path(number).with_suffix(_RECORD))
        return part

    def _most(self) -> int | None:
        """Most samples of a part that is not cut; None: it is one shard's."""
        return max(1, self._origin.samples) if isinstance(self._origin, Derived) else None

    def _packed(self, number: int, steps: Steps) -> Iterator[PackedSample]:
        if self.layout == "members":
            yield from self._packed_members(number, steps)
            return
        for rows, keys, numbers in self._rows(number, steps):
            found = packed_rows(rows, steps, self.dataset.sample_type)
            for (_, payload), key, shard in zip(found, keys, numbers, strict=True):
                yield PackedSample(key, payload, shard)

    def _packed_members(self, number: int, steps: Steps) -> Iterator[PackedSample]:
        codec = codec_of(self.dataset.sample_type)
        seen: set[str] = set()
        for rows, keys, numbers in self._rows(number, steps):
            found = checked_samples(rows, codec.sample_type)
            for (_, sample), stored, shard in zip(found, keys, numbers, strict=True):
                key = key_of(sample, codec, stored)
                if key in seen and shard:
                    # Keys are unique within a shard only, and two shards may become one here.
                    key = f"{key}-{shard:06d}"
                seen.add(key)
                yield pack_members(sample, codec, key)

    def _rows(
        self, number: int, steps: Steps
    ) -> Iterator[tuple[Rows, Sequence[str], Sequence[int]]]:
        """The rows of a part, with the key of each and the number of its shard."""
        origin = self._origin
        if self.samples is None and isinstance(origin, PositionedShards):
            for rows in read_shard(origin, number, steps):
                yield rows, rows.keys, [0] * len(rows)
            return
        ranges = [self._range(number)]
        epoch: Epoch
        if isinstance(origin, Derived):
            epoch = DerivedEpoch(origin, steps, None)
        else:
            epoch = DatasetEpoch(origin, steps, None)
        for rows, taken in read_epoch(epoch, ranges, size=None):
            positions = positions_in(ranges, taken - 1)
            numbers = origin.numbers_of(positions)
            if numbers is not None:
                yield rows, rows.keys, numbers.tolist()
            else:
                # One sample may be chosen twice, and several datasets may have one key.
                keys = [f"{position:09d}" for position in positions.tolist()]
                yield rows, keys, [0] * len(rows)

    def _put(self, data: bytes, path: Path) -> None:
        with disk_errors(path):
            part = path.with_name(f".{path.name}.part")
            part.write_bytes(data)
            place_file(part, path, sync=self.fsync)


class _Sink:
    """Where the shard of a part goes."""

    def __init__(self, writer: PartWriter, number: int) -> None:
        self._writer, self._number = writer, number

    def scratch(self) -> Path:
        return self._writer.folder

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        path = self._writer.path(self._number)
        with disk_errors(path):
            file.replace(path)
        return str(path)

    def accept_table(self, name: str, table: bytes) -> None:
        self._writer._put(table, self._writer._table_path(self._number))

    def discard(self) -> None:
        """Nothing is left: `ShardQueue` removes its own file."""


def _version_of(shard: Shard, source: DataSource) -> list[Any]:
    """What tells the version of a shard from others.

    Of a file its size and time; of others the recorded hash, or size and first bytes.
    """
    path = shard.located()
    if path is not None:
        with suppress(OSError):
            found = path.stat()
            return [shard.name, found.st_size, found.st_mtime_ns]
    if path is None and shard.recorded.sha256 is not None:
        return [shard.name, shard.recorded.sha256]
    ranges = ranges_of(uncached(source), shard.name) if path is None else None
    if ranges is not None:
        with suppress(SourceError, ShardError):
            head = bytearray(BLOCK)
            ranges.read_into(memoryview(head), 0)
            return [shard.name, ranges.size, head.hex()]
    return [shard.name]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into our error.

    Raises:
        StoreError: The disk is full, or cannot be written.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        full = " Free some space." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StoreError(
            f"{path}: the disk cannot take it ({error.strerror or error}).{full} "
            "Nothing was placed under its final name."
        ) from error
