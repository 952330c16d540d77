"""Verbs that give a dataset of the same type: fewer samples, a part, or other copies of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from atdata._protocols import DataSource
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Even, Share, find_share
from atdata.dataset.reading.steps import Filter, Steps
from atdata.dataset.trainable import Trainable
from atdata.sources.cache import MAX_BYTES, CachedSource, with_hashed_copies
from atdata.sources.capabilities import uncached
from atdata.sources.verified import Verify, check_verify
from atdata.system.files import user_path
from atdata.system.folders import cache_folder

T = TypeVar("T")


class Verbs(Trainable[T]):
    """What gives a dataset of the same type. Nothing is read before samples are."""

    _shards: PositionedShards
    _steps: Steps

    @abstractmethod
    def _changed(
        self,
        *,
        shards: PositionedShards | None = None,
        steps: Steps | None = None,
        share: Share | None = None,
    ) -> Self:
        """This dataset with other parts; None: the same."""

    def filter(self, predicate: Callable[[T], bool]) -> Self:
        """Only the samples for which ``predicate`` is true."""
        return self._changed(steps=self._steps.then(Filter(predicate)))

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
        place = user_path(folder) if folder is not None else cache_folder() / "shards"
        bound = MAX_BYTES if max_bytes is None else max_bytes
        cache = CachedSource(uncached(self._shards.source), place, bound, self._shards.known)
        return self._over(cache, self._shards.verify)

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
        return self._over(self._shards.source, verify)

    def _over(self, source: DataSource, verify: Verify | None) -> Self:
        source = with_hashed_copies(source, hashed=verify in (None, "full"))
        shards = PositionedShards(source, self._shards.known, verify)
        return self._changed(shards=shards)
