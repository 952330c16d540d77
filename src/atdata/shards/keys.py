"""The keys of a shard's samples: kept as bytes until asked for, and each one unique."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import numpy as np

from atdata.errors import ShardError

KeyMatrix: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
"""Keys of one length, in ASCII: shape (n, length)."""


def key_list(parts: Iterable[KeyMatrix | list[str]]) -> list[str]:
    """Keys as text."""
    out: list[str] = []
    for part in parts:
        if isinstance(part, list):
            out += part
            continue
        count, length = part.shape
        text = part.tobytes().decode("ascii")
        out += [text[at : at + length] for at in range(0, count * length, length)]
    return out


_LONG: Final = 100
"""Bytes up to which a key is kept as it is: what a name field holds."""


def _kept(raw: bytes) -> bytes:
    # A stranger's long keys would take as much memory as the shard has bytes.
    return raw if len(raw) <= _LONG else b"\0" + blake2b(raw, digest_size=32).digest()


class KeyRegister:
    """All keys of one shard, to find one that appears twice.

    Keys usually come in order, shorter ones first. As long as they do, comparing neighbours
    is enough; a set is made when they no longer do.
    """

    def __init__(self) -> None:
        self._last = (-1, b"")
        self._ordered: list[np.ndarray[Any, np.dtype[np.bytes_]] | list[bytes]] = []
        self._seen: set[bytes] | None = None

    def add(self, key: str, offset: int) -> None:
        """Register one key.

        Args:
            key: The key.
            offset: Where its sample begins, for the error.

        Raises:
            ShardError: It is there already.
        """
        raw = key.encode("utf-8")
        if self._seen is None:
            if (len(raw), raw) > self._last:
                self._last = (len(raw), raw)
                self._ordered.append([_kept(raw)])
                return
            self._seen = self._unordered()
        kept = _kept(raw)
        if kept in self._seen:
            raise ShardError("two samples have this key", offset=offset, key=key)
        self._seen.add(kept)

    def add_many(self, keys: KeyMatrix, offsets: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Register many keys of one length, as `add` does one.

        Args:
            keys: Shape (n, length), n at least 1, without zero bytes.
            offsets: Shape (n,), where their samples begin.

        Raises:
            ShardError: One of them is there already.
        """
        count, length = keys.shape
        raw = keys.view(f"S{length}").reshape(count)
        if self._seen is None:
            if (length, bytes(raw[0])) > self._last and bool((raw[1:] > raw[:-1]).all()):
                self._last = (length, bytes(raw[-1]))
                self._ordered.append(raw)
                return
            self._seen = self._unordered()
        listed = raw.tolist()
        if self._seen.isdisjoint(listed) and len(set(listed)) == count:
            self._seen.update(listed)
            return
        for key, offset in zip(listed, offsets.tolist(), strict=True):
            self.add(key.decode("ascii"), offset)

    def _unordered(self) -> set[bytes]:
        seen: set[bytes] = set()
        for part in self._ordered:
            seen.update(part if isinstance(part, list) else part.tolist())
        self._ordered.clear()
        return seen
