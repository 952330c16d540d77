"""Which samples of an epoch belong to which rank."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from atdata._arrays import Integers
from atdata.errors import OptionError, StateError

Even: TypeAlias = Literal["drop", "pad"]
Ranges: TypeAlias = list[tuple[int, int]]
"""Places in the order of an epoch, each from the first to before the second, none empty."""


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's part of every epoch."""

    rank: int = 0
    world_size: int = 1
    even: Even | None = None
    """``drop``: every rank has as many samples as the one with fewest; ``pad``: as the one with
    most, where others see one sample twice; None: ranks differ by at most one sample."""
    is_split: bool = field(default=False, compare=False)
    """Whether the dataset was split, if only among one rank."""


def find_share(
    rank: int | None, world_size: int | None, even: Even | None, *, of: Share | None = None
) -> Share:
    """The share of this process.

    Args:
        rank: From 0 on; None: that of torch.distributed where it is initialised, else of
            ``RANK``, else of JAX where it is in use, else 0.
        world_size: Number of ranks; given together with ``rank``.
        even: As in `Share`.
        of: The share so far; a part of a part would not be one of the whole.

    Raises:
        OptionError: Numbers that cannot be, or that contradict what the environment says.
    """
    if of is not None and of.world_size > 1:
        raise OptionError(
            f"This is the part of rank {of.rank} of {of.world_size} already. Split the whole "
            "dataset."
        )
    if even not in (None, "drop", "pad"):
        raise OptionError(f"even={even!r}: expected 'drop', 'pad' or None.")
    if (rank is None) != (world_size is None):
        raise OptionError("rank and world_size are given together, or neither of them.")
    found = _torch_ranks() or _environment_ranks() or _jax_ranks()
    if rank is None or world_size is None:
        rank, world_size = found or (0, 1)
    elif found is not None and found != (rank, world_size):
        raise OptionError(
            f"rank={rank} of world_size={world_size} was asked for, and this process is rank "
            f"{found[0]} of {found[1]}. Leave both out, or correct RANK and WORLD_SIZE."
        )
    for name, value in (("rank", rank), ("world_size", world_size)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise OptionError(f"{name}={value!r}: expected a whole number.")
    if not 0 <= rank < world_size:
        raise OptionError(f"rank={rank} of world_size={world_size}: ranks go from 0 to one less.")
    return Share(rank, world_size, even, is_split=True)


def _torch_ranks() -> tuple[int, int] | None:
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return int(distributed.get_rank()), int(distributed.get_world_size())


def _environment_ranks() -> tuple[int, int] | None:
    texts = [os.environ.get(name) for name in ("RANK", "WORLD_SIZE")]
    if texts == [None, None]:
        return None
    numbers = [int(t) for t in texts if t is not None and t.isascii() and t.isdigit()]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise OptionError(
            f"RANK={texts[0]} and WORLD_SIZE={texts[1]} of the environment make no sense. Set "
            "both, the rank from 0 on and below the world size, or neither."
        )
    return numbers[0], numbers[1]


def _jax_ranks() -> tuple[int, int] | None:
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    rank, world_size = int(jax.process_index()), int(jax.process_count())
    return (rank, world_size) if world_size > 1 else None


def length(ranges: Ranges) -> int:
    """Number of places."""
    return sum(stop - start for start, stop in ranges)


def cut(ranges: Ranges, start: int, stop: int) -> Ranges:
    """Of all these places, counted from the first one, those from ``start`` to ``stop``."""
    out: Ranges = []
    before = 0
    for first, last in ranges:
        a, b = max(first, first + start - before), min(last, first + stop - before)
        if a < b:
            out.append((a, b))
        before += last - first
    return out


def part_of(ranges: Ranges, rank: int, world_size: int) -> Ranges:
    """One of ``world_size`` parts that differ in length by at most one place."""
    each, over = divmod(length(ranges), world_size)
    start = rank * each + min(rank, over)
    return cut(ranges, start, start + each + (rank < over))


def share_of(ranges: Ranges, share: Share) -> Ranges:
    """The places that one rank goes through, where a run begins with all of these."""
    total = length(ranges)
    part = part_of(ranges, share.rank, share.world_size)
    if share.even == "drop":
        return cut(part, 0, total // share.world_size)
    if share.even == "pad" and length(part) < -(-total // share.world_size):
        first = (part or ranges)[0][0]
        return [*part, (first, first + 1)]
    return part


def positions_in(ranges: Ranges, numbers: Integers) -> Integers:
    """Places, counted from the first one of some ranges → places in the order of the epoch."""
    starts, stops = np.array(ranges, np.int64).reshape(-1, 2).T
    ends = np.cumsum(stops - starts)
    which = np.searchsorted(ends, numbers, side="right")
    return numbers + (stops - ends)[which]


Taken: TypeAlias = "int | list[int]"
"""Samples that every rank has taken of its part, or those that each of them has."""


def left_of(samples: int, history: Sequence[tuple[int, Taken]]) -> Ranges:
    """What is left of an epoch.

    Args:
        samples: Samples of the epoch.
        history: World size and what was taken, of each session so far.
    """
    left = _whole(samples)
    for world_size, taken in history:
        left = _after(left, world_size, taken)
    return list(zip(*left.tolist(), strict=True))


def left_for(samples: int, history: Sequence[tuple[int, Taken]], share: Share) -> Ranges:
    """What one rank still has to read, in the order in which it would have continued.

    Ranks that resume in the same number, after equally many samples, continue the session that
    they began: what makes their parts equally long is chosen where a session begins.

    Args:
        samples: Samples of the epoch.
        history: As for `left_of`.
        share: Whose part.
    """
    world_size, done = history[-1] if history else (0, 0)
    if world_size != share.world_size or not isinstance(done, int):
        return share_of(left_of(samples, history), share)
    part = share_of(left_of(samples, history[:-1]), share)
    return cut(part, done, length(part))


def check_history(samples: int, history: Sequence[tuple[int, Taken]]) -> None:
    """Validate a history.

    Args:
        samples: Samples of the epoch, as the dataset has them.
        history: As for `left_of`.

    Raises:
        StateError: A rank took more samples than were left.
    """
    left = _whole(samples)
    for world_size, taken in history:
        count = int((left[1] - left[0]).sum())
        most = max([taken] if isinstance(taken, int) else taken)
        if most > -(-count // world_size):
            raise StateError(
                f"The state is damaged: {most} samples taken on one of {world_size} ranks, of "
                f"{count} that were left."
            )
        left = _after(left, world_size, taken)


def _whole(samples: int) -> Integers:
    """Where the one range of a whole epoch starts and stops, shape (2, 1); (2, 0) without any."""
    return np.array([[0], [samples]] if samples else [[], []], np.int64)


def _after(left: Integers, world_size: int, taken: Taken) -> Integers:
    """What is left after a session: starts and stops of ranges, shape (2, n)."""
    starts, stops = left
    ends = np.cumsum(stops - starts)
    # Counted from the first sample that was left: each rank's part, without what it took.
    each, over = divmod(int(ends[-1]) if len(ends) else 0, world_size)
    ranks = np.arange(world_size)
    first = ranks * each + np.minimum(ranks, over)
    last = first + each + (ranks < over)
    first = np.minimum(first + np.minimum(np.array(taken, np.int64), each + 1), last)
    first, last = first[first < last], last[first < last]
    # A part that goes through several ranges is one piece in each of them.
    from_range = np.searchsorted(ends, first, side="right")
    counts = np.searchsorted(ends, last - 1, side="right") - from_range + 1
    part = np.repeat(np.arange(len(first)), counts)
    inside = np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts, counts)
    which = from_range[part] + inside
    moved = (stops - ends)[which]
    found_starts = np.maximum(first[part] + moved, starts[which])
    found_stops = np.minimum(last[part] + moved, stops[which])
    is_new = np.ones(len(part) + 1, bool)
    is_new[1:-1] = found_starts[1:] != found_stops[:-1]
    return np.stack([found_starts[is_new[:-1]], found_stops[is_new[1:]]])
