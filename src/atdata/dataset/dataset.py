"""Dataset: many shards as one typed dataset, the class that users call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from weakref import WeakValueDictionary

from atdata._protocols import DataSource, IndexEntry
from atdata._secrets import redacted
from atdata._shardlist import ShardInfo
from atdata.dataset.counted import Origin
from atdata.dataset.exports import Exports
from atdata.dataset.reading.derived import Derived
from atdata.dataset.reading.flat import Flat
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share
from atdata.dataset.reading.results import returned_type
from atdata.dataset.reading.selecting import select_step
from atdata.dataset.reading.steps import Map, OnError, Step, Steps, TryMap, View, skips, steps_of
from atdata.dataset.reading.values import By
from atdata.dataset.reading.zipped import Zipped
from atdata.dataset.reshape import dropped, extended, renamed
from atdata.dataset.verbs import Verbs
from atdata.errors import OptionError
from atdata.lenses.lens import Lens
from atdata.lenses.network import find_lens
from atdata.samples.codec import check_sample_type, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.samples.pickling import check_type
from atdata.system.forks import importing

if TYPE_CHECKING:
    # Python has defaults of type variables from 3.13 on; type checkers know them everywhere.
    from typing_extensions import TypeVar as _TypeVar

    from atdata.dataset.reading.matched import OnMissing
    from atdata.dataset.reading.token_rows import TokenRow

    T = _TypeVar("T", default=Any)
    J = _TypeVar("J", default=Any)
else:
    T, J = TypeVar("T"), TypeVar("J")
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

    def _reading(self, sample_type: type, origin: Origin) -> Dataset[Any]:
        return _dataset_of(sample_type, origin, Steps(sample_type), Share())

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

    def map(
        self,
        function: Callable[[T], U],
        sample_type: type[U] | None = None,
        *,
        on_error: OnError = "raise",
    ) -> Dataset[U]:
        """What ``function`` makes of each sample.

        Args:
            function: Called once a sample, in reading order.
            sample_type: Type that it returns; None: that of its return annotation, where that is
                a sample type. What it returns is checked against it, and a dict with its fields
                becomes a sample. Where neither says a type, what it returns is taken as it is,
                dicts with all of their fields.
            on_error: ``"skip"`` leaves out samples for which the function raises an error, or
                returns something else; a `SkippedSamplesWarning` counts them, and says which was
                the first, and where. The dataset is a filtered one then.
        """
        declared = returned_type(function) if sample_type in (None, Any) else sample_type
        mapped = Map(function, declared)
        step: Step = TryMap(mapped) if skips(on_error) else mapped
        return self._with(step, cast("type[U]", declared or self._sample_type))

    def rename(self, **names: str) -> Dataset[Any]:
        """The same samples, whose fields have other names.

        Args:
            names: ``old="new"``.

        Raises:
            OptionError: There is no such field, or two would have one name.
        """
        return self._with(*renamed(self._known_type("rename"), names))

    def drop(self, *fields: str) -> Dataset[Any]:
        """The same samples without some fields, which are not read: `select` of the others.

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
        self,
        function: Callable[[T], Iterable[U]],
        sample_type: type[U] | None = None,
        *,
        on_error: OnError = "raise",
    ) -> Dataset[U]:
        """All samples that ``function`` makes of each: none, one or several.

        Read in order, it is called once a sample. For a length, positions, shuffling, ranks or a
        state, the dataset is read once before, to count what it makes. It must make the same each
        time.

        Args:
            function: Returns a list of samples, or yields them.
            sample_type: Type of these; None: the samples are taken as they are, unchecked.
            on_error: As for `map`: ``"skip"`` makes none of a sample for which it fails.

        Raises:
            SampleTypeError: When it is read: it returned something else, such as None or a dict.
            EncodeError: As for `map`.
        """
        declared = None if sample_type in (None, Any) else sample_type
        origin = Flat(self._whole(), function, declared, skip=skips(on_error))
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
        with importing():
            from atdata.dataset.reading.token_rows import TokenRow, TokenRows

        origin = TokenRows(self._whole(), tokens, length, pad, eos, split)
        return _dataset_of(TokenRow, origin, Steps(TokenRow), self._share)

    def join(
        self,
        other: Dataset[Any] | str | Path | Sequence[str | Path],
        as_type: type[J] | None = None,
        *,
        on_missing: OnMissing = "raise",
        prefix: str = "",
    ) -> Dataset[J]:
        """Each sample with the fields that another dataset has under its key.

        Length, order, keys and positions stay; so do ranks, states and all verbs. Where samples at
        the same position have the same key, both datasets are read in lockstep. Any other sample is
        looked up in an index of the other's keys, of 16 bytes each, made when it is first needed;
        then no two samples of either dataset may have one key. Shards on servers that have no
        tables are read a second time for it.

        Args:
            other: The other dataset; or its shards, whose type is the recorded one, or none.
            as_type: Type of the joined samples. A dataset without a type is read as those of its
                fields that the other lacks, their `Member` included. None: a type with all fields;
                `DictSample`, where a dataset has no type.
            on_missing: What is done about a sample that ``other`` lacks: ``"raise"``; ``"skip"``
                leaves it out, as a filter does; ``"none"`` has None in its fields, or no fields in
                a `DictSample`. A `MissingSamplesWarning` counts them.
            prefix: Begins the names of the other's fields. Its ``__key__`` and ``__url__`` are not
                taken.

        Raises:
            OptionError: Both have a field of one name; another word; or a rank's part.
            LensNotFoundError: All fields do not make an ``as_type``.
            SampleTypeError: No type says which fields of ``as_type`` come from where.
            JoinError: When it is read: a sample is missing; or two have a key that is looked up.
        """
        with importing():
            from atdata.dataset.join import join

        joined = self._reading(*join(self, other, as_type, on_missing=on_missing, prefix=prefix))
        return joined if as_type in (None, DictSample) else joined.as_type(as_type)

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
