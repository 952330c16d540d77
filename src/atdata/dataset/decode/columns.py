"""Columns of pictures → arrays"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata._secrets import redacted_repr
from atdata._warnings import warn
from atdata.dataset.decode.options import Decode, decoded_fields
from atdata.dataset.decode.picture import Decoder
from atdata.dataset.decode.threads import Jobs, processors
from atdata.errors import DecodeError, OptionError, RaggedFieldError, SkippedSamplesWarning
from atdata.samples.batch import SampleBatch, columnar, replaced, taken
from atdata.samples.media import Image
from atdata.shards.columns.column import Buffers

_buffers: Final = Buffers(3, largest=1 << 28)
"""Memory for decoded batches: one in use, one that is decoded meanwhile, one that was dropped. 256
pictures of 224 × 224 in float32 take 154 MB."""
Place: TypeAlias = Callable[[int], "tuple[str, int] | None"]
"""Number of a row in a batch → its shard, and where in that its payload begins; None: unknown."""


@redacted_repr
@dataclass(frozen=True)
class Decoding:
    """What is made of the pictures of each batch.

    Args:
        decode: Field name → how.
        seed: Of what is random: the seed and the epoch of the order.
        workers: Processes that decode at the same time, and share the processors.
        skip: Whether samples whose pictures cannot be decoded are left out of their batch. One
            warning counts those of each batch.
    """

    decode: Mapping[str, Decode]
    seed: tuple[int, ...] = (0, 0)
    workers: int = 1
    skip: bool = False

    def of(self, *seed: int, workers: int = 1) -> Decoding:
        """The same in another epoch."""
        return replace(self, seed=seed, workers=workers)

    def begin(self, batch: SampleBatch[Any], place: Place) -> DecodedBatch:
        """Begin to decode the pictures of a batch, in threads.

        Raises:
            OptionError: A field that the samples do not have, or that holds no pictures.
            RaggedFieldError: Values of samples without a type are no pictures.
        """
        held = columnar(batch)
        fields = decoded_fields(self.decode, held.kinds)
        if missing := sorted(self.decode.keys() - held.fields):
            raise OptionError(
                f"decode: there is no field {missing[0]!r}. The samples have: "
                f"{', '.join(map(str, held.fields))}."
            )
        columns: dict[str, _Column] = {}
        jobs: list[Jobs] = []
        for name, how in self.decode.items():
            threads = how.threads or max(1, processors() // self.workers)
            decoder = Decoder(how, self.seed)
            # Threads ask for keys: they are made here, once.
            columns[name] = _Column(
                name, decoder, held.values(name), held.key_list(), place, skip=self.skip
            )
            jobs.append(columns[name].begin(threads))

        def made() -> SampleBatch[Any]:
            return replaced(batch, {n: column.made for n, column in columns.items()}, fields)

        return DecodedBatch(list(columns.values()), jobs, made)


class DecodedBatch:
    """A batch whose pictures are being decoded.

    Args:
        columns: Those that are.
        jobs: What decodes each of them.
        made: Makes the batch, once they are.
    """

    def __init__(
        self, columns: list[_Column], jobs: list[Jobs], made: Callable[[], SampleBatch[Any]]
    ) -> None:
        self._columns = columns
        self._jobs = jobs
        self._made = made

    def result(self) -> SampleBatch[Any]:
        """The batch; waits for its pictures.

        Raises:
            DecodeError: A picture cannot be decoded; names shard, offset, key and field.
            MissingExtraError: The extra ``image`` is not installed.
        """
        for jobs in self._jobs:
            jobs.wait()
        made = self._made()
        lost = dict(found for column in self._columns for found in column.lost)
        if not lost:
            return made
        was = "sample was" if len(lost) == 1 else "samples were"
        warn(
            SkippedSamplesWarning(
                f"{len(lost):,} {was} left out of a batch of {len(made):,}, whose pictures cannot "
                f"be decoded. The first: {lost[min(lost)]}"
            )
        )
        return taken(made, [row for row in range(len(made)) if row not in lost])

    def cancel(self) -> None:
        """Decode no more of it."""
        for jobs in self._jobs:
            jobs.cancel()


def one_ahead(
    begun: Iterator[tuple[DecodedBatch, int]],
) -> Iterator[tuple[SampleBatch[Any], int]]:
    """Batches with their pictures decoded, the next one while one is used.

    Args:
        begun: Batches, each with a number that goes with it. An error of this is raised after
            the batch before it was given.
    """
    waiting: list[tuple[DecodedBatch, int]] = []
    try:
        while True:
            found, failed = None, None
            try:
                found = next(begun, None)
            except Exception as error:
                failed = error
            if found is not None:
                waiting.append(found)
            if len(waiting) > (found is not None):
                batch, number = waiting[0][0].result(), waiting.pop(0)[1]
                # Of one whose pictures are all left out, nothing is given.
                if len(batch):
                    yield batch, number
                del batch
            if failed is not None:
                raise failed
            if found is None:
                return
    finally:
        for left, _ in waiting:
            left.cancel()


class _Column:
    """The pictures of one field of a batch."""

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        values: list[Any],
        keys: Sequence[str],
        place: Place,
        *,
        skip: bool,
    ) -> None:
        wrong = next((v for v in values if not isinstance(v, Image | bytes | None)), None)
        if wrong is not None:
            raise RaggedFieldError(
                f"{name}: expected pictures to decode, found {type(wrong).__name__}."
            )
        self._name = name
        self._decoder = decoder
        self._values = values
        self._keys = keys
        self._place = place
        self._skip = skip
        self.lost: list[tuple[int, DecodeError]] = []
        """Rows that are left out, each with the reason."""
        self._rows = [row for row, value in enumerate(values) if value is not None]
        self.made: AnyArray | list[Any] = self._room()

    def _room(self) -> AnyArray | list[Any]:
        kind = self._decoder.kind
        sides = [side for side in kind.shape or () if side is not None]
        count = len(self._values)
        if len(self._rows) < count or len(sides) < 3:
            return [None] * count
        dtype = np.dtype(kind.dtype)
        size = count * int(np.prod(sides)) * dtype.itemsize
        room = _buffers.take(size) if size else np.empty(0, np.uint8)
        return room.view(dtype).reshape(count, *sides)

    def begin(self, threads: int) -> Jobs:
        """Begin to decode them.

        Nothing here refers to the jobs: they refer to this, and in a cycle the array of the batch
        would stay until garbage is collected.
        """
        return Jobs(threads, len(self._rows), self._decode)

    def _decode(self, number: int) -> None:
        row = self._rows[number]
        value, key = self._values[row], self._keys[row]
        data = value.bytes if isinstance(value, Image) else value
        try:
            if isinstance(self.made, list):
                self.made[row] = self._decoder.alone(data, key)
            else:
                self._decoder.into(self.made[row], data, key)
        except DecodeError as error:
            shard, offset = self._place(row) or (None, None)
            message = f"$.{self._name}: {error.problem}"
            named = DecodeError(message, shard=shard, offset=offset, key=key)
            if not self._skip:
                raise named from error
            self.lost.append((row, named))
