"""What a contender is. A new one is one file in ``contenders/`` with a tuple ``CONTENDERS``."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from bench.envs import Environment
from bench.workloads import Row, Workload

Measure: TypeAlias = Literal["write", "each", "batches", "shuffled"]
MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
BATCH_SIZE: Final = 256


class Contender(ABC):
    """A package, and how its users write and read samples with it.

    The file is imported by the process that compares, too, which lacks the package: import
    it inside the methods. One instance serves one process.
    """

    name: ClassVar[str]
    environment: ClassVar[Environment]
    package: ClassVar[str | None] = None
    """What its user imports; None: the time of an import is not measured."""
    versions: ClassVar[tuple[str, ...]] = ("numpy",)
    """Distributions whose versions are told."""
    reads: ClassVar[str | None] = None
    """Whose files it reads; None: its own."""
    quick: ClassVar[bool] = True
    """Part of a quick run."""
    limit: ClassVar[bool] = False
    """Not a package, but what the machine can do."""
    measures: ClassVar[frozenset[Measure]] = frozenset(MEASURES)

    def open(self, workload: Workload, rows: list[Row], folder: Path) -> None:  # noqa: B027
        """Get ready to read ``folder``; not measured. Most need nothing."""

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
