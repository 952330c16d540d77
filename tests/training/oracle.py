"""Random programs over loaders, compared with a plain model: lists, cut and counted.

``python -m tests.training.oracle --cases 5000 --seed 0`` runs so many; needs PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from atdata import Dataset, mix
from atdata.errors import StateError
from tests.training.counted import Item, dataset_of

EPOCHS = 9
"""Epochs that programs begin in and set; those after them follow by themselves."""
SOURCES = [
    ("one", (31,)),
    ("few", (23, 7, 14)),
    ("many", (5, 1, 9, 2, 11, 4)),
    ("mixture", ((23, 7), (40,))),
    ("repeated", ((11,), (30,))),
]


def is_even(item: Item) -> bool:
    return item.number % 2 == 0


@cache
def source_of(name: str) -> Any:
    parts: Any = dict(SOURCES)[name]
    if name == "mixture":
        return mix([dataset_of(part) for part in parts], seed=4)
    if name == "repeated":
        return mix([dataset_of(part) for part in parts], weights=[1, 2], seed=1, stop="all")
    return dataset_of(parts)


@cache
def order_of(name: str, epoch: int | None) -> tuple[int, ...]:
    """Numbers in the order of an epoch, all of them, read in one go; None: as they are stored."""
    seed = None if name in ("mixture", "repeated") else 0
    how: dict[str, Any] = {} if epoch is None else {"shuffle": True, "seed": seed, "epoch": epoch}
    batches = source_of(name).batches(1000, ragged="pad", window=16 if how else None, **how)
    return tuple(number for batch in batches for number in batch["number"].tolist())


def parts_of(order: list[int], world: int) -> list[list[int]]:
    """So many parts, the first of them longer by one where that has to be."""
    each, over = divmod(len(order), world)
    ends = [rank * each + min(rank, over) for rank in range(world + 1)]
    return [order[a:b] for a, b in itertools.pairwise(ends)]


@dataclass(frozen=True)
class Options:
    """What a loader is made with."""

    batch: int
    drop_last: bool
    rank: int
    world: int
    even: Any
    workers: int
    persistent: bool


@dataclass(frozen=True)
class Place:
    """Where a loop begins, in the model."""

    epoch: int | None
    left: tuple[int, ...]
    """What was left where the run of ranks began that it is in."""
    is_part: bool = False
    """Whether some of the epoch was read before."""
    after: int | None = None
    world: int = 1
    """Ranks of the run."""
    taken: int = 0
    """What each of them has taken."""


@dataclass(eq=False)
class Loop:
    """A loop over a loader, and what the model expects of it."""

    batches: Iterator[Any]
    place: Place | None = None
    expected: list[tuple[list[int], int]] = field(default_factory=list)
    """Batches, each with the samples taken once it was given."""
    given: int = 0
    is_cut_off: bool = False


@dataclass
class Saved:
    """A state, and what it means."""

    state: str
    place: Place


class Program:
    """One random program."""

    def __init__(self, rng: random.Random, name: str, with_workers: bool) -> None:
        self._rng = rng
        self._name = name
        self._shuffled = rng.random() < 0.8
        self._filtered = rng.random() < 0.2
        self._with_workers = with_workers
        self._saved: list[Saved] = []
        self.done: Counter[str] = Counter()
        self._make(self._options(), rng.randrange(EPOCHS) if self._shuffled else None)

    def run(self, steps: int) -> None:
        """Do so many things, each compared with the model."""
        for _ in range(steps):
            name = self._rng.choices(
                ["begin", "step", "leave", "finish", "set_epoch", "save", "load", "move", "len"],
                [4, 8, 3, 2, 2, 4, 2, 2, 2],
            )[0]
            getattr(self, f"_{name}")()
            self.done[name] += 1
        self._save()
        # A whole loop at the end, and the one after it.
        self._loops.clear()
        for _ in range(2):
            self._begin()
            self._finish()

    def close(self) -> None:
        """Let go of everything."""
        self._loops.clear()
        del self._loader

    def _options(self) -> Options:
        rng = self._rng
        world = rng.choice([1, 1, 2, 3])
        return Options(
            batch=rng.choice([1, 3, 4, 7, 50]),
            drop_last=rng.random() < 0.2,
            rank=rng.randrange(world),
            world=world,
            even=rng.choice([None, "drop", "pad"]),
            workers=rng.choice([1, 2, 3]) if self._with_workers else 0,
            persistent=rng.random() < 0.6,
        )

    def _make(self, how: Options, epoch: int | None) -> None:
        source = source_of(self._name)
        if self._filtered and isinstance(source, Dataset):
            source = source.filter(is_even)
        else:
            self._filtered = False
        self._how = how
        self._loader = source.split(how.rank, how.world, even=how.even).to_torch(
            how.batch,
            shuffle=self._shuffled,
            epoch=epoch or 0,
            window=16 if self._shuffled else None,
            drop_last=how.drop_last,
            ragged="pad",
            num_workers=how.workers,
            persistent_workers=how.persistent,
        )
        self._next = self._whole(epoch)
        self._loops: list[Loop] = []
        self._last: Loop | None = None

    def _whole(self, epoch: int | None) -> Place:
        return Place(epoch, order_of(self._name, epoch))

    def _following(self, place: Place) -> Place:
        if place.epoch is None:
            return self._whole(None)
        return self._whole(place.epoch + 1 if place.after is None else place.after)

    def _run(self, place: Place) -> tuple[list[int], int]:
        """What was left where the run began, and what each rank has taken of it."""
        if place.world == self._how.world:
            return list(place.left), place.taken
        parts = parts_of(list(place.left), place.world)
        return [number for part in parts for number in part[place.taken :]], 0

    def _part(self, place: Place) -> list[int]:
        how, (left, taken) = self._how, self._run(place)
        total = len(left)
        part = parts_of(left, how.world)[how.rank]
        if how.even == "drop":
            part = part[: total // how.world]
        elif how.even == "pad" and len(part) < -(-total // how.world):
            part = [*part, (part or left)[0]]
        return part[taken:]

    def _batches(self, place: Place) -> list[tuple[list[int], int]]:
        kept = [
            (number, taken)
            for taken, number in enumerate(self._part(place), 1)
            if not self._filtered or number % 2 == 0
        ]
        size = self._how.batch
        batches = [kept[at : at + size] for at in range(0, len(kept), size)]
        if self._how.drop_last and batches and len(batches[-1]) < size:
            batches.pop()
        return [([number for number, _ in batch], batch[-1][1]) for batch in batches]

    def _begun(self) -> list[Loop]:
        return [loop for loop in self._loops if loop.given and not loop.is_cut_off]

    def _begin(self) -> None:
        if len(self._loops) < 3:
            self._loops.append(Loop(iter(self._loader)))

    def _step(self) -> None:
        if self._loops:
            self._advance(self._rng.choice(self._loops))

    def _advance(self, loop: Loop) -> bool:
        """Whether there was another batch."""
        if loop.is_cut_off:
            try:
                next(loop.batches)
            except StateError:
                self._loops.remove(loop)
                return False
            raise AssertionError("a loop went on after another state was loaded")
        if loop.place is None:
            loop.place, loop.expected = self._next, self._batches(self._next)
        found = next(loop.batches, None)
        if loop.given == len(loop.expected):
            assert found is None, "a loop has more batches than it should have"
            if not loop.given:
                self._next = self._following(loop.place)
            self._over(loop)
            return False
        assert found is not None, f"a loop ended after {loop.given} of {len(loop.expected)}"
        assert found["number"].tolist() == loop.expected[loop.given][0], "another batch"
        if not loop.given:
            self._next = self._following(loop.place)
        loop.given += 1
        self._last = loop
        return True

    def _over(self, loop: Loop) -> None:
        self._loops.remove(loop)
        if self._last is loop:
            self._last = None

    def _leave(self) -> None:
        if self._loops:
            self._over(self._rng.choice(self._loops))

    def _finish(self) -> None:
        if self._loops:
            loop = self._loops[-1]
            while self._advance(loop):
                pass

    def _set_epoch(self) -> None:
        if self._next.epoch is None:
            return
        epoch = self._rng.choice([self._next.epoch, self._rng.randrange(EPOCHS)])
        self._loader.set_epoch(epoch)
        if not self._next.is_part or epoch != self._next.epoch:
            self._next = self._whole(epoch)

    def _save(self) -> None:
        loop = self._last
        if loop is None and self._begun():
            try:
                self._loader.state_dict()
            except StateError:
                return
            raise AssertionError("a state of two loops")
        state = json.dumps(self._loader.state_dict())
        place = self._next
        if loop is not None:
            assert loop.place is not None
            left, before = self._run(loop.place)
            taken = before + loop.expected[loop.given - 1][1]
            following = self._following(Place(loop.place.epoch, ()))
            after = None if following == self._next else self._next.epoch
            world = self._how.world
            place = Place(loop.place.epoch, tuple(left), True, after, world, taken)
        self._saved.append(Saved(state, place))

    def _load(self) -> None:
        if not self._saved:
            return
        saved = self._rng.choice(self._saved[-3:])
        self._loader.load_state_dict(json.loads(saved.state))
        for loop in self._loops:
            # One that was not given anything begins where the state is.
            loop.is_cut_off = loop.given > 0
        self._last = None
        self._next = saved.place

    def _move(self) -> None:
        """To another loader: other ranks, workers, batches."""
        if self._saved:
            self._loops.clear()
            self._make(self._options(), 0 if self._shuffled else None)
            self._load()

    def _len(self) -> None:
        if not self._filtered:
            place = self._next if self._last is None else self._last.place
            assert place is not None
            assert len(self._loader) == len(self._batches(place)), "another length"


def run(seed: int, case: int, *, workers_every: int = 50) -> Counter[str]:
    """One program.

    Args:
        seed: Of all programs.
        case: Number of this one.
        workers_every: One in so many has workers; the others read in this process.

    Raises:
        AssertionError: The loader and the model differ.
    """
    rng = random.Random(f"{seed} {case}")
    with_workers = case % workers_every == workers_every - 1
    program = Program(rng, rng.choice(SOURCES)[0], with_workers)
    try:
        program.run(rng.randrange(4, 12 if with_workers else 20))
    except Exception as error:
        error.add_note(f"seed {seed}, case {case}")
        raise
    finally:
        program.close()
    program.done["with workers"] += with_workers
    return program.done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers-every", type=int, default=50)
    asked = parser.parse_args()
    done: Counter[str] = Counter()
    began = time.monotonic()
    for case in range(asked.first, asked.first + asked.cases):
        done += run(asked.seed, case, workers_every=asked.workers_every)
    took = time.monotonic() - began
    print(f"{asked.cases} programs, seed {asked.seed}, all as the model has it; {took:.0f} s")
    print(", ".join(f"{count} {name}" for name, count in sorted(done.items())))


if __name__ == "__main__":
    main()
