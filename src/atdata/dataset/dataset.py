"""Dataset: many shards as one typed dataset, the class that users call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload
from weakref import WeakValueDictionary

from atdata._protocols import DataSource, IndexEntry
from atdata._secrets import redacted
from atdata._shardlist import ShardInfo
from atdata.dataset.counted import Origin
from atdata.dataset.decode.options import Decodes
from atdata.dataset.exports import Exports
from atdata.dataset.reading.buffer_shuffle import (
    DEFAULT_BUFFER_SAMPLES,
    DEFAULT_BUFFER_SHARDS,
    ShuffleBuffer,
    shuffled_stream,
)
from atdata.dataset.reading.derived import Derived, DerivedEpoch
from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, Shuffle
from atdata.dataset.reading.flat import Flat
from atdata.dataset.reading.in_order import read_in_order
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share
from atdata.dataset.reading.results import returned_type
from atdata.dataset.reading.rows import ItemsOf, Run, items_of
from atdata.dataset.reading.selecting import select_step
from atdata.dataset.reading.steps import Map, OnError, Step, Steps, View, steps_of
from atdata.dataset.reading.stream import EpochStream, Reading
from atdata.dataset.reading.values import By
from atdata.dataset.reading.zipped import Zipped
from atdata.dataset.reshape import dropped, extended, renamed
from atdata.dataset.verbs import Verbs
from atdata.errors import OptionError
from atdata.lenses.lens import Lens
from atdata.lenses.network import find_lens
from atdata.samples.batch import SampleBatch
from atdata.samples.codec import check_sample_type, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.samples.pickling import check_type
from atdata.system.forks import importing

if TYPE_CHECKING:
    # Python has defaults of type variables from 3.13 on; type checkers know them everywhere.
    from typing_extensions import TypeVar as _TypeVar

    from atdata.dataset.reading.token_rows import TokenRow

    T = _TypeVar("T", default=Any)
else:
    T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_typed: WeakValueDictionary[type, type[Dataset[Any]]] = WeakValueDictionary()
"""Weak, so that types made of schemas of other users go when nothing uses them."""


class Dataset(Exports, Verbs[T]):
    """Samples of one type, stored in tar shards.

    Write the type in brackets: ``Dataset[Digit]("digits-{000000..000009}.tar")``. Without it
    the samples are `DictSample`.

    Args:
        source: A URL or path (braces, globs and folders are expanded), several of them, an
            entry of an index, or anything with the members of `DataSource`.
        on_error: ``"skip"`` leaves out samples that cannot be decoded; a `SkippedSamplesWarning`
            counts them. How many stay is known after reading only. Damaged shards are errors.

    Raises:
        SampleTypeError: The type in brackets is not a sample type.
        NoDataUrlsError: The source names no shard.
        OptionError: The ``shards`` of an entry are not `ShardInfo`; or another ``on_error``.
    """

    _type_in_brackets: type | None = None

    def __class_getitem__(cls, sample_type: Any) -> Any:
        if isinstance(sample_type, TypeVar) or sample_type is Any:
            return super().__class_getitem__(sample_type)  # type: ignore[misc]
        made = _typed.get(sample_type) if isinstance(sample_type, type) else None
        if made is None:
            check_sample_type(sample_type)
            name = f"Dataset[{sample_type.__name__}]"
            made = type(name, (Dataset,), {"_type_in_brackets": sample_type})
            _typed[sample_type] = made
        return made

    def __init__(
        self,
        source: str | Path | Sequence[str | Path] | DataSource | IndexEntry,
        *,
        on_error: OnError = "raise",
    ) -> None:
        sample_type = self._type_in_brackets or DictSample
        self._origin = PositionedShards.of(source)
        self._steps = steps_of(sample_type, on_error)
        self._sample_type: type[T] = sample_type
        self._share = Share()

    @classmethod
    def of(
        cls,
        sample_type: type[U],
        source: str | Path | Sequence[str | Path] | DataSource | IndexEntry,
        *,
        shards: Iterable[ShardInfo] = (),
        on_error: OnError = "raise",
    ) -> Dataset[U]:
        """``Dataset[sample_type](source)``, where the type is a value.

        Args:
            sample_type: Type of the samples.
            source: As for `Dataset`.
            shards: What is known of the shards, by URL.
            on_error: As for `Dataset`.
        """
        found = PositionedShards.of(source)
        found.known.update((shard.url, shard) for shard in shards)
        return _dataset_of(sample_type, found, steps_of(sample_type, on_error), Share())

    def _changed(
        self,
        *,
        origin: Origin | None = None,
        steps: Steps | None = None,
        share: Share | None = None,
    ) -> Self:
        parts = origin or self._origin, steps or self._steps, share or self._share
        return cast("Self", _dataset_of(self._sample_type, *parts))

    def _with(self, step: Step, sample_type: type[U]) -> Dataset[U]:
        return _dataset_of(sample_type, self._origin, self._steps.then(step), self._share)

    def __reduce__(self) -> tuple[Any, ...]:
        check_type(self._sample_type)
        if isinstance(self._origin, Derived):
            self._origin.check_sendable()
        self._steps.check_sendable()
        return _dataset_of, (self._sample_type, self._origin, self._steps, self._share)

    @property
    def source(self) -> DataSource:
        """Where the shards are read from."""
        return self._origin.source

    @property
    def sample_type(self) -> type[T]:
        """Type of the samples, as they come out."""
        return self._sample_type

    def map(self, function: Callable[[T], U], sample_type: type[U] | None = None) -> Dataset[U]:
        """What ``function`` makes of each sample.

        Args:
            function: Called once a sample, in reading order.
            sample_type: Type that it returns; None: that of its return annotation, where that is
                a sample type. What it returns is checked against it, and a dict with its fields
                becomes a sample. Where neither says a type, what it returns is taken as it is,
                dicts with all of their fields.
        """
        declared = returned_type(function) if sample_type in (None, Any) else sample_type
        return self._with(Map(function, declared), cast("type[U]", declared or self._sample_type))

    def rename(self, **names: str) -> Dataset[Any]:
        """The same samples, whose fields have other names.

        Args:
            names: ``old="new"``.

        Raises:
            OptionError: There is no such field, or two would have one name.
        """
        return self._with(*renamed(self._known_type("rename"), names))

    def drop(self, *fields: str) -> Dataset[Any]:
        """The same samples without some fields.

        Args:
            fields: Their names.

        Raises:
            OptionError: There is no such field, or none would be left.
        """
        return self._with(*dropped(self._known_type("drop"), fields))

    def with_column(
        self, name: str, function: Callable[[T], Any], annotation: Any = None
    ) -> Dataset[Any]:
        """The same samples with one field more, or with another value in a field.

        Args:
            name: The field.
            function: Gives its value for a sample.
            annotation: Type of the field, as in a packable class; None: what ``function`` is
                annotated to return.

        Raises:
            OptionError: Nothing says the type, or no field can have it.
            EncodeError: When it is read: a value that does not fit; names it and the function.
        """
        return self._with(*extended(self._known_type("with_column"), name, function, annotation))

    def flat_map(
        self, function: Callable[[T], Iterable[U]], sample_type: type[U] | None = None
    ) -> Dataset[U]:
        """All samples that ``function`` makes of each: none, one or several.

        Read in order, it is called once a sample. For a length, positions, shuffling, ranks or a
        state, the dataset is read once before, to count what it makes. It must make the same each
        time.

        Args:
            function: Returns a list of samples, or yields them.
            sample_type: Type of these; None: the samples are taken as they are, unchecked.

        Raises:
            SampleTypeError: When it is read: it returned something else, such as None or a dict.
            EncodeError: As for `map`.
        """
        declared = None if sample_type in (None, Any) else sample_type
        origin = Flat(self._whole(), function, declared)
        made = cast("type[U]", declared or self._sample_type)
        return _dataset_of(made, origin, Steps(made, is_known=declared is not None), self._share)

    def zip(
        self,
        other: Dataset[V],
        function: Callable[[T, V], U],
        sample_type: type[U] | None = None,
    ) -> Dataset[U]:
        """What ``function`` makes of the first samples of both, of the second ones, and so on.

        It has a length, positions, ranks and states. Filtered datasets are read once to find the
        positions of their samples.

        Args:
            other: A dataset of the same length, of any type.
            function: Takes a sample of each.
            sample_type: As for `map`.

        Raises:
            LengthError: When it is read: one is longer.
            OptionError: ``other`` is no dataset; or one is a rank's part.
        """
        if not isinstance(other, Dataset):
            raise OptionError(f"zip({other!r:.80}): expected a dataset.")
        both: list[Dataset[Any]] = [self._whole(), other._whole()]
        parts = [part.skip(0) if part._is_filtered else part for part in both]
        declared = returned_type(function) if sample_type in (None, Any) else sample_type
        make: Callable[..., U] = function
        steps = Steps(tuple, is_known=False).then(Map(make, declared, "zip"))
        made = cast("type[U]", declared or self._sample_type)
        return _dataset_of(made, Zipped(parts), steps, self._share)

    def pack(
        self,
        tokens: By = "tokens",
        *,
        length: int,
        pad: int = 0,
        eos: int | None = None,
        split: bool = True,
    ) -> Dataset[TokenRow]:
        """Documents as rows of tokens of one length, for language models; no token is lost.

        The dataset is read once to count the tokens of each document, when rows are first asked
        for. Then rows have a length, positions, shuffling, ranks and states as all samples do.

        Args:
            tokens: The field with a document's tokens, an array or a list of int, or a function
                of a sample that gives them.
            length: Tokens of a row.
            pad: The token that fills a row at its end.
            eos: The token that is put after each document; None: none.
            split: True: all documents one after the other, cut where a row ends, so that only the
                last row is padded. False: only documents longer than a row are cut; others go
                whole into a row that has room.

        Raises:
            OptionError: A length below 1, tokens that are no ints, or no such field.
            EncodeError: When it is read: tokens that are not whole numbers.
        """
        numbers = {"length": length, "pad": pad} | ({} if eos is None else {"eos": eos})
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
                raise OptionError(f"pack: {name}={value!r:.80}: expected a whole number.")
        if length < 1:
            raise OptionError(f"pack: length={length}: expected 1 or more.")
        with importing():
            from atdata.dataset.reading.token_rows import TokenRow, TokenRows

        origin = TokenRows(self._whole(), tokens, length, pad, eos, split)
        return _dataset_of(TokenRow, origin, Steps(TokenRow), self._share)

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

    def select(self, *fields: str) -> Dataset[Any]:
        """The same samples with these fields alone, of a type that has only them.

        The others are not decoded; and of shards with several members a sample, members that no
        field is read from are not read, where a table says where they are. So what is wrong in
        them is not noticed. After a filter or map, which need whole samples, fields are dropped.

        Args:
            fields: Their names. Samples without a type stay so, and each must have all of these.

        Raises:
            OptionError: The type has no such field; lists those that it has. Or no field is
                named, or a function given to map() made the samples, and nothing says their type.
        """
        last, known = self._steps.last_selected, self._type_is_known
        step = select_step(self._sample_type, fields, last, type_is_known=known)
        return self._with(step, step.sample_type)

    @overload
    def ordered(self, batch_size: None = None) -> Reading[T]: ...
    @overload
    def ordered(
        self, batch_size: int, *, copy: bool = ..., decode: Decodes = ...
    ) -> Reading[SampleBatch[T]]: ...
    def ordered(
        self, batch_size: int | None = None, *, copy: bool = True, decode: Decodes = None
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample in the order it is stored in.

        Args:
            batch_size: Samples a batch, the last one may be smaller; None: one by one.
            copy: Whether the arrays of a batch are in memory of their own. If not, they are
                read-only views of the shard where that is possible: where arrays of one shape
                lie at a constant distance in one shard. Such a view keeps the shard mapped,
                or the piece of it that was read from a server, for as long as it exists.
            decode: Field with pictures → how they become one array of a batch, see `Decode`.

        Raises:
            ShardError: A shard is damaged or cut short.
            DecodeError: A sample is not of the type, or a picture cannot be decoded.
        """
        items = self._items(batch_size, decode)
        sequential = partial(self._in_order, batch_size, copy=copy)
        return Reading(
            EpochStream(self._epoch, None, self._share, items, batch_size, sequential=sequential)
        )

    @overload
    def shuffled(
        self,
        batch_size: None = None,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
        buffer_samples: int = ...,
        buffer_shards: int = ...,
    ) -> Reading[T]: ...
    @overload
    def shuffled(
        self,
        batch_size: int,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
        buffer_samples: int = ...,
        buffer_shards: int = ...,
        decode: Decodes = ...,
    ) -> Reading[SampleBatch[T]]: ...
    def shuffled(
        self,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        epoch: int = 0,
        window: int | None = None,
        buffer_samples: int = DEFAULT_BUFFER_SAMPLES,
        buffer_shards: int = DEFAULT_BUFFER_SHARDS,
        decode: Decodes = None,
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample once, in random order.

        Where every shard is a local file or has a sample table next to it, this is a permutation
        of the whole dataset: small blocks of neighbours are permuted globally, then their samples
        are mixed in a window. Other shards are read once only: it is a buffer that is drawn from,
        unless this is a rank's part, whatever else was asked of the dataset before. A state says
        which of the two it is of, and resumes in the same.

        Args:
            batch_size: Samples a batch; None: one by one.
            seed: Same seed and epoch, same order; None: another order each time, or 0 for a
                dataset that is split among ranks.
            epoch: Another order for each epoch, from 0 on.
            window: Samples that are mixed with each other; None: about 32 MB of them. Takes
                that much memory twice, but for small samples of a few local shards.
            buffer_samples: Of a buffer: samples held and drawn from.
            buffer_shards: Of a buffer: shards read at the same time.
            decode: As for `ordered`.
        """
        items = self._items(batch_size, decode)
        buffer = ShuffleBuffer(buffer_samples, buffer_shards)
        how = self._shuffle(seed, epoch, window)
        permuted = EpochStream(self._epoch, how, self._share, items, batch_size)
        if isinstance(self._origin, Derived):
            return Reading(permuted)
        return Reading(shuffled_stream(permuted, self._origin, self._steps, buffer, how))

    def _items(self, batch_size: int | None, decode: Decodes) -> ItemsOf[Any]:
        """What makes batches, or single samples where ``batch_size`` is None."""
        known, skips = self._type_is_known, self._skips
        return items_of(self._sample_type, batch_size, decode, type_is_known=known, skips=skips)

    def _epoch(self, shuffle: Shuffle | None) -> Epoch:
        if isinstance(self._origin, Derived):
            return DerivedEpoch(self._origin, self._steps, shuffle)
        return DatasetEpoch(self._origin, self._steps, shuffle)

    def _in_order(self, size: int | None, *, copy: bool = True) -> Iterator[Run] | None:
        if isinstance(self._origin, Derived):
            runs = self._origin.in_order(size, copy=copy)
            return runs and self._steps.applied(runs)
        if self._steps.selected is not None and self._origin.has_members_on_servers():
            # A stream would be of all members.
            return None
        return read_in_order(self._origin, self._steps, size, copy=copy)

    def _sequential(self, batch_size: int) -> Iterator[Run] | None:
        if isinstance(self._origin, PositionedShards) and self._origin.tables.are_next_to_shards():
            return None
        # By position, shards without tables would be read twice: first to find their samples.
        return self._in_order(batch_size)

    @property
    def _is_filtered(self) -> bool:
        derived = isinstance(self._origin, Derived) and self._origin.is_filtered
        return derived or self._steps.is_filtered

    @property
    def _skips(self) -> bool:
        return self._steps.skips or (isinstance(self._origin, Derived) and self._origin.skips)

    def _known_samples(self) -> int | None:
        return self._origin.known_samples()

    @property
    def _type_is_known(self) -> bool:
        return self._steps.type_is_known

    def __iter__(self) -> Iterator[T]:
        return iter(self.ordered())

    @property
    def is_plain(self) -> bool:
        """Whether the samples are those of its shards: no filter, map or lens, no rank's part,
        none chosen."""
        is_stored = isinstance(self._origin, PositionedShards)
        return is_stored and self._steps.is_plain and self._share.world_size == 1

    def __repr__(self) -> str:
        name = getattr(self._sample_type, "__name__", self._sample_type)
        return redacted(f"<Dataset[{name}] {self._origin.shown()}>")


def _dataset_of(sample_type: type[T], origin: Origin, steps: Steps, share: Share) -> Dataset[T]:
    # By this, another process finds the class that brackets made, which has no name of its own.
    kind: Any = Dataset[sample_type] if is_sample_type(sample_type) else Dataset  # type: ignore[valid-type]
    dataset: Dataset[T] = object.__new__(kind)
    dataset._origin = origin
    dataset._steps = steps
    dataset._sample_type = sample_type
    dataset._share = share
    return dataset
