"""Dataset: many shards as one typed dataset, what a person calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

from atdata._protocols import DataSource, IndexEntry, is_source
from atdata._secrets import redacted
from atdata._shardlist import LocatedUrl, ShardInfo
from atdata.capabilities import shards_of_entry
from atdata.dataset.describe import describe
from atdata.dataset.named_splits import splits_of
from atdata.dataset.readable import Readable
from atdata.dataset.reading.epoch import runs_of
from atdata.dataset.reading.plan import (
    Filter,
    Map,
    Plan,
    Step,
    View,
)
from atdata.dataset.reading.random_access import Gather, GatheredRows
from atdata.dataset.reading.ranks import Even, Share, find_share, left_of, positions_in, share_of
from atdata.dataset.reading.rows import Rows
from atdata.dataset.reading.verify import Verify
from atdata.errors import AtdataError, OptionError, SampleTypeError
from atdata.lenses.lens import Lens
from atdata.lenses.network import find_lens
from atdata.samples.codec import check_sample_type, codec_of, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.samples.pickling import check_type, defined_again
from atdata.shards.reader import Block
from atdata.shards.writer import PackedSample
from atdata.sources.cache import MAX_BYTES, CachedSource
from atdata.sources.url import URLSource
from atdata.system.folders import cache_folder, user_path

if TYPE_CHECKING:
    # Python has defaults of type variables from 3.13 on; type checkers know them everywhere.
    from typing_extensions import TypeVar as _TypeVar

    T = _TypeVar("T", default=Any)
else:
    T = TypeVar("T")
U = TypeVar("U")

_typed: WeakValueDictionary[type, type[Dataset[Any]]] = WeakValueDictionary()
"""Weak, so that types made of strangers' schemas go when nothing uses them."""


