"""Whether shards are what was recorded of them: while they are read, and all at once."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias

from atdata._digest import RAW, cid_sha256, sha256_of
from atdata._protocols import DataSource
from atdata._refs import parse_blob_ref
from atdata._secrets import redacted, redacted_repr
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.whole import whole_shard
from atdata.errors import AtdataError, IntegrityError, RefError
from atdata.shards.reader import count_samples
from atdata.shards.tar.table import HEAD_BYTES, SUFFIX, parse_head
from atdata.shards.tar.unread import Unread
from atdata.shards.tar.window import MappedFile
from atdata.sources.capabilities import local_path
from atdata.system.regular_files import open_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Verify: TypeAlias = Literal["full", "sizes", "off"]
"""How shards are held against what is recorded of them; see `Dataset.verified`."""
Status: TypeAlias = Literal["passed", "failed", "not checkable"]


def check_file(path: Path, known: ShardInfo | None, verify: Verify | None) -> None:
    """Hold a file of this machine against what is known of its shard, where it is there.

    Raises:
        IntegrityError: It has another size, or with ``full`` another hash.
    """
    if known is None or verify == "off" or not path.is_file():
        return
    size = path.stat().st_size
    if known.bytes not in (None, size):
        raise _differs(known, size, None)
    if verify == "full" and known.sha256 is not None:
        found = _hash_of(path)
        if found != known.sha256:
            raise _differs(known, size, found)


_hashes: dict[tuple[str, int, int, int], str] = {}
"""Path, size, time of change and inode → SHA-256 of files that this process has hashed."""
_MOST_HASHES: Final = 100_000
_SETTLED: Final = 2 * 10**9
"""Nanoseconds: coarser than the times of changes that file systems keep."""


def _hash_of(path: Path) -> str:
    """SHA-256 of a file; hashed once, as long as it does not change."""
    with open_file(path) as stream:
        stat = os.fstat(stream.fileno())
        identity = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        found = _hashes.get(identity)
        if found is None:
            found, _ = sha256_of(stream)
            # Of a file that was just written, the time would not tell another change.
            settled = time.time_ns() - stat.st_mtime_ns > _SETTLED
            if settled and os.fstat(stream.fileno()).st_mtime_ns == stat.st_mtime_ns:
                if len(_hashes) >= _MOST_HASHES:
                    _hashes.clear()
                _hashes[identity] = found
        return found


def of_stream(known: ShardInfo | None, verify: Verify | None) -> ShardInfo | None:
    """What a stream is held against."""
    if known is None or verify == "off":
        return None
    return replace(known, sha256=None) if verify == "sizes" else known


def _differs(known: ShardInfo, size: int, sha256: str | None) -> IntegrityError:
    if sha256 is None:
        wrong = f"expected {known.bytes} bytes, found {size}"
    else:
        wrong = f"expected SHA-256 {known.sha256}, found {sha256} ({size} bytes)"
    return IntegrityError(
        f"{wrong}. The shard was changed after it was recorded: insert the dataset again to record "
        "it as it is, or put back what it was.",
        shard=known.url,
    )


@redacted_repr
@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one shard."""

    shard: str
    status: Status
    reason: str = ""
    """Why it did not pass."""
    samples: int | None = None
    bytes: int | None = None
    unread: Mapping[str, int] = field(default_factory=dict)
    """Members that are no samples and are not read: kind, such as ``.png`` → number."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, what is not known left out."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value not in (None, "", {})}


def verify_shards(source: DataSource, shards: tuple[ShardInfo, ...]) -> Iterator[Verdict]:
    """Read every shard to its end, and hold size, hash and count against what is known.

    Known is what an index recorded, the CID of a blob, or the hash in the sample table beside
    a local file. Members that are no samples are counted, and a warning tells of all of them.
    """
    with Unread().reading() as unread:
        for shard in shards:
            yield _verdict(source, _known(source, shard), unread)


def _known(source: DataSource, shard: ShardInfo) -> ShardInfo:
    if shard.sha256 is not None:
        return shard
    try:
        sha256 = cid_sha256(parse_blob_ref(shard.url).cid, codec=RAW)
        return ShardInfo(shard.url, shard.samples, shard.bytes, sha256)
    except RefError:
        pass
    path = local_path(source, shard.url)
    try:
        if path is not None:
            beside = path.with_name(path.name + SUFFIX)
            with open_file(beside) as file:
                size = os.fstat(file.fileno()).st_size
                head = parse_head(file.read(HEAD_BYTES), size)
            return ShardInfo(shard.url, head.samples, head.shard_bytes, head.sha256)
    except (OSError, AtdataError):
        pass
    return shard


def _verdict(source: DataSource, known: ShardInfo, unread: Unread) -> Verdict:
    tee = None
    others = Unread()
    try:
        with closing(_Hashing(source.open_shard(known.url))) as tee:
            stream: Any = io.BufferedReader(tee, 1 << 20)

            def whole() -> MappedFile:
                while stream.read(1 << 20):
                    pass
                return whole_shard(source, known.url)

            samples = count_samples(stream, shard=known.url, unread=others, whole=whole)
    except (AtdataError, OSError) as error:
        return Verdict(known.url, "failed", _without_place(error, source, known.url))
    unread.join(others)
    left_out = others.of(known.url)
    size, sha256 = tee.size, tee.digest.hexdigest()
    found = {"bytes": size, "samples": samples, "sha256": sha256}
    wrong = [
        f"{name}: expected {getattr(known, name)}, found {value}"
        for name, value in found.items()
        if getattr(known, name) not in (None, value)
    ]
    if wrong:
        return Verdict(known.url, "failed", "; ".join(wrong), samples, size, left_out)
    if known.sha256 is None:
        reason = "no hash is recorded"
        return Verdict(known.url, "not checkable", reason, samples, size, left_out)
    return Verdict(known.url, "passed", "", samples, size, left_out)


def _without_place(error: Exception, source: DataSource, url: str) -> str:
    """The message of an error without the shard that it begins with, which a verdict has."""
    message = str(error)
    for place in (redacted(url), str(local_path(source, url))):
        for end in (": ", ", "):
            message = message.removeprefix(f"{place}{end}")
    return message


class _Hashing(io.RawIOBase):
    """Passes bytes on, counts and hashes them."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on."""
        view = memoryview(buffer).cast("B")
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def close(self) -> None:
        """Close the stream."""
        if not self.closed:
            self._stream.close()
        super().close()
