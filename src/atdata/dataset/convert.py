"""convert_dataset: any dataset → shards of a layout, by several processes, resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from atdata._shardlist import Layout, ShardInfo
from atdata._version import __version__
from atdata._warnings import repeat_warning, warn
from atdata.dataset.convert_parts import Part, PartWriter, disk_errors
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import splits_of
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share
from atdata.dataset.reading.steps import Skip, View
from atdata.dataset.shard_folder import ShardFolder
from atdata.errors import (
    NoDataUrlsError,
    OptionError,
    SampleTypeError,
    SkippedSamplesWarning,
    StoreError,
)
from atdata.samples.codec import check_sample_type
from atdata.schema.schema_file import schema_file
from atdata.system.durable import make_folders
from atdata.system.files import is_mine
from atdata.system.locks import locked_folder
from atdata.system.processes import spread

T = TypeVar("T")

_PLAN: Final = "plan.json"
_PATIENCE_SECONDS: Final = 5.0
"""Seconds to wait for the lock: worker processes of a killed run end within two."""


def convert_dataset(
    dataset: Dataset[T],
    path: str | Path,
    *,
    layout: Layout = "msgpack",
    samples_per_shard: int | None = None,
    workers: int = 1,
    fsync: bool = True,
    restart: bool = False,
    multiprocessing_context: str | None = None,
) -> Dataset[T]:
    """Write the samples of a dataset, as they come out of it, to new shards.

    Each shard becomes one, and each sample keeps its key. The same dataset gives the same bytes
    for any number of workers, however often the call was interrupted. Nothing appears under
    ``path`` until all is written; existing shards are then replaced as `write_samples` does.

    Run again after it was interrupted or killed, a call with the same arguments resumes: what was
    written whole is checked and kept. What is unfinished is in ``.digits.converting`` next to the
    shards. With a filter, a map or a lens with a function, which may differ unnoticed, a call
    begins again; so it does for samples of other datasets, such as chosen or joined ones. These
    become one shard, or as many as ``samples_per_shard`` says, and have their positions as keys,
    but for joined ones, which keep theirs.

    Args:
        dataset: What is converted, with its filters, maps and lenses. Shards on servers are told
            apart from later versions by recorded hash, or size and first bytes.
        path: As for `write_samples`; ``digits.tar`` is one shard if the dataset is one.
        layout: ``"msgpack"`` or ``"members"``, as for `write_samples`.
        samples_per_shard: Cut new shards after so many stored samples, filtered ones included.
            A key that comes twice in one of them gets the number of its old shard appended.
        workers: Processes that read and write. 1: this one.
        fsync: As for `write_samples`.
        restart: Begin again if another conversion to this path is unfinished, and delete it.
        multiprocessing_context: ``"fork"``, ``"spawn"`` or ``"forkserver"``.

    Returns:
        The dataset of the new shards.

    Raises:
        StoreError: An unfinished conversion to this path has other arguments or other input; or
            another process works on it; or as for `write_samples`.
        WorkerError: A worker process was killed. Run again, it resumes.
        OptionError: A number below 1, shards of several splits, a rank's part of a dataset, or
            shards that would replace those that are read.
        NoDataUrlsError: There is not one sample.
    """
    conversion = Conversion(
        dataset, path, layout=layout, samples_per_shard=samples_per_shard, fsync=fsync
    )
    return conversion.run(workers, restart=restart, context=multiprocessing_context)


class Conversion:
    """One conversion; the arguments and errors are those of `convert_dataset`."""

    def __init__(
        self,
        dataset: Dataset[Any],
        path: str | Path,
        *,
        layout: Layout,
        samples_per_shard: int | None = None,
        fsync: bool = True,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise SampleTypeError(
                f"Expected a Dataset, found {type(dataset).__name__}: "
                "convert_dataset(atdata.Dataset('photos-*.tar'), 'fast/photos-%06d.tar')."
            )
        check_sample_type(dataset.sample_type)
        if dataset._share != Share():
            raise OptionError("This is a rank's part. Convert the whole dataset, with workers=.")
        if layout not in get_args(Layout):
            raise OptionError(f'layout={layout!r:.80}: expected "msgpack" or "members".')
        _check_number("samples_per_shard", samples_per_shard)
        splits = dict.fromkeys(split or "train" for split in splits_of(dataset.known_shards()))
        if len(splits) > 1:
            raise OptionError(
                f"The shards are of several splits: {', '.join(splits)}. Convert one after the "
                f"other, such as atdata.load_dataset(…, split={next(iter(splits))!r})."
            )
        several = samples_per_shard is not None or len(dataset.shard_list) > 1
        self._target = ShardFolder(path, numbered=several, fsync=fsync)
        self._folder = self._target.folder / f".{self._target.stem}.converting"
        self._writer = PartWriter(dataset, self._folder, layout, samples_per_shard, fsync)
        self._schema = schema_file(dataset.sample_type)

    def run(
        self,
        workers: int = 1,
        *,
        restart: bool = False,
        context: str | None = None,
        advance: Callable[[int], object] = lambda done: None,
    ) -> Dataset[Any]:
        """Convert.

        Args:
            workers: As for `convert_dataset`.
            restart: As for `convert_dataset`.
            context: How processes start.
            advance: Called with how many more parts are done.
        """
        _check_number("workers", workers)
        count = self._writer.count()
        if not count:
            raise NoDataUrlsError("There is nothing to convert: not one sample.")
        self._check_targets(count)
        with self._locked():
            try:
                self._begin(count, restart=restart)
                written = self._written(count, workers, context, advance)
                shards = self._published(written)
            except BaseException as error:
                # Without a finished part there is nothing to resume.
                if not self.whole or isinstance(error, NoDataUrlsError):
                    shutil.rmtree(self._folder, ignore_errors=True)
                raise
            shutil.rmtree(self._folder, ignore_errors=True)
        self._report(written)
        sample_type = self._writer.dataset.sample_type
        return Dataset.of(sample_type, [Path(shard.url) for shard in shards], shards=shards)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return self._writer.count()

    @property
    def whole(self) -> int:
        """Number of parts that are in the folder for unfinished ones."""
        return sum(1 for _ in self._folder.glob("[0-9]*.json"))

    def _check_targets(self, count: int) -> None:
        sources = {
            path.resolve()
            for shard in self._writer.dataset._origin.each
            if (path := shard.path) is not None
        }
        for number in range(count):
            if (path := self._target.path_of(number)).resolve() in sources:
                raise OptionError(
                    f"{path} would replace a shard that is read. Name another path, and remove "
                    "the old shards afterwards."
                )
        if self._target.is_numbered:
            self._target.refuse_leftovers(count)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder for unfinished parts, which is made here.

        Raises:
            StoreError: Another process holds it, or it belongs to another user.
        """
        while True:
            with disk_errors(self._folder):
                make_folders(self._target.folder, sync=self._target.fsync)
                with suppress(FileExistsError):
                    self._folder.mkdir(mode=0o700)
                found = self._folder.lstat()
            if self._folder.is_symlink() or not is_mine(found):
                raise StoreError(
                    f"{self._folder} belongs to another user, or is a link. Write to another path."
                )
            with ExitStack() as locks:
                try:
                    locks.enter_context(locked_folder(self._folder, _PATIENCE_SECONDS))
                    # The process that had it locked may have finished, and removed it.
                    mine = os.path.samestat(self._folder.lstat(), found)
                except BlockingIOError as error:
                    raise StoreError(
                        f"Another process converts to {self._target.path_of(0)} just now. Wait "
                        "until it has finished. Nothing was written."
                    ) from error
                except FileNotFoundError:
                    mine = False
                if mine:
                    yield
                    return

    def _begin(self, count: int, *, restart: bool) -> None:
        """Record what this conversion is, or check that the unfinished one is the same."""
        plan = self._plan(count)
        path = self._folder / _PLAN
        before: dict[str, Any] | None = None
        with suppress(OSError, ValueError):
            before = json.loads(path.read_bytes())
        resumable = before is not None and before.get("steps") is not None
        if before is not None and before != plan and resumable and not restart:
            differing = [name for name in plan if before.get(name) != plan[name]]
            changes = "; ".join(
                f"{name}: {_shown(before.get(name))} there, {_shown(plan[name])} here"
                for name in differing
            )
            raise StoreError(
                f"{self._folder} has an unfinished conversion that differs: {changes}. Resume that "
                "with its arguments, or begin again and delete what it wrote: restart=True. "
                "Nothing was replaced."
            )
        with disk_errors(path):
            resumed = before == plan and resumable and not restart
            for old in self._folder.iterdir():
                if not resumed or old.name.startswith("."):
                    old.unlink()
            path.write_text(json.dumps(plan))

    def _plan(self, count: int) -> dict[str, Any]:
        """What makes two conversions the same, as JSON; ``steps`` is None where that is unknown."""
        dataset, writer = self._writer.dataset, self._writer
        steps: list[Any] | None = None
        if isinstance(dataset._origin, PositionedShards):
            # Samples of other datasets may be pairs, which have no schema.
            steps = [_digest(schema_file(dataset._steps.stored_type))]
        for step in dataset._steps.each:
            if isinstance(step, Skip) and steps is not None:
                steps.append("skip")
            elif isinstance(step, View) and step.lens.renames is not None and steps is not None:
                steps.append(sorted(step.lens.renames.items()))
            else:
                steps = None
        return {
            "atdata": __version__,
            "layout": writer.layout,
            "samples_per_shard": writer.samples,
            "type": f"{dataset.sample_type.__name__} {_digest(self._schema)}",
            "steps": json.loads(json.dumps(steps)),
            "shards": list(dataset.shard_list),
            "parts": count,
        }

    def _written(
        self, count: int, workers: int, context: str | None, advance: Callable[[int], object]
    ) -> list[Part]:
        numbers = range(count)
        workers = min(workers, count)
        done = (
            map(self._writer, numbers)
            if workers == 1
            else spread(
                self._writer, numbers, workers=workers, warned=repeat_warning, context=context
            )
        )
        written: list[Part] = []
        for part in done:
            written.append(part)
            advance(1)
        return sorted(written, key=lambda part: part.number)

    def _published(self, written: list[Part]) -> list[ShardInfo]:
        """Give the shards their names, without those of parts that have no samples."""
        shards: list[ShardInfo] = []
        with disk_errors(self._target.path_of(0)):
            for part in written:
                if not part.samples:
                    continue
                place = self._target.path_of(len(shards))
                file = self._target.scratch() / f"{part.number}.tar"
                name = f"{self._target.stem}-{len(shards):06d}.tar"
                shards.append(ShardInfo(str(place), part.samples, part.bytes, part.sha256))
                _link(self._writer.path(part.number), file)
                self._target.accept(name, file, shards[-1])
                self._target.accept_table(name, self._writer.table(part.number))
            if not shards:
                raise NoDataUrlsError("There is nothing to write: not one sample is left.")
            self._target.publish(self._schema)
        return shards

    def _report(self, written: list[Part]) -> None:
        """Warn of what was left out."""
        origin = self._writer.dataset._origin
        if isinstance(origin, PositionedShards):
            for part in written:
                for shard, counts in part.unread.items():
                    if counts:
                        origin.unread.add(shard, Counter(counts))
            origin.unread.warn()
        skipped = sum(part.skipped for part in written)
        if skipped:
            first = next(part.first for part in written if part.skipped)
            total = skipped + sum(part.samples for part in written)
            filtered = any(not isinstance(s, Skip | View) for s in self._writer.dataset._steps.each)
            of = "samples were" if filtered else f"of {total:,} samples were"
            warn(SkippedSamplesWarning(f"{skipped:,} {of} skipped. The first: {first}"))


def _link(file: Path, path: Path) -> None:
    """Give a file a second name, so that whoever is killed now finds it by the first one."""
    try:
        path.hardlink_to(file)
    except OSError:
        # Some file systems have no links.
        file.rename(path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value):,} ({value[0]} …)" if value else "none"
    return str(value)


def _check_number(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OptionError(f"{name}={value!r:.80}: expected a whole number from 1 on.")
