"""The shards of a dataset: where each one is, what is recorded of it, which version is read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, Protocol, Self, TypeVar, cast

from atdata._digest import sha256_of
from atdata._protocols import DataSource, IndexEntry, is_source
from atdata._shardlist import LocatedUrl, ShardInfo
from atdata.capabilities import ByteRanges, SupportsLocalPaths, known_shards_of
from atdata.errors import AtdataError, IntegrityError
from atdata.shards.layouts.sniff import layout_of
from atdata.shards.reader import Unread, count_samples
from atdata.shards.tar.window import MappedFile, open_window
from atdata.sources.byte_ranges import NoRangesError
from atdata.sources.capabilities import open_sidecar, ranges_of, uncached
from atdata.sources.url import URLSource
from atdata.sources.verified import Verify, check_file, verified
from atdata.system.forks import once
from atdata.system.partial_files import room_for
from atdata.system.scratch import Scratch

_COPY_BYTES: Final = 1 << 20
_UNKNOWN: Final = Path()
"""The path of a shard before its source was asked for it."""


class StatedFile(Protocol):
    """An open file."""

    def stat(self) -> os.stat_result:
        """The file as it is now."""
        ...


OpenFile = TypeVar("OpenFile", bound=StatedFile)


class Shard:
    """One shard. A dataset reads the version of it that it first saw; any other is an error.

    Args:
        number: Its number in the dataset.
        name: Its identifier in the source.
        source: Where it is.
        locate: Returns the local file of a shard; None if it is on a server.
        known: What is recorded of shards, by identifier.
        verify: How it is checked against that.
    """

    __slots__ = ("_first_seen", "_known", "_locate", "_path", "_source", "name", "number", "verify")

    def __init__(
        self,
        number: int,
        name: str,
        source: DataSource,
        locate: Callable[[str], Path | None],
        known: Mapping[str, ShardInfo],
        verify: Verify | None,
    ) -> None:
        self.number = number
        self.name = name
        self._source = source
        self._locate = locate
        self._known = known
        self.verify = verify
        self._path: Path | None = _UNKNOWN
        self._first_seen: dict[str, Any] = {}
        """As first seen: its file's size and time of change (not the inode: some network file
        systems give another one each time), its number of samples; and how it was changed since."""

    @property
    def recorded(self) -> ShardInfo:
        """What is recorded of it; if nothing is, its name alone."""
        return self._known.get(self.name) or ShardInfo(self.name)

    @property
    def path(self) -> Path | None:
        """Its local file; None if it is on a server."""
        return self.located() if self._path is _UNKNOWN else self._path

    def located(self) -> Path | None:
        """The same, after asking the source whether its shards are still those that it listed.

        Raises:
            IntegrityError: They were replaced since.
        """
        self._path = self._locate(self.name)
        return self._path

    def opened(self, open_path: Callable[[Path], OpenFile]) -> OpenFile:
        """Its local file, opened: the version that was seen first, and checked against the record.

        Args:
            open_path: Opens a path.

        Raises:
            IntegrityError: It is another version, differs from the record, or was replaced before
                it was open.
            ShardError: It cannot be opened.
        """
        path = self.path
        assert path is not None
        before = None
        with suppress(OSError):
            before = path.stat()
            self.check_version(before)
        if self.name in self._known:
            check_file(path, self.recorded, self.verify)
        file = open_path(path)
        after = file.stat()
        self.check_version(after)
        # What was hashed must be what was opened. A new name gives a file another time, too.
        if self.verify == "full" and before and before.st_ctime_ns != after.st_ctime_ns:
            raise self.changed()
        self.located()
        return file

    def open(self) -> IO[bytes]:
        """A stream of it, checked against what is recorded when it ends.

        Raises:
            SourceError: It cannot be opened.
        """
        return verified(self.open_unchecked(), self._known.get(self.name), self.verify)

    def open_unchecked(self) -> IO[bytes]:
        """A stream of it; errors as for `open`."""
        return self._source.open_shard(self.name)

    def open_sidecar(self, suffix: str) -> IO[bytes]:
        """The file next to it whose name is its own followed by ``suffix``.

        Raises:
            ShardNotFoundError: Not found.
            SourceError: It cannot be opened.
        """
        return open_sidecar(self._source, self.name, suffix)

    def ranges(self) -> ByteRanges | None:
        """Its bytes by position; None: the source gives whole files only."""
        return ranges_of(self._source, self.name)

    def read_little(self, start: int, size: int, shard_bytes: int) -> bytes:
        """A few of its bytes, without having a cache copy all of it.

        Args:
            start: The first byte.
            size: How many bytes.
            shard_bytes: Size of the whole shard, checked.

        Raises:
            IntegrityError: It has another size.
            SourceError: They cannot be read.
        """
        ranges = ranges_of(uncached(self._source), self.name)
        if ranges is None:
            raise NoRangesError(f"{self.name}: the source gives whole files only.")
        data = bytearray(size)
        ranges.size = shard_bytes
        ranges.read_into(memoryview(data), start)
        return bytes(data)

    def whole(self, open_shard: Callable[[], IO[bytes]] | None = None) -> MappedFile:
        """The whole shard in memory, copied to this machine first if it is on a server.

        Args:
            open_shard: Opens what is copied; None: `open_unchecked`.

        Raises:
            SourceError: It cannot be read, or there is no room for it.
        """
        if self.path is not None:
            return MappedFile(self.path)
        with self.copied(open_shard) as copy:
            return MappedFile(copy)

    @contextmanager
    def copied(self, open_shard: Callable[[], IO[bytes]] | None = None) -> Iterator[Path]:
        """A copy on this machine, which loses its name when the block ends; whoever has it open
        keeps it. Argument and errors as for `whole`.
        """
        folder = Path(tempfile.gettempdir())
        with room_for(self.name), Scratch(folder, "atdata-copy-") as scratch:
            path = scratch.path / "shard.tar"
            with closing((open_shard or self.open_unchecked)()) as stream, path.open("wb") as file:
                shutil.copyfileobj(stream, file, _COPY_BYTES)
            yield path

    def described(self, unread: Unread) -> ShardInfo:
        """What is recorded of it; if it is a local file, also samples, bytes and SHA-256 as found.

        Args:
            unread: Records members that are not samples.

        Raises:
            ShardError: It is damaged.
            SourceError: Its file cannot be read.
        """
        recorded, path = self.recorded, self.located()
        if path is None or None not in (recorded.samples, recorded.bytes, recorded.sha256):
            return recorded
        with closing(self.open_unchecked()) as stream:
            sha256, size = sha256_of(stream)
        samples = count_samples(path, shard=self.name, unread=unread)
        layout = layout_of(open_window(path))
        return replace(recorded, samples=samples, bytes=size, sha256=sha256, layout=layout)

    def check_unchanged(self) -> None:
        """Raise if an earlier check found it changed.

        Raises:
            IntegrityError: It was.
        """
        if "changed" in self._first_seen:
            raise self.changed()

    def check_version(self, stat: os.stat_result) -> None:
        """Check that its file has the size and time of change that were seen first.

        The first call remembers them. Called before and after anything is read from the file.

        Raises:
            IntegrityError: They differ.
        """
        self.check_unchanged()
        found = stat.st_size, stat.st_mtime_ns
        first = self._first_seen.setdefault("file", found)
        if first != found:
            raise self.changed("cut short" if found[0] < first[0] else "changed")

    def check_current_version(self) -> None:
        """`check_version` of its file as it is now. A missing file is an error when it is read."""
        if self.path is not None:
            with suppress(OSError):
                self.check_version(self.path.stat())

    def check_sample_count(self, samples: int) -> None:
        """Check that it has as many samples as were found first; the first call remembers them.

        Raises:
            IntegrityError: It differs.
        """
        self.check_unchanged()
        if self._first_seen.setdefault("samples", samples) != samples:
            raise self.changed()

    def changed(self, how: str = "changed") -> IntegrityError:
        """The error of a shard that is no longer what it was; from now on, each use raises it."""
        how = self._first_seen.setdefault("changed", how)
        return IntegrityError(
            f"the dataset was opened before this shard, or the .idx table next to it, was {how}. "
            "Open the dataset again",
            shard=self.name,
        )


def shards_by_name(
    names: Iterable[str],
    source: DataSource,
    known: Mapping[str, ShardInfo],
    verify: Verify | None = None,
) -> tuple[Shard, ...]:
    """Shards of a source, numbered from 0 on; arguments as for `Shard`."""
    # Asked once: isinstance() with a protocol takes longer than finding a file.
    locate = source.local_path if isinstance(source, SupportsLocalPaths) else _on_a_server
    return tuple(
        Shard(number, name, source, locate, known, verify) for number, name in enumerate(names)
    )


def _on_a_server(_: str) -> None:
    return None


class Shards:
    """The shards of a dataset: where they are, what is recorded of them, how they are checked.

    Nothing is listed or opened before it is asked for.

    Args:
        source: Where the shards are.
        known: What is recorded of them, by identifier.
        verify: How they are checked against that.
        counts: How many samples each shard had in the process that this was sent from;
            None: they were not counted there.
    """

    def __init__(
        self,
        source: DataSource,
        known: dict[str, ShardInfo],
        verify: Verify | None = None,
        counts: str | None = None,
    ) -> None:
        self.source = source
        self.known = known
        self.verify = verify
        self._counts = counts
        self.unread = Unread()
        """Members that are not samples: each is reported once."""

    @classmethod
    def of(cls, source: str | Path | Sequence[str | Path] | DataSource | IndexEntry) -> Self:
        """The shards that a user names, as for `Dataset`, with what they say of themselves.

        Raises:
            NoDataUrlsError: No shard is named.
        """
        known: tuple[ShardInfo, ...] = ()
        if isinstance(source, IndexEntry):
            known = known_shards_of(source)
            source = URLSource(source.data_urls)
        elif isinstance(source, (str, Path)) or not is_source(source):
            given = source if isinstance(source, (list, tuple)) else [source]
            known = tuple(s for url in given if isinstance(url, LocatedUrl) for s in url.shards)
            source = URLSource(cast("str | Path | Sequence[str | Path]", source))
        return cls(source, {shard.url: shard for shard in known})

    @once
    def each(self) -> tuple[Shard, ...]:
        """Every shard, in reading order.

        Raises:
            NoDataUrlsError: There is none.
            SourceError: They cannot be listed.
        """
        return shards_by_name(self.source.shard_list, self.source, self.known, self.verify)

    def shown(self) -> str:
        """The shards in words; what lists them, if they cannot be listed: a repr does not fail."""
        try:
            names = [shard.name for shard in self.each]
        except AtdataError:
            return repr(self.source)
        return names[0] if len(names) == 1 else f"{len(names)} shards, {names[0]} …"
