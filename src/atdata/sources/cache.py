"""Copies of shards on this machine's disk: bounded, shared by many processes, checked."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from atdata._digest import sha256_of
from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo
from atdata.errors import IntegrityError, OptionError, ShardNotFoundError
from atdata.sources.ranges import FileBytes, ShardBytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BYTES: Final = 50 * 10**9
"""Bytes of copies that are kept, by default."""
_CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"[0-9a-f]{32}-(\d+)-([0-9a-f]{64})\.shard")
_PART: Final = re.compile(r"[0-9a-f]{32}\.part")


@dataclass
class CachedSource:
    """A source whose remote shards are copied to a folder when they are read.

    Shards that are files of this machine are read where they are: what is in the folder is
    always a copy, and nothing else is ever deleted. A copy is whole, or not there; the least
    recently used ones go when there are too many bytes. Locks belong to a process and end with
    it, so that a crash leaves nothing to be cleaned up by hand.

    A URL whose hash is not known is taken to mean the same bytes for ever.

    Raises:
        OptionError: The folder cannot be written, or the bound is below 1.
    """

    source: DataSource
    folder: Path
    max_bytes: int = MAX_BYTES
    known: Mapping[str, ShardInfo] = field(default_factory=dict)
    """What is known of the shards: a copy is made only of what has the right hash."""
    full: bool = False
    """Whether a copy is hashed again when it is first used by a process; else its size is
    compared."""

    def __post_init__(self) -> None:
        if isinstance(self.max_bytes, bool) or self.max_bytes < 1:
            raise OptionError(f"max_bytes={self.max_bytes!r}: expected a number from 1 on.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.folder, os.W_OK | os.X_OK)
        except OSError:
            writable = False
        if not writable:
            raise OptionError(
                f"The cache folder {self.folder} cannot be written. Name another one, or set "
                "ATDATA_CACHE_DIR."
            )
        self._checked: set[str] = set()

    @property
    def shard_list(self) -> list[str]:
        """Identifier of every shard. A new list."""
        return list(self.source.shard_list)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard and its open stream, in order; closed when the next begins."""
        for shard_id in self.shard_list:
            with closing(self.open_shard(shard_id)) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open the copy of a shard, or the shard, copied while it is read to its end."""
        if self.local_path(shard_id) is not None:
            return self.source.open_shard(shard_id)
        found = self._found(shard_id)
        if found is not None:
            return found.open("rb", buffering=_CHUNK)
        stream = self.source.open_shard(shard_id)
        part = self._begin(shard_id, wait=False)
        if part is None:
            return stream
        return io.BufferedReader(_Copying(stream, part, self, shard_id), _CHUNK)

    def ranges(self, shard_id: str) -> ShardBytes | None:
        """The copy of a shard as bytes by position; made now where there is none.

        Without room for it, the shard on its server.
        """
        found = self._found(shard_id) or self._copy(shard_id)
        if found is not None:
            with suppress(ShardNotFoundError):
                return FileBytes(found)
        find = getattr(self.source, "ranges", None)
        made: ShardBytes | None = find(shard_id) if callable(find) else None
        return made

    def open_beside(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file beside a shard, where the source can."""
        find = getattr(self.source, "open_beside", None)
        if not callable(find):
            raise ShardNotFoundError(f"There is nothing beside {shard_id!r}.")
        stream: IO[bytes] = find(shard_id, suffix)
        return stream

    def local_path(self, shard_id: str) -> Path | None:
        """The shard itself as a file of this machine; never a copy of it."""
        find = getattr(self.source, "local_path", None)
        place = find(shard_id) if callable(find) else None
        return place if isinstance(place, Path) else None

    def _key(self, shard_id: str) -> str:
        known = self.known.get(shard_id)
        identity = f"{shard_id}\0{known.sha256 if known else None}"
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _found(self, shard_id: str) -> Path | None:
        """The copy, if it is there and whole."""
        for path in self.folder.glob(f"{self._key(shard_id)}-*.shard"):
            match = _NAME.fullmatch(path.name)
            # Another process may remove it just now.
            with suppress(OSError):
                if match and path.stat().st_size == int(match[1]) and self._holds(path, match[2]):
                    os.utime(path)
                    return path
                path.unlink()
        return None

    def _holds(self, path: Path, sha256: str) -> bool:
        if not self.full or path.name in self._checked:
            return True
        with path.open("rb") as stream:
            good = sha256_of(stream)[0] == sha256
        if good:
            self._checked.add(path.name)
        return good

    def _copy(self, shard_id: str) -> Path | None:
        """Copy a shard now; None where the disk does not take it.

        Raises:
            IntegrityError: It has other bytes than recorded.
        """
        part = self._begin(shard_id, wait=True)
        found = self._found(shard_id)
        if part is None or found is not None:
            if part is not None:
                part.drop()
            return found
        try:
            with closing(self.source.open_shard(shard_id)) as stream:
                while chunk := stream.read(_CHUNK):
                    if not part.add(chunk):
                        return None
            return self.keep(part, shard_id)
        finally:
            part.drop()

    def _begin(self, shard_id: str, *, wait: bool) -> _Part | None:
        """A file for a copy, held by this process alone; None where that cannot be."""
        import fcntl

        path = self.folder / f"{self._key(shard_id)}.part"
        how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        while True:
            try:
                file = path.open("a+b", buffering=0)
                fcntl.flock(file, how)
                # Who held it before may have moved or removed it since it was opened.
                if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    file.truncate(0)
                    return _Part(path, file)
                file.close()
            except OSError:
                return None

    def check(self, shard_id: str, size: int, sha256: str) -> None:
        """Hold what was read of a shard against what is known of it.

        Raises:
            IntegrityError: They differ.
        """
        known = self.known.get(shard_id, ShardInfo(shard_id))
        if known.sha256 not in (None, sha256) or known.bytes not in (None, size):
            raise IntegrityError(
                f"expected {known.bytes} bytes with SHA-256 {known.sha256}, found {size} with "
                f"{sha256}",
                shard=shard_id,
            )

    def keep(self, part: _Part, shard_id: str) -> Path | None:
        """Give a finished copy its name, if it is the right one and there is room for it."""
        sha256 = part.digest.hexdigest()
        self.check(shard_id, part.size, sha256)
        if part.size > self.max_bytes:
            return None
        path = self.folder / f"{self._key(shard_id)}-{part.size}-{sha256}.shard"
        try:
            self._make_room(part.size)
            part.place(path)
        except OSError:
            return None
        return path

    def _make_room(self, size: int) -> None:
        """Remove the copies that were used longest ago, and what dead processes left."""
        copies: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                if _NAME.fullmatch(path.name):
                    stat = path.stat()
                    copies.append((stat.st_mtime, stat.st_size, path))
                elif _PART.fullmatch(path.name):
                    _remove_if_abandoned(path)
        held = size + sum(copy[1] for copy in copies)
        for _, freed, path in sorted(copies):
            if held <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            held -= freed


