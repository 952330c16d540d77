"""The keys of samples: kept as bytes until used, and checked to be unique."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import Bytes, Integers

KeyMatrix: TypeAlias = Bytes
"""Keys in ASCII, zeros after shorter ones: shape (n, length)."""


def key_list(parts: Iterable[KeyMatrix | list[str]]) -> list[str]:
    """Keys as a list of str."""
    out: list[str] = []
    for part in parts:
        if isinstance(part, list):
            out += part
            continue
        count, length = part.shape
        if not part[:, -1].all():
            raw = np.ascontiguousarray(part).view(f"S{length}").reshape(-1).tolist()
            out += [key.decode("ascii") for key in raw]
            continue
        text = part.tobytes().decode("ascii")
        out += [text[at : at + length] for at in range(0, count * length, length)]
    return out


def key_text(parts: Iterable[KeyMatrix | list[str]]) -> tuple[bytes, Integers]:
    """Keys in UTF-8, joined, and the bytes of each, shape (n,)."""
    texts, lengths = [b""], [np.empty(0, np.int64)]
    for part in parts:
        if isinstance(part, list):
            raw = [key.encode("utf-8") for key in part]
            texts += raw
            lengths.append(np.array([len(key) for key in raw], np.int64))
        else:
            texts.append(part.tobytes().replace(b"\0", b""))
            lengths.append(np.count_nonzero(part, axis=1))
    return b"".join(texts), np.concatenate(lengths)


_LONGEST_KEPT_BYTES: Final = 100
"""Bytes up to which a key is kept as it is: as long as the name field of a header."""


def _kept(raw: bytes) -> bytes:
    # Untrusted long keys could take as much memory as the shard has bytes.
    return raw if len(raw) <= _LONGEST_KEPT_BYTES else b"\0" + blake2b(raw, digest_size=32).digest()


class KeyLog:
    """The keys of a shard that is being written, in order, each one unique.

    As long as they ascend, shorter ones first, they are kept as text only. A set, which takes ten
    times the memory, is made when they no longer do.
    """

    def __init__(self) -> None:
        self.text = bytearray()
        """The keys in UTF-8, joined."""
        self.ends = array("q")
        """Where each of them ends."""
        self._last = b""
        self._seen: set[bytes] | None = None

    def add(self, key: str) -> bool:
        """Register one key; False if it is registered already."""
        raw = key.encode()
        if self._seen is None and not self._is_next(raw):
            self._seen = self._all()
        if self._seen is not None:
            if raw in self._seen:
                return False
            self._seen.add(raw)
        self._last = raw
        self.text += raw
        self.ends.append(len(self.text))
        return True

    def __contains__(self, key: str) -> bool:
        raw = key.encode()
        if self._seen is None:
            if self._is_next(raw):
                return False
            self._seen = self._all()
        return raw in self._seen

    def _is_next(self, raw: bytes) -> bool:
        last = self._last
        return raw > last if len(raw) == len(last) else len(raw) > len(last)

    def _all(self) -> set[bytes]:
        starts = [0, *self.ends]
        spans = zip(starts, self.ends, strict=False)
        return {bytes(self.text[start:end]) for start, end in spans}


class KeyRegister:
    """All keys of one shard that is read, to find those that appear twice.

    Keys usually ascend, shorter ones first. As long as they do, comparing neighbours is enough; a
    set is made when they no longer do.
    """

    def __init__(self) -> None:
        self._last = (-1, b"")
        self._ordered: list[np.ndarray[Any, np.dtype[np.bytes_]] | list[bytes]] = []
        self._seen: set[bytes] | None = None

    def add(self, key: str) -> bool:
        """Register one key; False if it is registered already."""
        raw = key.encode("utf-8")
        if self._seen is None:
            if (len(raw), raw) > self._last:
                self._last = (len(raw), raw)
                self._ordered.append([_kept(raw)])
                return True
            self._seen = self._unordered()
        kept = _kept(raw)
        if kept in self._seen:
            return False
        self._seen.add(kept)
        return True

    def add_many(self, keys: KeyMatrix) -> list[int]:
        """Register many keys of one length, as `add` does one.

        Args:
            keys: Shape (n, length), n at least 1, without zero bytes.

        Returns:
            Which of them are registered already, or were by those before.
        """
        count, length = keys.shape
        raw = keys.view(f"S{length}").reshape(count)
        if self._seen is None:
            if (length, bytes(raw[0])) > self._last and bool((raw[1:] > raw[:-1]).all()):
                self._last = (length, bytes(raw[-1]))
                self._ordered.append(raw)
                return []
            self._seen = self._unordered()
        # Whole sets at once; key by key only to find those that appear twice.
        listed = raw.tolist()
        if self._seen.isdisjoint(listed) and len(set(listed)) == count:
            self._seen.update(listed)
            return []
        return [row for row, key in enumerate(listed) if not self.add(key.decode("ascii"))]

    def _unordered(self) -> set[bytes]:
        seen: set[bytes] = set()
        for part in self._ordered:
            seen.update(part if isinstance(part, list) else part.tolist())
        self._ordered.clear()
        return seen
