"""What a contender is. A new one is one file in ``contenders/`` with a tuple ``CONTENDERS``."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from bench.envs import Environment
from bench.workloads import Row, Workload

Measure: TypeAlias = Literal["write", "each", "batches", "shuffled", "random", "loader"]
MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
BATCH_SIZE: Final = 256
WORKERS: Final = 2
"""Processes of a loader."""
CHECKOUT_VARIABLE: Final = "ATDATA_BENCH_BEFORE"
"""Environment variable: another checkout of this package, for this process and its workers."""
BEFORE: Final = "before: "
"""How the names of that checkout's contenders begin; the rest is the one of ours it stands for."""


class Contender(ABC):
    """A package, and how its users write and read samples with it.

    The file is imported by the process that compares, too, which lacks the package: import
    it inside the methods. One instance serves one process.
    """

    name: ClassVar[str]
    environment: ClassVar[Environment]
    loading: ClassVar[Environment | None] = None
    """Where `loader` runs: an environment with torch."""
    imports: ClassVar[str | None] = None
    """The statement with which its user imports what reading needs; None: not measured."""
    versions: ClassVar[tuple[str, ...]] = ("numpy",)
    """Distributions whose versions are reported."""
    reads: ClassVar[str | None] = None
    """Whose files it reads; None: its own."""
    quick: ClassVar[bool] = True
    """Part of a quick run."""
    limit: ClassVar[bool] = False
    """Not a package, but what the machine can do."""
    gives: ClassVar[bool] = True
    """Reading gives the samples, which is checked; False: a limit that gives something else."""
    like: ClassVar[str | None] = None
    """Whose shards it writes, byte for byte, which is checked."""
    part: ClassVar[int] = 1
    """It is given one of so many small samples: those that take long, and as long for each."""
    large_part: ClassVar[int] = 1
    """The same of large samples."""
    measures: ClassVar[frozenset[Measure]] = frozenset(MEASURES)

    def find(self) -> None:  # noqa: B027
        """Prepare what it needs besides its environment, before its process starts.

        Raises:
            EnvironmentMissing: It cannot be had here.
        """

    def ready(self, workload: Workload) -> None:
        """Import what users import, and define the type of the samples; not measured."""
        if self.imports:
            importlib.import_module(self.imports.split()[1])

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:  # noqa: B027
        """Get ready to read ``folder``; not measured. Most need nothing."""

    def forget(self, folder: Path) -> None:  # noqa: B027
        """Remove what reading stored next to the files; before each pass, not measured."""

    def samples(self, workload: Workload, rows: list[Row]) -> Any:
        """The samples in the form that `write` takes; not measured."""
        return rows

    def write(self, workload: Workload, samples: Any, folder: Path) -> None:
        """Write samples, one by one, to an empty folder, in `bench.workloads.SHARDS` shards."""
        raise AssertionError(f"{self.name} does not write")

    def each(self, workload: Workload, folder: Path) -> Iterable[Any]:
        """Samples in order, one by one, every field decoded."""
        raise AssertionError(f"{self.name} does not read one by one")

    def row(self, workload: Workload, sample: Any) -> Row:
        """A sample that `each` gave as a row; not measured."""
        return {name: getattr(sample, name) for name in workload.kinds}

    def batches(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        """Batches of `BATCH_SIZE` in order: each field an array of shape (B, *S) or a list."""
        raise AssertionError(f"{self.name} does not read batches")

    def shuffled(self, workload: Workload, folder: Path) -> Iterable[dict[str, Any]]:
        """The same in random order."""
        raise AssertionError(f"{self.name} does not shuffle")

    def dataset(self, workload: Workload, folder: Path) -> Any:
        """What `random` reads from; not measured."""
        raise AssertionError(f"{self.name} has no random access")

    def random(
        self, workload: Workload, dataset: Any, positions: NDArray[np.int64]
    ) -> dict[str, Any]:
        """The samples at these positions, in their order, as a batch."""
        raise AssertionError(f"{self.name} has no random access")

    def loader(self, workload: Workload, folder: Path) -> Iterable[Any]:
        """A loader of PyTorch with `WORKERS` processes, for shuffled batches of `BATCH_SIZE`.

        Each time that it is iterated over it gives an epoch.
        """
        raise AssertionError(f"{self.name} has no loader")

    def loaded(self, workload: Workload, batch: Any) -> dict[str, Any]:
        """A batch of the loader in the form of `batches`; not measured."""
        from bench.tensors import columns

        return columns(workload, batch)


def contenders() -> dict[str, Contender]:
    """Every contender, by name, in the order of the files, the limits last."""
    from bench import contenders as folder

    made: list[Contender] = []
    for module in pkgutil.iter_modules(folder.__path__):
        made += importlib.import_module(f"bench.contenders.{module.name}").CONTENDERS
    made.sort(key=lambda contender: (contender.limit, not contender.name.startswith("atdata")))
    return {contender.name: contender for contender in made}


def shard_size(count: int, shards: int) -> int:
    """Samples of a shard where ``count`` are spread over ``shards``."""
    return -(-count // shards)


def positions(count: int, number: int) -> NDArray[np.int64]:
    """Random positions among ``count`` samples, none twice; the same for every contender."""
    chosen: NDArray[np.int64] = np.random.default_rng(number).permutation(count)[:BATCH_SIZE]
    return chosen


def in_columns(workload: Workload, rows: list[Row]) -> dict[str, Any]:
    """Samples as a batch, for packages that give one by one: arrays of one shape stacked."""
    found: dict[str, Any] = {name: [row[name] for row in rows] for name in workload.kinds}
    return found | {name: np.stack(found[name]) for name in workload.named("array")}
