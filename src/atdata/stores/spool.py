"""What every store begins with: finished shards, of samples or as copies, one at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import IO, Final, Protocol

from atdata._shardlist import ShardInfo, ShardUrls
from atdata.errors import (
    AtdataError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    ShardExistsError,
    StoreError,
)
from atdata.shards.writer import PackedSample, ShardSink, write_shards

STEM: Final = "data"
"""Shards are named ``data-000000.tar``, ``data-000001.tar``, …"""
_CHUNK: Final = 1 << 20


class Samples(Protocol):
    """What a store asks of a dataset: `atdata.Dataset` has it."""

    def packed(self) -> Iterator[PackedSample]:
        """Each sample's key and bytes and the number of its shard, in order."""


class CopySink(ShardSink, Protocol):
    """Where copies of shards go."""

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of the shard of this name, if it is there with just this size and hash."""


def write_packed(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples to shards and give each to the sink when it is finished.

    Stores outside this room come through here: they know nothing of tar.
    Arguments, result and errors are those of `atdata.shards.writer.write_shards`.
    """
    return write_shards(samples, sink, stem=stem, maxcount=maxcount, maxsize=maxsize)


def packed_of(ds: Samples) -> Iterator[PackedSample]:
    """The packed samples of what was passed as a dataset.

    Raises:
        OptionError: It is none.
    """
    packed = getattr(ds, "packed", None)
    if not callable(packed):
        raise OptionError(
            f"Expected a dataset, found {type(ds).__name__}. Write atdata.Dataset[YourType](...), "
            "or atdata.write_samples(samples, path) for samples that are not in shards yet."
        )
    samples: Iterator[PackedSample] = packed()
    return samples


def copy_packed(
    shards: Sequence[ShardInfo],
    open_shard: Callable[[str], IO[bytes]],
    sink: CopySink,
) -> ShardUrls:
    """Copy shards byte for byte, one at a time, through a file of the sink's scratch folder.

    A shard that is there already is not read. After an error, what was copied stays, so that
    a second run goes on from there.

    Args:
        shards: What to copy, in order; what is known of size and hash is checked.
        open_shard: Opens a shard by its URL.
        sink: Takes the copies.

    Raises:
        NoDataUrlsError: There are none.
        IntegrityError: A shard has other bytes than recorded; it was not copied.
        StoreError: The sink refuses one, or the disk is full.
    """
    if not shards:
        raise NoDataUrlsError("There are no shards to copy.")
    done: list[ShardInfo] = []
    for number, shard in enumerate(shards):
        name = f"{STEM}-{number:06d}.tar"
        url = sink.find(name, shard)
        done.append(shard.at(url) if url else _copied(shard, open_shard, sink, name))
    return ShardUrls(done)


def _copied(
    shard: ShardInfo, open_shard: Callable[[str], IO[bytes]], sink: CopySink, name: str
) -> ShardInfo:
    file = sink.scratch() / f".{name}-{secrets.token_hex(8)}.part"
    digest, size = hashlib.sha256(), 0
    try:
        with closing(open_shard(shard.url)) as stream, file.open("xb", buffering=0) as out:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                _write(out, chunk, name)
            os.fsync(out.fileno())
        if shard.sha256 not in (None, digest.hexdigest()) or shard.bytes not in (None, size):
            raise IntegrityError(
                f"expected {shard.bytes} bytes with SHA-256 {shard.sha256}, found {size} bytes "
                f"with {digest.hexdigest()}. It was changed after it was recorded; it was not "
                "copied",
                shard=shard.url,
            )
        info = ShardInfo(name, shard.samples, size, digest.hexdigest())
        return info.at(sink.accept(name, file, info))
    finally:
        file.unlink(missing_ok=True)


def _write(out: IO[bytes], chunk: bytes, name: str) -> None:
    data = memoryview(chunk)
    try:
        while data:
            data = data[out.write(data) :]
    except OSError as error:
        raise StoreError(
            f"{name}: the disk for unfinished shards cannot be written ({error.strerror})."
        ) from error


def check_prefix(prefix: str) -> str:
    """A prefix without slashes at its ends, if shards can be placed below it.

    Raises:
        OptionError: Not a str, absolute, with ``..``, or with control characters.
    """
    if not isinstance(prefix, str):
        raise OptionError(f"prefix: expected a str, found {type(prefix).__name__}.")
    hint = "Write a path within the store, such as 'datasets/mnist/v1'."
    if prefix.startswith("/") or "://" in prefix:
        raise OptionError(f"prefix={prefix!r} is absolute. {hint}")
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise OptionError(f"prefix={prefix!r} leads elsewhere with '.' or '..'. {hint}")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in prefix):
        raise OptionError(f"prefix={prefix!r} has control characters. {hint}")
    if len(prefix) > 700:
        raise OptionError(f"prefix={prefix[:40]!r}… has {len(prefix)} characters, at most 700.")
    return "/".join(parts)


def other_bytes(url: str) -> AtdataError:
    """The error for a name at which a shard with other bytes is."""
    return ShardExistsError(
        f"{url} is there already, with other bytes, and nothing is overwritten. Choose another "
        "prefix, or remove what is there if it is not needed."
    )