class Dataset(Readable[T]):
    """Samples of one type, stored in tar shards.

    Write the type in brackets: ``Dataset[Digit]("digits-{000000..000009}.tar")``. Without it
    the samples are `DictSample`.

    Args:
        source: A URL or path (braces, globs and folders are expanded), several of them, an
            entry of an index, or anything with the members of `DataSource`.

    Raises:
        SampleTypeError: The type in brackets is not a sample type.
        NoDataUrlsError: The source names no shard.
    """

    _type_in_brackets: type | None = None

    def __class_getitem__(cls, sample_type: Any) -> Any:
        if isinstance(sample_type, TypeVar) or sample_type is Any:
            return super().__class_getitem__(sample_type)  # type: ignore[misc]
        check_sample_type(sample_type)
        made = _typed.get(sample_type)
        if made is None:
            name = f"Dataset[{sample_type.__name__}]"
            made = type(name, (Dataset,), {"_type_in_brackets": sample_type})
            _typed[sample_type] = made
        return made

    def __init__(self, source: str | Path | Sequence[str | Path] | DataSource | IndexEntry) -> None:
        sample_type = self._type_in_brackets or DictSample
        known: tuple[ShardInfo, ...] = ()
        if isinstance(source, IndexEntry):
            known = shards_of_entry(source)
            source = URLSource(source.data_urls)
        elif isinstance(source, (str, Path)) or not is_source(source):
            given = source if isinstance(source, (list, tuple)) else [source]
            known = tuple(s for url in given if isinstance(url, LocatedUrl) for s in url.shards)
            source = URLSource(cast("str | Path | Sequence[str | Path]", source))
        by_url = {shard.url: shard for shard in known}
        self._plan = Plan(source, sample_type, known=by_url)
        self._sample_type: type[T] = sample_type
        self._gather = Gather(source, by_url, sample_type)
        self._share = Share()

    @classmethod
    def of(
        cls,
        sample_type: type[U],
        source: str | Path | Sequence[str | Path] | DataSource | IndexEntry,
        *,
        shards: Iterable[ShardInfo] = (),
    ) -> Dataset[U]:
        """``Dataset[sample_type](source)``, where the type is a value.

        Args:
            sample_type: Type of the samples.
            source: As for `Dataset`.
            shards: What is known of the shards, by URL.
        """
        dataset = cast("Dataset[U]", Dataset[sample_type](source))  # type: ignore[valid-type]
        dataset._known.update((shard.url, shard) for shard in shards)
        return dataset

    def _with(self, step: Step, sample_type: type[U]) -> Dataset[U]:
        made: type[Dataset[U]] = Dataset
        if is_sample_type(sample_type):
            made = Dataset[sample_type]  # type: ignore[valid-type]
        return _restore(made, sample_type, self._plan.with_step(step), self._gather, self._share)

    def __reduce__(self) -> tuple[Any, ...]:
        check_type(self._sample_type)
        self._plan.check_sendable()
        made: Any = Dataset
        if is_sample_type(self._sample_type):
            # A class made by brackets cannot be found by its name.
            return _restored, (self._sample_type, self._plan, self._gather, self._share)
        return _restore, (made, self._sample_type, self._plan, self._gather, self._share)

    @property
    def source(self) -> DataSource:
        """Where the shards are read from."""
        return self._plan.source

    @property
    def sample_type(self) -> type[T]:
        """Type of the samples, as they come out."""
        return self._sample_type

    def split(
        self,
        rank: int | None = None,
        world_size: int | None = None,
        *,
        even: Even | None = None,
    ) -> Dataset[T]:
        """The part of this process, where several read one dataset together.

        Every epoch is split by samples, not by shards, so that nothing is lost or repeated;
        which ones a rank gets depends on the order of the epoch.

        Args:
            rank: From 0 on; None: that of torch.distributed, of ``RANK``, or of JAX.
            world_size: Number of ranks, given together with ``rank``.
            even: None: ranks differ by at most one sample. ``"drop"`` leaves out those over,
                ``"pad"`` repeats one, so that all ranks have equally many.

        Raises:
            OptionError: Numbers that cannot be, or that contradict the environment; or this
                is a part already.
        """
        share = find_share(rank, world_size, even, of=self._share)
        return _restore(type(self), self._sample_type, self._plan, self._gather, share)

    def __bool__(self) -> bool:
        # Without this, `if dataset:` would read every shard to count the samples.
        return True

    def cached(
        self, folder: str | Path | None = None, *, max_bytes: int | None = None
    ) -> Dataset[T]:
        """The same dataset, whose remote shards are copied to a folder as they are read.

        Only copies are kept there, checked against hashes that are known. Those of other
        datasets make room for new ones, the least recently used first; what has no room is read
        from its server. Local shards stay where they are. Many processes may share the folder.

        Args:
            folder: Where; None: the user's cache, or ``ATDATA_CACHE_DIR``. One that others may
                write to gets a folder of this user's own.
            max_bytes: Most bytes of copies; None: 50 GB. Of several calls of this, the last
                one counts.

        Raises:
            OptionError: The folder cannot be written, or ``max_bytes`` is below 1.
        """
        place = user_path(folder) if folder is not None else cache_folder() / "shards"
        bound = MAX_BYTES if max_bytes is None else max_bytes
        source = self.source
        below = source.source if isinstance(source, CachedSource) else source
        verify = self._gather.verify
        return self._over(CachedSource(below, place, bound, self._known, _hashed(verify)), verify)

    def verified(self, verify: Verify) -> Dataset[T]:
        """The same dataset, whose shards are held against what is recorded of them like this.

        Args:
            verify: ``"full"``: size and SHA-256, of a stream at its end, of a file of this
                machine before it is read. ``"sizes"``: the size alone. ``"off"``: neither.
                Without a call of this: streams and copies in a cache in full, the latter when a
                process first uses them; other files by size.

        Raises:
            OptionError: Another word.
        """
        if verify not in ("full", "sizes", "off"):
            raise OptionError(f"verify={verify!r}: expected 'full', 'sizes' or 'off'.")
        source = self.source
        if isinstance(source, CachedSource):
            source = replace(source, full=_hashed(verify))
        return self._over(source, verify)

    def _over(self, source: DataSource, verify: Verify | None) -> Dataset[T]:
        plan = replace(self._plan, source=source, known=self._known, verify=verify)
        gather = Gather(source, self._known, plan.stored_type, verify)
        return _restore(type(self), self._sample_type, plan, gather, self._share)

    def filter(self, predicate: Callable[[T], bool]) -> Dataset[T]:
        """Only the samples for which ``predicate`` is true."""
        return self._with(Filter(predicate), self._sample_type)

    def map(self, function: Callable[[T], U], sample_type: type[U] | None = None) -> Dataset[U]:
        """What ``function`` makes of each sample.

        Args:
            function: Called once a sample, in reading order.
            sample_type: Type that it returns; None: that of its return annotation, where that is
                a sample type. What it returns is checked against it, and a dict with its fields
                becomes a sample. Where neither says a type, what it returns is taken as it is,
                dicts with all of their fields.
        """
        from atdata.dataset.describe import returned_type

        declared = returned_type(function) if sample_type in (None, Any) else sample_type
        return self._with(Map(function, declared), cast("type[U]", declared or self._sample_type))

    def as_type(self, sample_type: type[U], lens: Lens[T, U] | None = None) -> Dataset[U]:
        """The same samples seen as another type.

        Args:
            sample_type: The type to see them as.
            lens: How; None: the lens, the shortest chain of lenses or the plain view by field
                names that leads there.

        Raises:
            LensNotFoundError: Nothing leads there.
        """
        check_sample_type(sample_type)
        if cast("type", self._sample_type) is sample_type:
            return cast("Dataset[U]", self)
        found = lens or find_lens(self._sample_type, sample_type)
        return self._with(View(found), sample_type)

    def packed(self) -> Iterator[PackedSample]:
        """Each sample's key and msgpack bytes, its shard's number and split: those samples that
        iterating gives, in the same order, of a rank's part as well.

        Stored samples are checked against their type and passed on byte for byte; those that
        went through filter, map or a lens are packed anew.
        """
        if self._share.world_size > 1:
            yield from self._part()
            return
        splits = splits_of(self.known_shards())
        tables = self._gather.tables
        with tables.unread.reading():
            for number in range(len(tables.shards)):
                for block in self._plan.blocks_of(number, tables):
                    rows, _ = self._plan.stepped(block)
                    for key, payload in self._payloads(rows, block):
                        yield PackedSample(key, payload, number, splits[number])

    def _part(self) -> Iterator[PackedSample]:
        epoch = self._epoch(None)
        ranges = share_of(left_of(len(epoch), []), self._share)
        splits, behind = splits_of(self.known_shards()), -1
        for rows, taken in runs_of(epoch, ranges, size=None):
            positions = positions_in(ranges, taken - 1)
            stored = rows.block if isinstance(rows, GatheredRows) else None
            found = zip(
                self._payloads(rows, stored),
                positions.tolist(),
                self._gather.shards_of(positions).tolist(),
                strict=True,
            )
            for (key, payload), position, number in found:
                if position > behind:
                    behind, shard = position, number
                    yield PackedSample(key, payload, number, splits[number])
                else:
                    # The sample that makes all parts equally long: a key is unique in its shard.
                    yield PackedSample(f"{key}-again", payload, shard, splits[shard])

    def _payloads(self, rows: Rows, stored: Block[Any] | None) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of each sample; of stored ones the bytes that they have."""
        samples = rows.samples()
        if self._plan.is_plain and stored is not None:
            yield from zip(rows.keys, map(bytes, stored.payloads()), strict=True)
            return
        codec = codec_of(self._sample_type)
        for key, sample in zip(rows.keys, samples, strict=True):
            if not isinstance(sample, self._sample_type):
                hint = "Pass map(…, sample_type=…)."
                again = defined_again(self._sample_type, type(sample))
                raise SampleTypeError(
                    f"Sample {key!r}: expected {self._sample_type.__name__}, found "
                    f"{type(sample).__name__}. {again or hint}"
                )
            yield key, codec.pack(sample)

    def known_shards(self) -> tuple[ShardInfo, ...]:
        """Every shard with what is known of it without reading any."""
        return tuple(self._known.get(shard, ShardInfo(shard)) for shard in self.shard_list)

    def describe_shards(self) -> tuple[ShardInfo, ...]:
        """Every shard; those that are local files read for samples, bytes and SHA-256.

        Raises:
            ShardError: One is damaged.
        """
        unread = self._gather.tables.unread
        shards = tuple(describe(self._plan.source, shard, unread) for shard in self.known_shards())
        unread.warn()
        self._known.update((shard.url, shard) for shard in shards)
        return shards

    @property
    def is_plain(self) -> bool:
        """Whether the samples are those of its shards: no filter, map or lens, no rank's part."""
        return self._plan.is_plain and self._share.world_size == 1

    def __repr__(self) -> str:
        try:
            shards = self.shard_list
        except AtdataError:
            shown = repr(self.source)  # a repr does not fail for shards that cannot be listed
        else:
            shown = shards[0] if len(shards) == 1 else f"{len(shards)} shards, {shards[0]} …"
        name = getattr(self._sample_type, "__name__", self._sample_type)
        return redacted(f"<Dataset[{name}] {shown}>")


def _hashed(verify: Verify | None) -> bool:
    """Whether a copy in a cache is hashed before it is used."""
    return verify in (None, "full")


def _restore(
    made: Any, sample_type: type[T], plan: Plan, gather: Gather, share: Share
) -> Dataset[T]:
    dataset: Dataset[T] = object.__new__(made)
    dataset._plan = plan
    dataset._sample_type = sample_type
    dataset._gather = gather
    dataset._share = share
    return dataset


def _restored(sample_type: type[T], plan: Plan, gather: Gather, share: Share) -> Dataset[T]:
    return _restore(Dataset[sample_type], sample_type, plan, gather, share)  # type: ignore[valid-type]
