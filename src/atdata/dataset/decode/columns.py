"""Columns of pictures → arrays"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata._secrets import redacted_repr
from atdata.dataset.decode.options import Decode, decoded_fields
from atdata.dataset.decode.picture import Decoder
from atdata.dataset.decode.threads import Jobs, processors
from atdata.errors import DecodeError, OptionError, RaggedFieldError
from atdata.samples.batch import SampleBatch, columnar, replaced
from atdata.samples.media import Image
from atdata.shards.columns.buffers import Buffers

_buffers: Final = Buffers(largest=1 << 28)
"""Memory for decoded batches: 256 pictures of 224 × 224 in float32 take 154 MB."""
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
    """

    decode: Mapping[str, Decode]
    seed: tuple[int, ...] = (0, 0)
    workers: int = 1

    def of(self, *seed: int, workers: int = 1) -> Decoding:
        """The same in another epoch."""
        return replace(self, seed=seed, workers=workers)

    def apply(self, batch: SampleBatch[Any], place: Place) -> SampleBatch[Any]:
        """A batch with its pictures decoded.

        Raises:
            DecodeError: A picture cannot be decoded; names shard, offset, key and field.
            OptionError: A field that the samples do not have, or that holds no pictures.
            MissingExtraError: The extra ``image`` is not installed.
        """
        held = columnar(batch)
        fields = decoded_fields(self.decode, held.kinds)
        if missing := sorted(self.decode.keys() - held.fields):
            raise OptionError(
                f"decode: there is no field {missing[0]!r}. The samples have: "
                f"{', '.join(map(str, held.fields))}."
            )
        columns = {
            name: self._column(name, how, held.values(name), held.keys, place)
            for name, how in self.decode.items()
        }
        return replaced(batch, columns, fields)

    def _column(
        self, name: str, how: Decode, values: list[Any], keys: Sequence[str], place: Place
    ) -> AnyArray | list[Any]:
        decoder = Decoder(how, self.seed)
        threads = how.threads or max(1, processors() // self.workers)
        wrong = next((v for v in values if not isinstance(v, Image | bytes | None)), None)
        if wrong is not None:
            raise RaggedFieldError(
                f"{name}: expected pictures to decode, found {type(wrong).__name__}."
            )
        rows = [row for row, value in enumerate(values) if value is not None]
        made: AnyArray | list[Any] = [None] * len(values)
        shape, dtype = how.kind.shape or (), np.dtype(how.kind.dtype)
        sides = [side for side in shape if side is not None]
        if len(rows) == len(values) and len(sides) == len(shape):
            count = len(values) * int(np.prod(sides)) * dtype.itemsize
            room = _buffers.take(count) if count else np.empty(0, np.uint8)
            made = room.view(dtype).reshape(len(values), *sides)
        into = made

        def call(number: int) -> None:
            row = rows[number]
            data = values[row].bytes if isinstance(values[row], Image) else values[row]
            try:
                if isinstance(into, list):
                    into[row] = decoder.alone(data, keys[row])
                else:
                    decoder.into(into[row], data, keys[row])
            except DecodeError as error:
                shard, offset = place(row) or (None, None)
                raise DecodeError(
                    f"$.{name}: {error.problem}", shard=shard, offset=offset, key=keys[row]
                ) from error

        Jobs(threads, len(rows), call).wait()
        return made


__all__ = ["Decoding", "Place"]
