"""Local copies of remote shards: bounded, shared by many processes, checked."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from atdata._digest import sha256_of
from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo
from atdata.capabilities import ByteRanges
from atdata.errors import IntegrityError, OptionError
from atdata.sources.byte_ranges import FileBytes
from atdata.sources.capabilities import local_path, open_neighbour, open_sidecar, ranges_of
from atdata.sources.hashed_stream import CheckedStream, HashedStream
from atdata.system.durable import make_folders, sync_folder
from atdata.system.files import open_file, open_own, private_folder, user_path
from atdata.system.forks import once
from atdata.system.locks import lock, locked_folder
from atdata.system.partial_files import PartialFile

MAX_BYTES: Final = 50 * 10**9
"""Most bytes of copies, by default."""
_CHUNK_BYTES: Final = 1 << 20
_COPY_NAME: Final = re.compile(r"([0-9a-f]{32})-(\d+)-([0-9a-f]{64})\.shard")
_PARTIAL_NAME: Final = re.compile(r"[0-9a-f]{32}(-read)?\.part")
_hashed: set[tuple[int, int, int, int]] = set()
"""Device, inode, size and modification time of the copies that this process has hashed."""
_PATIENCE_SECONDS: Final = 60.0
"""How long to wait for another process whose copy does not grow."""


@redacted_repr
@dataclass
class CachedSource:
    """A source whose remote shards are copied to a folder when they are read.

    Shards that are files of this machine are read where they are, so everything in the folder is
    a copy, and only copies are deleted. A copy is whole, or does not exist. When the folder is
    full, copies of other datasets are deleted, the least recently used first; this dataset's own
    stay, and a shard that does not fit with them is read from its server.

    The folder belongs to this user alone: in one that others may write to, copies go to a folder
    ``user-…`` of the user's own. Links in it are never followed. Locks end with their process, so
    that a crash leaves nothing to clean up by hand.

    A URL whose hash is not known is expected to mean the same bytes for ever.

    Raises:
        OptionError: The folder cannot be written, or ``max_bytes`` is below 1.
    """

    source: DataSource
    folder: Path
    max_bytes: int = MAX_BYTES
    known: Mapping[str, ShardInfo] = field(default_factory=dict)
    """What is known of the shards. A copy is kept only if it has the size and hash known."""
    hashed: bool = True
    """Whether a copy is hashed when a process first uses it. Otherwise only its size is checked."""

    def __post_init__(self) -> None:
        whole = isinstance(self.max_bytes, int) and not isinstance(self.max_bytes, bool)
        if not whole or self.max_bytes < 1:
            raise OptionError(f"max_bytes={self.max_bytes!r}: expected a whole number, 1 or more.")
        try:
            folder = user_path(self.folder).absolute()
            exists = folder.is_dir()
            if not exists:
                make_folders(folder.parent)
            self.folder = private_folder(folder)
            if not exists:
                sync_folder(folder.parent)
            writable = os.access(self.folder, os.W_OK | os.X_OK)
            reason = "" if writable else "it may not be written by this user"
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            raise OptionError(
                f"The cache folder {self.folder} cannot be written ({reason}). Name another one, "
                "or set ATDATA_CACHE_DIR."
            )

    @property
    def shard_list(self) -> list[str]:
        """Identifier of every shard. A new list."""
        return list(self.source.shard_list)

    def uncached(self) -> DataSource:
        """The source that is copied."""
        return self.source

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard and its open stream, in order; closed when the next begins."""
        for shard_id in self.shard_list:
            with closing(self.open_shard(shard_id)) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open the copy of a shard; else the shard, which is copied if it is read to its end."""
        if self.local_path(shard_id) is not None:
            return self.source.open_shard(shard_id)
        found = self._open_copy(shard_id)
        if found is not None:
            match = _COPY_NAME.fullmatch(Path(found.name).name)
            if match is None or not self.hashed:
                return io.BufferedReader(found, _CHUNK_BYTES)
            return CheckedStream(found, match[3])
        stream = self.source.open_shard(shard_id)
        # This reader may be slow: a process that needs the copy sooner makes its own.
        part = self._begin_copy(shard_id, "-read", wait=False)
        return stream if part is None else self._copying(stream, part, shard_id)

    def _copying(self, stream: IO[bytes], part: PartialFile, shard_id: str) -> IO[bytes]:
        """The stream, copied as it is read to its end; a copy of less is removed."""

        def keep() -> None:
            if self.hashed or part.open:
                self._check(shard_id, passing.size, passing.sha256)
            if part.open:
                try:
                    self._keep(part, shard_id, passing.sha256)
                finally:
                    part.drop()

        passing = HashedStream(stream, on_bytes=part.add, at_end=keep, on_close=part.drop)
        sha256 = self.known[shard_id].sha256 if self.hashed and shard_id in self.known else None
        return (
            io.BufferedReader(passing, _CHUNK_BYTES)
            if sha256 is None
            else CheckedStream(passing, sha256)
        )

    def ranges(self, shard_id: str) -> ByteRanges | None:
        """The copy of a shard as bytes by position, made now if there is none.

        Without room for a copy, the shard on its server.
        """
        found = self._open_copy(shard_id) or self._make_copy(shard_id)
        if found is not None:
            return FileBytes(Path(found.name), found)
        return ranges_of(self.source, shard_id)

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file next to a shard, if the source can. It is not copied."""
        return open_sidecar(self.source, shard_id, suffix)

    def open_neighbour(self, shard_id: str, name: str) -> IO[bytes]:
        """Open another file in the folder of a shard, if the source can. It is not copied."""
        return open_neighbour(self.source, shard_id, name)

    def local_path(self, shard_id: str) -> Path | None:
        """The shard itself as a file of this machine, never its copy."""
        return local_path(self.source, shard_id)

    def _key(self, shard_id: str) -> str:
        known = self.known.get(shard_id)
        identity = f"{shard_id}\0{known.sha256 if known else None}"
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _open_copy(self, shard_id: str) -> io.FileIO | None:
        """The copy, open, if there is a whole one. Damaged ones are removed."""
        for path in self.folder.glob(f"{self._key(shard_id)}-*.shard"):
            match = _COPY_NAME.fullmatch(path.name)
            with suppress(OSError):
                file = open_file(path, 0, follow=False)
                assert isinstance(file, io.FileIO)
                try:
                    if match and self._is_whole(file, shard_id, int(match[2]), match[3]):
                        return file
                except BaseException:
                    file.close()
                    raise
                file.close()
            with suppress(OSError):
                path.unlink()
        return None

    def _is_whole(self, file: io.FileIO, shard_id: str, size: int, sha256: str) -> bool:
        """Whether a copy has the size and hash of its name and those known; marks it as used."""
        stat, known = os.fstat(file.fileno()), self.known.get(shard_id)
        if stat.st_size != size or (known is not None and known.sha256 not in (None, sha256)):
            return False
        identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self.hashed and identity not in _hashed:
            if sha256_of(file)[0] != sha256:
                return False
            file.seek(0)
            _hashed.add(identity)
        with suppress(OSError):
            os.utime(file.fileno(), ns=(time.time_ns(), stat.st_mtime_ns))
        return True

    def _make_copy(self, shard_id: str) -> io.FileIO | None:
        """Copy a shard now, and open the copy; None without room for it.

        Raises:
            IntegrityError: It has other bytes than recorded.
        """
        part = self._begin_copy(shard_id, "", wait=True)
        found = self._open_copy(shard_id)
        if part is None or found is not None:
            if part is not None:
                part.drop()
            return found
        try:
            with closing(HashedStream(self.source.open_shard(shard_id))) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    if not part.add(chunk):
                        return None
            self._check(shard_id, stream.size, stream.sha256)
            if self._keep(part, shard_id, stream.sha256) is None:
                return None
            return self._open_copy(shard_id)
        finally:
            part.drop()

    def _begin_copy(self, shard_id: str, kind: str, *, wait: bool) -> PartialFile | None:
        """A partial file that this process alone has locked; None if it cannot, or without room."""
        known = self.known.get(shard_id)
        try:
            room = self.max_bytes - sum(size for size, _ in self._copies(own=True))
            if room < max(1, (known.bytes if known else None) or 1):
                return None
            path = self.folder / f"{self._key(shard_id)}{kind}.part"
            while True:
                file = open_own(path)
                try:
                    lock(file.fileno(), _PATIENCE_SECONDS if wait else 0.0)
                    # The previous holder may have moved or removed the file meanwhile.
                    if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                        file.truncate(0)
                        return PartialFile(path, file, room)
                except BaseException:
                    file.close()
                    raise
                file.close()
        except OSError:
            return None

    def _check(self, shard_id: str, size: int, sha256: str) -> None:
        """Check what was read of a shard against what is known of it.

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

    def _keep(self, part: PartialFile, shard_id: str, sha256: str) -> Path | None:
        """Give a finished copy its name, if there is room for it."""
        path = self.folder / f"{self._key(shard_id)}-{part.size}-{sha256}.shard"
        try:
            part.sync()
            with locked_folder(self.folder, _PATIENCE_SECONDS):
                if not path.exists() and not self._make_room(part.size):
                    return None
                part.place(path)
            sync_folder(self.folder)
        except OSError:
            return None
        return path

    @once
    def _keys(self) -> set[str]:
        return {self._key(shard_id) for shard_id in self.shard_list}

    def _copies(self, *, own: bool) -> list[tuple[int, Path]]:
        """Bytes and path of the copies of this dataset, or of all others."""
        found: list[tuple[int, Path]] = []
        for path in self.folder.iterdir():
            match = _COPY_NAME.fullmatch(path.name)
            if match and (match[1] in self._keys) is own:
                found.append((int(match[2]), path))
        return found

    def _make_room(self, size: int) -> bool:
        """Delete copies of others, least recently used first; False if that is not enough."""
        needed = size + sum(size for size, _ in self._copies(own=True))
        if needed > self.max_bytes:
            return False
        others: list[tuple[float, int, Path]] = []
        for size, path in self._copies(own=False):
            with suppress(OSError):
                others.append((path.lstat().st_atime, size, path))
        needed += sum(size for _, size, _ in others)
        for _, size, path in sorted(others):
            if needed <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            needed -= size
        for path in self.folder.glob("*.part"):
            with suppress(OSError):
                if _PARTIAL_NAME.fullmatch(path.name):
                    _remove_if_abandoned(path)
        return True


def with_hashed_copies(source: DataSource, *, hashed: bool) -> DataSource:
    """The source; if it keeps copies, they are hashed on first use, or only their size checked."""
    return replace(source, hashed=hashed) if isinstance(source, CachedSource) else source


def _remove_if_abandoned(path: Path) -> None:
    with open_file(path, 0, follow=False) as file:
        lock(file.fileno(), 0.0)
        path.unlink()
