"""Reading shards in stored order: by table, by scan, or as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

from atdata.dataset.reading.find_table import checked_table, scanned_table
from atdata.dataset.reading.rows import Rows, Run
from atdata.dataset.reading.shards import Shard, Shards
from atdata.dataset.reading.steps import Steps
from atdata.errors import ShardError
from atdata.shards.columns.decode import Block
from atdata.shards.layouts.sniff import layout_of
from atdata.shards.reader import read_blocks
from atdata.shards.tar.window import MappedFile, StreamChunks, open_window


def read_in_order(
    shards: Shards, steps: Steps, size: int | None = None, *, copy: bool = True
) -> Iterator[Run]:
    """Every row in stored order, in runs that end where batches of ``size`` do.

    Args:
        shards: The shards.
        steps: The steps applied to samples.
        size: Samples in a batch; None: one by one.
        copy: As for `Block`.

    Raises:
        ShardError: A shard is damaged, or not what it was when this dataset first read it.
        SourceError: One cannot be read.
    """
    before = 0
    with closing(_OpenedAhead()) as ahead, shards.unread.reading() as unread:
        for shard in shards.each:
            options: dict[str, Any] = {
                "shard": shard.name,
                "codec": steps.codec,
                "rows": size,
                "first": -before % size if size else None,
                "copy": copy,
                "unread": unread,
            }
            path = shard.located()
            if path is None:
                following = shards.each[shard.number + 1 : shard.number + 2]
                blocks = _counted(shard, _streamed(shard, ahead, following, options))
            else:
                file = _mapped(shard)
                table = checked_table(shard, path)
                if table is None and steps.skips and layout_of(open_window(file)) == "members":
                    # All parts of a sample are skipped, also those before the others are found.
                    table = scanned_table(shard, unread)
                blocks = _of_file(shard, file, read_blocks(file, table=table, **options))
            for block in blocks:
                rows, kept = steps.apply(block)
                yield rows, before + kept + 1
                before += len(block)


def read_shard(shards: Shards, number: int, steps: Steps) -> Iterator[Rows]:
    """The rows of one shard, every step applied; as `shard_blocks`."""
    for block in shard_blocks(shards, number, steps):
        rows, _ = steps.apply(block)
        if len(rows):
            yield rows


def shard_blocks(shards: Shards, number: int, steps: Steps) -> Iterator[Block[Any]]:
    """The samples of one shard, no step applied. Every header is checked.

    Args:
        shards: The shards.
        number: Which one is read.
        steps: The steps that will be applied to samples.

    Raises:
        ShardError: As for `read_in_order`.
        SourceError: As for `read_in_order`.
    """
    shard = shards.each[number]
    whole = partial(shard.whole, shard.open)
    read = partial(
        read_blocks, shard=shard.name, codec=steps.codec, unread=shards.unread, whole=whole
    )
    if shard.located() is not None:
        file = _mapped(shard)
        yield from _of_file(shard, file, read(file))
        return
    with closing(shard.open()) as stream:
        yield from _counted(shard, read(stream))


def _mapped(shard: Shard) -> MappedFile:
    try:
        return shard.opened(MappedFile)
    except ShardError as error:
        raise error.in_shard(shard.name) from None


def _of_file(shard: Shard, file: MappedFile, blocks: Iterator[Block[Any]]) -> Iterator[Block[Any]]:
    """The rows of an open local shard, which must not be overwritten while they are used."""
    for block in _counted(shard, blocks):
        shard.check_version(file.stat())
        yield block
        shard.check_version(file.stat())


def _streamed(
    shard: Shard, ahead: _OpenedAhead, following: tuple[Shard, ...], options: dict[str, Any]
) -> Iterator[Block[Any]]:
    """The rows of a shard on a server, as they come; ``following`` is read next."""
    with closing(ahead.open(shard)) as window:
        for block in read_blocks(window, whole=partial(shard.whole, shard.open), **options):
            if window.final and following and following[0].path is None:
                ahead.prepare(following[0])
            yield block


def _counted(shard: Shard, blocks: Iterator[Block[Any]]) -> Iterator[Block[Any]]:
    """The rows of a shard, which must be as many as when they were first counted."""
    shard.check_unchanged()
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    shard.check_sample_count(count)


class _OpenedAhead:
    """Opens shards on servers as windows that read ahead, the next one while one is read."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[Shard, Future[StreamChunks]] | None = None

    def open(self, shard: Shard) -> StreamChunks:
        """The window of a shard, opened now or before.

        Raises:
            SourceError: It cannot be opened; raised here, not where that was tried.
        """
        opened, self._next = self._next, None
        if opened is not None and opened[0] is shard:
            return opened[1].result()
        _drop(opened)
        return _window(shard)

    def prepare(self, shard: Shard) -> None:
        """Begin to open the shard that is read next, if that was not begun."""
        if self._next is None:
            self._thread = self._thread or ThreadPoolExecutor(1, "atdata-open")
            self._next = shard, self._thread.submit(_window, shard)

    def close(self) -> None:
        """Close what was opened and not used."""
        _drop(self._next)
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def _window(shard: Shard) -> StreamChunks:
    return StreamChunks(shard.open(), ahead=True)


def _drop(opened: tuple[Shard, Future[StreamChunks]] | None) -> None:
    if opened is not None:
        opened[1].add_done_callback(_close)


def _close(opened: Future[StreamChunks]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
