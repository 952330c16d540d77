"""Many ranges of the members layout → samples or columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from atdata.samples.codec import SampleCodec
from atdata.shards.columns.column import LazyColumn, column_of
from atdata.shards.columns.decode import LayoutDecoder, Payloads, columns_of, decoder_of
from atdata.shards.layouts.codec import MembersCodec
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import Layout

T = TypeVar("T")


class MembersDecoder(Generic[T]):
    """Decodes many ranges of one sample type; used like `Decoder`.

    Args:
        codec: Codec of the type.
    """

    head: Final = BLOCK

    def __init__(self, codec: SampleCodec[T]) -> None:
        self._codec = MembersCodec(codec)

    def unpack(self, payload: memoryview, url: str) -> T:
        """See `LayoutDecoder`."""
        return self._codec.unpack(payload, url)

    def samples(self, payloads: Payloads, unpack: Callable[[int], T]) -> Iterable[T]:
        """As `Decoder.samples`."""
        return map(unpack, range(len(payloads.starts)))

    def columns(self, payloads: Payloads, unpack: Callable[[int], T]) -> dict[str, LazyColumn]:
        """As `Decoder.columns`."""
        samples: list[Any] = list(self.samples(payloads, unpack))
        if self._codec.base.untyped:
            return columns_of(samples)
        names = self._codec.base.by_name
        return {name: column_of([getattr(sample, name) for sample in samples]) for name in names}


@lru_cache(maxsize=64)
def _members_decoder(codec: SampleCodec[T]) -> MembersDecoder[T]:
    return MembersDecoder(codec)


def in_layout(codec: SampleCodec[T], layout: Layout) -> LayoutDecoder[T]:
    """The decoder of samples in a layout."""
    return decoder_of(codec) if layout == "msgpack" else _members_decoder(codec)
