"""Verbs that give a dataset of the same type: fewer samples, a part, or other copies of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar, get_args

from atdata._arrays import AnyArray
from atdata._protocols import DataSource
from atdata.dataset.counted import Origin
from atdata.dataset.orders import Orders
from atdata.dataset.reading.choices import (
    Choice,
    Distinct,
    Division,
    Interleaved,
    Listed,
    Sampled,
    Side,
    Sorted,
    Span,
    check_count,
    check_share,
)
from atdata.dataset.reading.chosen import Chosen
from atdata.dataset.reading.derived import Derived
from atdata.dataset.reading.epoch import Shuffle
from atdata.dataset.reading.joined import Joined, check_same_type
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Even, Share, find_share
from atdata.dataset.reading.steps import Filter, Steps
from atdata.dataset.reading.subscripts import check_slice, listed
from atdata.dataset.reading.values import By, Values
from atdata.errors import OptionError
from atdata.sources.cache import MAX_BYTES, CachedSource, with_hashed_copies
from atdata.sources.capabilities import uncached
from atdata.sources.verified import Verify, check_verify
from atdata.system.files import user_path
from atdata.system.folders import cache_folder

T = TypeVar("T")

Stop: TypeAlias = Literal["first", "all"]
"""Where several datasets end: with the first that has no samples left, or when all have none."""


class Verbs(Orders[T]):
    """What gives a dataset of the same type. Nothing is read before samples are."""

    @property
    @abstractmethod
    def source(self) -> DataSource:
        """See `Part`."""

    @property
    @abstractmethod
    def sample_type(self) -> type[T]:
        """See `Part`."""

    @abstractmethod
    def _changed(
        self,
        *,
        origin: Origin | None = None,
        steps: Steps | None = None,
        share: Share | None = None,
    ) -> Self:
        """This dataset with other parts; None: the same."""

    @abstractmethod
    def _reading(self, sample_type: type, origin: Origin) -> Verbs[Any]:
        """A dataset of samples of a type, without steps."""

    def filter(self, predicate: Callable[[T], bool]) -> Self:
        """Only the samples for which ``predicate`` is true."""
        return self._changed(steps=self._steps.then(Filter(predicate)))

    def take(self, number: int) -> Self:
        """The first samples.

        It has a length, positions, ranks and states, as all that choose samples: `skip`, `choose`,
        `sample`, `sort`, `distinct` and `train_test_split`. Of a filtered dataset it is read as
        far as needed to find them, when they are first asked for by position, shuffled or counted.

        Args:
            number: How many; fewer where there are fewer.

        Raises:
            OptionError: Not a whole number from 0 on; or this is a rank's part.
        """
        return self._chosen(Span(slice(0, check_count(number, "take"))))

    def skip(self, number: int) -> Self:
        """All samples but the first ones; for the rest as `take`.

        Args:
            number: How many are left out.

        Raises:
            OptionError: As for `take`.
        """
        return self._chosen(Span(slice(check_count(number, "skip"), None)))

    def choose(self, positions: slice | Sequence[int] | AnyArray) -> Self:
        """The samples at some positions, as a dataset: what ``dataset[…]`` gives as a batch.

        They come in the order of ``positions``, each as often as it is in them. `shuffled` reads
        them in an order of its own. Of a filtered dataset, positions are those of the samples
        that are left.

        Args:
            positions: ``slice(10, 20)``, ``slice(None, None, 2)``, or numbers; negative ones
                count from the end.

        Raises:
            SampleNotFoundError: When it is read: a number is out of range (an IndexError).
            OptionError: Something else than whole numbers; or this is a rank's part.
        """
        if isinstance(positions, slice):
            check_slice(positions)
            return self._chosen(Span(positions))
        return self._chosen(Listed(listed(positions)))

    def sample(self, number: float, *, seed: int = 0) -> Self:
        """Some samples at random, none twice, in the order that they are stored in.

        Args:
            number: How many, as an int; or which share of them, as a float up to 1.0.
            seed: Same seed, same samples, on every machine.

        Raises:
            OptionError: Neither, or more than there are; or this is a rank's part.
        """
        Shuffle(seed)
        return self._chosen(Sampled(check_share(number, "sample"), seed))

    def sort(self, by: By, *, descending: bool = False) -> Self:
        """The samples in the order of a value, equal ones as they were.

        The dataset is read once to find the order, when samples are first asked for; then samples
        are read by position. `write_samples` makes shards of that order, which read faster.

        Args:
            by: A field, a list of fields, or a function of a sample; ``"__key__"`` is its key.
            descending: Whether the largest comes first.

        Raises:
            OptionError: There is no such field; when it is read: values that cannot be compared.
        """
        return self._chosen(Sorted(self._values(by, "sort"), descending))

    def distinct(self, on: By) -> Self:
        """The first sample of each value.

        The dataset is read once to find them, when samples are first asked for. Every value is
        held in memory meanwhile.

        Args:
            on: As ``by`` of `sort`. Values are numbers, text, bytes, dates, None, arrays, or
                tuples of these; 1, 1.0 and True are different.

        Raises:
            OptionError: There is no such field; when it is read: values of other types.
        """
        return self._chosen(Distinct(self._values(on, "distinct")))

    def train_test_split(
        self,
        test: float,
        *,
        stratify: By | None = None,
        group: By | None = None,
        seed: int = 0,
    ) -> tuple[Self, Self]:
        """Two datasets, to train and to test, of which no sample is in both.

        The same on every machine. Each keeps the order of this dataset.

        Args:
            test: Share of the samples in the second one, such as 0.1, or their number.
            stratify: Each of its values has the same share in both: a field, a list of fields or
                a function of a sample. The dataset is read once for it.
            group: Samples with the same value are on the same side: as ``stratify``. A hash of
                value and seed decides, so that the side of a group stays the same when samples
                are added or removed, and ``test`` is met the closer the more groups there are.
                ``"__key__"``: each sample by itself, by its key.
            seed: Decides which.

        Returns:
            What to train on, and what to test on.

        Raises:
            OptionError: Another ``test``; both ``stratify`` and ``group``; or as for `sort`.
        """
        verb = "train_test_split"
        Shuffle(seed)
        test = check_share(test, verb)
        if stratify is not None and group is not None:
            raise OptionError(f"{verb}: give stratify or group, not both: groups differ in size.")
        division = Division(
            self,
            test,
            seed,
            None if stratify is None else self._values(stratify, verb),
            None if group is None else self._values(group, verb),
        )
        return self._chosen(Side(division, False)), self._chosen(Side(division, True))

    def concat(self, *others: Self) -> Self:
        """The samples of this dataset, then those of the others; also ``dataset + other``.

        It has a length, positions, ranks and states; of filtered datasets, as they have.

        Args:
            others: Datasets of the same type.

        Raises:
            SampleTypeError: One is of another type.
            OptionError: One is no dataset, or a rank's part.
        """
        return self._changed(origin=self._joined(others, "concat"), steps=self._no_steps())

    def __add__(self, other: Self) -> Self:
        return self.concat(other) if isinstance(other, Verbs) else NotImplemented

    def interleave(self, *others: Self, stop: Stop = "all") -> Self:
        """A sample of this dataset, one of each other, and so on in turn.

        As `choose`: of filtered datasets, all are read once to find their samples. For draws by
        chance, with weights, use `mix`.

        Args:
            others: Datasets of the same type.
            stop: ``"all"``: where one has no samples left, the others continue, so that each
                sample comes once. ``"first"``: it ends there.

        Raises:
            SampleTypeError: One is of another type.
            OptionError: One is no dataset, or a rank's part; or another ``stop``.
        """
        if stop not in get_args(Stop):
            raise OptionError(f"stop={stop!r:.80}: expected 'first' or 'all'.")
        return self.concat(*others)._chosen(Interleaved(stop == "first"))

    def _joined(self, others: Sequence[Self], verb: str) -> Joined:
        for other in others:
            if not isinstance(other, Verbs):
                raise OptionError(f"{verb}({other!r:.80}): expected a dataset.")
        whole = [dataset._whole() for dataset in (self, *others)]
        check_same_type(whole, "joined")
        return Joined(whole)

    def _values(self, by: By, verb: str) -> Values:
        return Values(self._whole(), by, verb)

    def _chosen(self, choice: Choice) -> Self:
        return self._changed(origin=Chosen(self._whole(), choice), steps=self._no_steps())

    def _no_steps(self) -> Steps:
        return Steps(self._sample_type, is_known=self._type_is_known)

    def _whole(self) -> Self:
        """This dataset, to be part of another one.

        Raises:
            OptionError: It is a rank's part.
        """
        if self._share.world_size > 1:
            raise OptionError(
                "This is a rank's part. Choose and combine whole datasets, and split what comes "
                "out: dataset.take(100).split()."
            )
        return self

    def split(
        self,
        rank: int | None = None,
        world_size: int | None = None,
        *,
        even: Even | None = None,
    ) -> Self:
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
        return self._changed(share=share)

    def cached(self, folder: str | Path | None = None, *, max_bytes: int | None = None) -> Self:
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
        origin = self._origin
        if isinstance(origin, Derived):
            return self._changed(
                origin=origin.over(lambda part: part.cached(folder, max_bytes=max_bytes))
            )
        place = user_path(folder) if folder is not None else cache_folder() / "shards"
        bound = MAX_BYTES if max_bytes is None else max_bytes
        cache = CachedSource(uncached(origin.source), place, bound, origin.known)
        return self._over(origin, cache, origin.verify)

    def verified(self, verify: Verify) -> Self:
        """The same dataset, whose shards are checked against what is recorded of them.

        Args:
            verify: ``"full"``: size and SHA-256, of a stream at its end, of a file of this
                machine before it is read. ``"sizes"``: the size alone. ``"off"``: neither.
                Without a call of this: streams and copies in a cache in full, the latter when a
                process first uses them; other files by size.

        Raises:
            OptionError: Another word.
        """
        check_verify(verify)
        origin = self._origin
        if isinstance(origin, Derived):
            return self._changed(origin=origin.over(lambda part: part.verified(verify)))
        return self._over(origin, origin.source, verify)

    def _over(self, shards: PositionedShards, source: DataSource, verify: Verify | None) -> Self:
        source = with_hashed_copies(source, hashed=verify in (None, "full"))
        return self._changed(origin=PositionedShards(source, shards.known, verify))