def _remove_if_abandoned(path: Path) -> None:
    import fcntl

    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


class _Part:
    """A copy that is being made. Its lock is the operating system's, and ends with the process."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes | memoryview) -> bool:
        """Write more; False, and nothing is left, where the disk is full."""
        if self._file.closed:
            return False
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.drop()
            return False
        self.digest.update(data)
        self.size += len(data)
        return True

    def place(self, path: Path) -> None:
        """Give it its name, when it is on the disk."""
        os.fsync(self._file.fileno())
        self._path.rename(path)
        self._file.close()

    def drop(self) -> None:
        """Remove it, unless it has its name already."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()


class _Copying(io.RawIOBase):
    """Passes a shard on, and copies it on the way."""

    def __init__(self, stream: IO[bytes], part: _Part, cache: CachedSource, shard: str) -> None:
        super().__init__()
        self._stream = stream
        self._part = part
        self._cache = cache
        self._shard = shard
        self._pid = os.getpid()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on; at the end, keep the copy."""
        view = memoryview(buffer).cast("B")
        data = self._stream.read(len(view))
        view[: len(data)] = data
        # A forked child shares the file with its parent, whose copy it is.
        if self._pid == os.getpid():
            if data:
                self._part.add(data)
            elif len(view) and not self._part._file.closed:
                self._cache.keep(self._part, self._shard)
                self._part.drop()
        return len(data)

    def close(self) -> None:
        """Close the stream; a copy of a part of the shard is removed."""
        if not self.closed:
            self._stream.close()
            if self._pid == os.getpid():
                self._part.drop()
        super().close()
