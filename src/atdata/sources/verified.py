"""Checks against recorded sizes and hashes: files before reading, streams at their end."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

from atdata._digest import sha256_of
from atdata._shardlist import ShardInfo
from atdata.errors import IntegrityError, OptionError
from atdata.sources.hashed_stream import HashedStream
from atdata.system.files import open_file

Verify: TypeAlias = Literal["full", "sizes", "off"]
"""How shards are checked against what is recorded of them; see `Dataset.verified`."""

_BUFFER_BYTES: Final = 1 << 20
_MAX_HASHES: Final = 100_000
_SETTLED_NS: Final = 2 * 10**9
"""Coarser than the times of change that file systems keep."""

_hashes: dict[tuple[str, int, int, int, int], str] = {}
"""Path, size, times of change of bytes and of inode, and inode → SHA-256 of files that this process
has hashed."""


def check_verify(verify: object) -> None:
    """Validate a word of `Verify`.

    Raises:
        OptionError: It is another one.
    """
    if verify not in ("full", "sizes", "off"):
        raise OptionError(f"verify={verify!r}: expected 'full', 'sizes' or 'off'.")


def verified(stream: IO[bytes], recorded: ShardInfo | None, verify: Verify | None) -> IO[bytes]:
    """The stream, checked while it is read where its hash or its size is recorded.

    What is read before the end was not checked yet: reading raises IntegrityError there. A
    reader that stops early has no error.

    Args:
        stream: The shard from its first byte.
        recorded: What is recorded of it.
        verify: How it is checked; None: in full.
    """
    if recorded is None or verify == "off":
        return stream
    hashed = recorded.sha256 is not None and verify != "sizes"
    if not hashed and recorded.bytes is None:
        return stream

    def check() -> None:
        if recorded.bytes is not None and recorded.bytes != passing.size:
            raise IntegrityError(
                f"expected {recorded.bytes:,} bytes, as recorded; {passing.size:,} came",
                shard=recorded.url,
            )
        if hashed and recorded.sha256 != passing.sha256:
            raise IntegrityError(
                f"expected the SHA-256 {recorded.sha256}, as recorded, found {passing.sha256}. Do "
                "not use what was read",
                shard=recorded.url,
            )

    passing = HashedStream(stream, hashed=hashed, at_end=check)
    return io.BufferedReader(passing, _BUFFER_BYTES)


def check_file(path: Path, recorded: ShardInfo, verify: Verify | None) -> None:
    """Check a file of this machine against what is recorded of its shard, if the file exists.

    Args:
        path: The file.
        recorded: What is recorded of the shard.
        verify: How it is checked; None: by size.

    Raises:
        IntegrityError: It has another size, or with ``full`` another hash.
    """
    if verify == "off" or not path.is_file():
        return
    size = path.stat().st_size
    if recorded.bytes not in (None, size):
        raise _differs(recorded, f"expected {recorded.bytes} bytes, found {size}")
    if verify == "full" and recorded.sha256 is not None:
        found = _hash_of(path)
        if found != recorded.sha256:
            raise _differs(
                recorded, f"expected SHA-256 {recorded.sha256}, found {found} ({size} bytes)"
            )


def _hash_of(path: Path) -> str:
    """SHA-256 of a file; hashed once, as long as it does not change."""
    with open_file(path) as stream:
        stat = os.fstat(stream.fileno())
        identity = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        found = _hashes.get(identity)
        if found is None:
            found, _ = sha256_of(stream)
            # Of a file that was just written, the time would not tell another change.
            settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS
            if settled and os.fstat(stream.fileno()).st_ctime_ns == stat.st_ctime_ns:
                if len(_hashes) >= _MAX_HASHES:
                    _hashes.clear()
                _hashes[identity] = found
        return found


def _differs(recorded: ShardInfo, wrong: str) -> IntegrityError:
    return IntegrityError(
        f"{wrong}. The shard was changed after it was recorded: insert the dataset again to record "
        "it as it is, or put back what it was.",
        shard=recorded.url,
    )
