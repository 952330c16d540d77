"""Streams that count and hash their bytes as they are read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES: Final = 1 << 20


class CheckedStream(io.BufferedReader):
    """A shard whose bytes have a known hash: no reader has to hash them again.

    Args:
        raw: Its bytes. They were checked against the hash, or it raises IntegrityError instead of
            returning their end.
        sha256: Of the whole shard, in lower-case hex.
    """

    def __init__(self, raw: io.RawIOBase, sha256: str) -> None:
        super().__init__(raw, _BUFFER_BYTES)
        self.sha256 = sha256


class HashedStream(io.RawIOBase):
    """Passes a stream on, and counts and hashes its bytes, unless their hash is known already.

    Args:
        stream: The shard from its first byte; closed with this one.
        hashed: Whether the hash is wanted.
        on_bytes: Called with each piece that passes.
        at_end: Called when the end is read, each time: an error that it raises is the reader's.
        on_close: Called once, after the stream was closed.
    """

    def __init__(
        self,
        stream: IO[bytes],
        *,
        hashed: bool = True,
        on_bytes: Callable[[bytes], object] | None = None,
        at_end: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self._stream: Any = stream
        self._known = stream.sha256 if isinstance(stream, CheckedStream) else None
        self._digest = hashlib.sha256() if hashed and self._known is None else None
        self._on_bytes = on_bytes
        self._at_end = at_end
        self._on_close = on_close
        self.size = 0
        """Bytes that have passed."""

    @property
    def sha256(self) -> str:
        """Of what has passed, in lower-case hex; of a `CheckedStream`, its own."""
        if self._known is not None:
            return self._known
        assert self._digest is not None
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on."""
        view = memoryview(buffer).cast("B")
        piece: bytes = self._stream.read(len(view))
        view[: len(piece)] = piece
        self.size += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        if piece and self._on_bytes is not None:
            self._on_bytes(piece)
        if not piece and len(view) and self._at_end is not None:
            self._at_end()
        return len(piece)

    def close(self) -> None:
        """Close the stream below."""
        if not self.closed:
            self._stream.close()
            if self._on_close is not None:
                self._on_close()
        super().close()
