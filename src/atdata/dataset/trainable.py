"""What datasets and mixtures offer for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atdata.dataset.decode.options import Decodes, check_decode, decoded_fields
from atdata.dataset.reading.column_batches import ColumnBatches, ColumnOptions, Fill, Ragged
from atdata.dataset.reading.epoch import Epoch, Shuffle
from atdata.dataset.reading.ranks import Even, Share, find_share
from atdata.dataset.reading.rows import (
    Run,
    check_batch_size,
    check_batchable,
)
from atdata.dataset.reading.stream import EpochStream, Reading
from atdata.samples.batch import Column
from atdata.samples.codec import fields_of
from atdata.system.forks import importing

if TYPE_CHECKING:
    from atdata.dataset.torch.loader import TorchLoader

T = TypeVar("T")


class Trainable(ABC, Generic[T]):
    """Batches as dicts of columns, for NumPy, JAX and PyTorch."""

    _sample_type: type[T]
    _share: Share

    @abstractmethod
    def _epoch(self, shuffle: Shuffle | None) -> Epoch:
        """One epoch of all samples, not only of this rank's."""

    def _sequential(self, batch_size: int) -> Iterator[Run] | None:
        """Everything in stored order; None where reading by position is faster."""
        return None

    @property
    @abstractmethod
    def _is_filtered(self) -> bool:
        """Whether some samples may be left out."""

    @property
    @abstractmethod
    def _skips(self) -> bool:
        """Whether samples that cannot be decoded are left out."""

    @property
    @abstractmethod
    def _type_is_known(self) -> bool:
        """Whether the type of the samples is known before reading, see `Steps`."""

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        window: int | None = None,
        drop_last: bool = False,
        ragged: Ragged = None,
        fill: Fill = None,
        decode: Decodes = None,
    ) -> Reading[dict[str, Any]]:
        """One epoch in batches of columns: field name → NumPy array, or list for what is none.

        The form of a column follows from the type of its field and from ``ragged`` and ``fill``,
        never from the values of a batch: int is int64, float float64, bool bool, arrays are
        stacked to (B, *S), and everything else, also what may be None, is a list. Samples without
        a type are an error where their values leave the form open.

        JAX takes these dicts as they are. For a part of the data on each rank, read
        ``split().batches(…)``.

        Args:
            batch_size: Samples a batch.
            shuffle: Whether in random order, as `shuffled` gives it.
            seed: Same seed and epoch, same order.
            epoch: Another order for each epoch.
            window: Samples that are mixed with each other; None: about 32 MB of them.
            drop_last: Leave out a smaller batch at the end.
            ragged: What is made of arrays that differ in shape: ``"pad"``, ``"flat"``,
                ``"list"``, or a dict with one of these for each field that needs it. ``"list"``
                may be asked for of any field by its name.
            fill: Field → what stands for None in it. Its column has the form that it would have
                if it could not be None, and ``{field}.mask`` of shape (B,) says where values are.
            decode: Field with pictures → how they become one array, see `Decode`.

        Raises:
            DecodeError: A picture cannot be decoded; names shard, offset, key and field.
            OptionError: An argument out of its range, or a ``fill`` that its field cannot have.
            RaggedFieldError: Arrays differ in shape, or an int is beyond int64, and ``ragged``
                says nothing of the field; names it.
        """
        columns = self._columns(
            batch_size, drop_last=drop_last, ragged=ragged, fill=fill, decode=decode
        )
        how = self._shuffle(seed, epoch, window) if shuffle else None
        sequential = None if shuffle else partial(self._sequential, batch_size)
        return Reading(
            EpochStream(self._epoch, how, self._share, columns, batch_size, sequential=sequential)
        )

    def to_torch(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        window: int | None = None,
        num_workers: int = 0,
        even: Even | None = None,
        drop_last: bool = False,
        ragged: Ragged = None,
        fill: Fill = None,
        decode: Decodes = None,
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        persistent_workers: bool = True,
        multiprocessing_context: str | None = None,
    ) -> TorchLoader:
        """A loader for PyTorch: dicts of tensors, lists where there is no tensor.

        Each iteration over it is an epoch; shuffled, in another order each time. The order is the
        same for any number of workers, and so is its state. A dataset that was not split is split
        among the ranks of torch.distributed, or of ``RANK`` and ``WORLD_SIZE``.

        Args:
            batch_size: Samples a batch, on each rank.
            shuffle: Whether in random order.
            seed: Same seed and epoch, same order; None: 0, so that ranks agree.
            epoch: The first epoch.
            window: Samples that are mixed with each other; None: about 32 MB of them.
            num_workers: Processes that read; 0: this one, in a thread.
            even: ``"drop"`` or ``"pad"``, so that all ranks have equally many samples.
            drop_last: Leave out a smaller batch at the end.
            ragged: As for `batches`.
            fill: As for `batches`.
            decode: As for `batches`. The workers decode, and share the processors; where a filter
                leaves samples out, this process does.
            pin_memory: Put tensors into pinned memory, where there is a device to pin it for.
            prefetch_factor: Batches that each worker has ready; None: 2.
            persistent_workers: Keep the processes after an epoch, for the next one, as
                long as the loader does.
            multiprocessing_context: ``"fork"``, ``"spawn"`` or ``"forkserver"``.

        Raises:
            MissingExtraError: PyTorch is not installed.
            OptionError: An argument out of its range, or ranks that contradict each other.
        """
        with importing():
            from atdata.dataset.torch.loader import TorchLoader
            from atdata.dataset.torch.tensors import as_tensors

        share = self._share
        if share == Share() or even is not None:
            share = find_share(None, None, even) if share == Share() else _evened(share, even)
        columns = self._columns(
            batch_size,
            drop_last=drop_last,
            ragged=ragged,
            fill=fill,
            decode=decode,
            then=as_tensors,
        )
        how = self._shuffle(seed, epoch, window, agreed=True) if shuffle else None
        return TorchLoader(
            EpochStream(self._epoch, how, share, columns, batch_size),
            columns,
            filtered=self._is_filtered,
            num_workers=num_workers,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            multiprocessing_context=multiprocessing_context,
        )

    def _columns(
        self,
        batch_size: int,
        *,
        drop_last: bool,
        ragged: Ragged,
        fill: Fill,
        decode: Decodes,
        then: Callable[[dict[str, Column]], Any] | None = None,
    ) -> ColumnBatches:
        check_batch_size(batch_size)
        check_batchable(self._sample_type, type_is_known=self._type_is_known)
        options = ColumnOptions(ragged, fill)
        found = check_decode(decode)
        if self._type_is_known:
            options.of(decoded_fields(found, fields_of(self._sample_type)))
        decoding = None
        if found:
            with importing():
                from atdata.dataset.decode.columns import Decoding

            decoding = Decoding(found, skip=self._skips)
        return ColumnBatches(
            self._sample_type,
            self._type_is_known,
            batch_size,
            drop_last,
            options,
            then,
            decoding,
        )

    def _shuffle(
        self, seed: int | None, epoch: int, window: int | None, *, agreed: bool = False
    ) -> Shuffle:
        """How an epoch is shuffled; a seed that ranks agree on where they have to."""
        if seed is None and (agreed or self._share.world_size > 1):
            seed = 0
        return Shuffle(seed, epoch, window=window)


def _evened(share: Share, even: Even | None) -> Share:
    return Share(share.rank, share.world_size, even)
