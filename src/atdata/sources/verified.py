"""A stream that is held, at its end, against the size and the hash recorded for it."""

from __future__ import annotations

import hashlib
import io
from typing import IO, TYPE_CHECKING, Any

from atdata._shardlist import ShardInfo
from atdata.errors import IntegrityError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def verified(stream: IO[bytes], info: ShardInfo | None) -> IO[bytes]:
    """The stream, checked while it is read where its hash or its size is known.

    What is read before the end was not checked yet: reading raises IntegrityError there. A
    reader that stops early has no error.

    Args:
        stream: The shard from its first byte.
        info: What is recorded of it.
    """
    if info is None or (info.sha256 is None and info.bytes is None):
        return stream
    return io.BufferedReader(_Verified(stream, info), 1 << 20)


class _Verified(io.RawIOBase):
    def __init__(self, stream: IO[bytes], info: ShardInfo) -> None:
        super().__init__()
        self._stream: Any = stream
        self._info = info
        self._digest = hashlib.sha256()
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on; at the end, check."""
        view = memoryview(buffer).cast("B")
        piece = self._stream.read(len(view))
        view[: len(piece)] = piece
        self._at += len(piece)
        if self._info.sha256 is not None:
            self._digest.update(piece)
        if len(view) and not piece:
            self._check()
        return len(piece)

    def _check(self) -> None:
        info = self._info
        if info.bytes is not None and info.bytes != self._at:
            raise IntegrityError(
                f"expected {info.bytes:,} bytes, as recorded; {self._at:,} came", shard=info.url
            )
        if info.sha256 is not None and self._digest.hexdigest() != info.sha256:
            raise IntegrityError(
                f"expected the SHA-256 {info.sha256}, as recorded, found "
                f"{self._digest.hexdigest()}. Do not use what was read",
                shard=info.url,
            )

    def close(self) -> None:
        """Close the stream below."""
        if not self.closed:
            self._stream.close()
        super().close()
