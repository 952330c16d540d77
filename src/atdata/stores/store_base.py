"""What stores share: writing samples, or copying shards, to a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, Protocol, runtime_checkable

from atdata._shardlist import Layout, ShardInfo, ShardUrls
from atdata.capabilities import Progress
from atdata.errors import OptionError
from atdata.samples.codec import is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.schema.schema_file import SUFFIX, schema_file
from atdata.shards.open_shard import ShardSink
from atdata.shards.tar.table import check_layout
from atdata.shards.writer import PackedSample, write_keyed
from atdata.stores.copier import CopySink, copy_to_sink
from atdata.stores.prefixes import STEM


@runtime_checkable
class Samples(Protocol):
    """What a store asks of a dataset: `atdata.Dataset` has it."""

    def packed(self, layout: Layout | None) -> Iterator[PackedSample]:
        """Each sample's key and bytes and the number of its shard, in order, in a layout; None: in
        that of its shard."""


@runtime_checkable
class SupportsFinished(Protocol):
    """A sink that knows more of its shards than their URLs when all of them are placed."""

    def finished(self, placed: ShardUrls) -> ShardUrls:
        """The placed shards, with what else is known of them."""


class SinkStore(ABC):
    """A store that gives finished shards to a sink, which places them one at a time."""

    @abstractmethod
    def _sink(
        self, prefix: str, copied: Sequence[ShardInfo] = ()
    ) -> AbstractContextManager[CopySink]:
        """What places the shards of one call, or copies these.

        Refuses a prefix or a place that cannot be used, and shards that are too large for it.
        """

    def write_shards(
        self,
        ds: Samples,
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: int | None = None,
        layout: Layout | None = None,
    ) -> ShardUrls:
        """Write every sample of a dataset, in order, one shard at a time.

        Writing the same samples to the same prefix again changes nothing. After an error, Ctrl-C
        included, nothing unfinished is left; whole shards stay, so that a second run resumes.

        If the samples have a type, ``{prefix}/data.atdata.json`` records it for `load_dataset`. An
        existing file of this name stays.

        Args:
            ds: The dataset.
            prefix: Where in the store; the shards are ``{prefix}/data-000000.tar``, ….
            maxcount: Most samples in a shard. Without it and ``maxsize`` the shards are
                divided as those of ``ds``.
            maxsize: Most bytes in a shard, padding included.
            layout: As for `atdata.write_samples`; None: the samples keep the layout that they have
                in the shards of ``ds``, also those that a filter or map gives.

        Returns:
            The URL of each shard, in a folder its absolute path, with samples, bytes and SHA-256.

        Raises:
            OptionError: Not a dataset, a prefix that leads out of the store, or a limit below 1.
            StoreError: Another shard has the name, or the store cannot be reached or written.
            NoDataUrlsError: The dataset has no samples.
        """
        if not isinstance(ds, Samples):
            raise OptionError(
                f"Expected a dataset, found {type(ds).__name__}. Write "
                "atdata.Dataset[YourType](...), or atdata.write_samples(samples, path) for samples "
                "that are not in shards yet."
            )
        if layout is not None:
            check_layout(layout)
        with self._sink(prefix) as sink:
            samples = ds.packed(layout)
            written = write_keyed(samples, sink, stem=STEM, maxcount=maxcount, maxsize=maxsize)
            shards = _finished(sink, written)
            _hand_schema(sink, getattr(ds, "sample_type", None))
            return shards

    def copy_shards(
        self,
        shards: Sequence[ShardInfo],
        open_shard: Callable[[str], IO[bytes]],
        *,
        prefix: str,
        progress: Progress | None = None,
    ) -> ShardUrls:
        """Copy shards byte for byte, a few at once, as `SupportsCopy.copy_shards` says.

        A copy that exists, with size and hash, is neither read nor sent. ``open_shard`` and
        ``progress`` are called from several threads, one at a time.
        """
        with self._sink(prefix, shards) as sink:
            return _finished(sink, copy_to_sink(shards, open_shard, sink, progress=progress))

    def record_type(self, sample_type: type, *, prefix: str) -> None:
        """See `SupportsRecordedType`."""
        with self._sink(prefix) as sink:
            _hand_schema(sink, sample_type)

    def supports_streaming(self) -> bool:
        """Always: shards are read in place."""
        return True


@runtime_checkable
class SupportsSchemas(Protocol):
    """A sink that keeps the schema of samples next to their shards."""

    def accept_schema(self, name: str, schema: bytes) -> None:
        """Take the schema file of all shards, once they have their names, unless it exists."""


def _hand_schema(sink: ShardSink, sample_type: Any) -> None:
    """Give the schema of samples to a sink, if it takes schemas."""
    typed = is_sample_type(sample_type) and sample_type is not DictSample
    if typed and isinstance(sink, SupportsSchemas):
        sink.accept_schema(STEM + SUFFIX, schema_file(sample_type))


def _finished(sink: CopySink, placed: ShardUrls) -> ShardUrls:
    return sink.finished(placed) if isinstance(sink, SupportsFinished) else placed
