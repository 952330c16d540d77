"""Verifying shards against what was recorded, by reading each to its end."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from atdata._digest import RAW, cid_sha256
from atdata._protocols import DataSource
from atdata._refs import parse_blob_ref
from atdata._secrets import redacted, redacted_repr
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.shards import Shard, shards_by_name
from atdata.errors import AtdataError, RefError
from atdata.shards.reader import Unread, count_samples
from atdata.shards.tar.table import HEAD_BYTES, SUFFIX, parse_head
from atdata.shards.tar.window import MappedFile
from atdata.sources.hashed_stream import HashedStream
from atdata.system.files import open_file

Status: TypeAlias = Literal["passed", "failed", "not checkable"]

_BUFFER_BYTES: Final = 1 << 20


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
    """Members that are not samples and are not read: kind, such as ``.png`` → number."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, what is not known left out."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value not in (None, "", {})}


def verify_shards(source: DataSource, shards: Sequence[ShardInfo]) -> Iterator[Verdict]:
    """Read every shard to its end, and check size, hash and count against what is known.

    Known is what an index recorded, the CID of a blob, or the hash in the sample table next to
    a local file. Members that are not samples are counted, and one warning lists all of them.

    Args:
        source: Where the shards are.
        shards: What is recorded of those that are read.
    """
    known = {shard.url: shard for shard in shards}
    with Unread().reading() as unread:
        for shard in shards_by_name([shard.url for shard in shards], source, known):
            yield _verdict(shard, unread)


def _known(shard: Shard) -> ShardInfo:
    recorded = shard.recorded
    if recorded.sha256 is not None:
        return recorded
    try:
        sha256 = cid_sha256(parse_blob_ref(shard.name).cid, codec=RAW)
        return ShardInfo(shard.name, recorded.samples, recorded.bytes, sha256)
    except RefError:
        pass
    path = shard.path
    try:
        if path is not None:
            with open_file(path.with_name(path.name + SUFFIX)) as file:
                size = os.fstat(file.fileno()).st_size
                head = parse_head(file.read(HEAD_BYTES), size)
            return ShardInfo(shard.name, head.samples, head.shard_bytes, head.sha256)
    except (OSError, AtdataError):
        pass
    return recorded


def _verdict(shard: Shard, unread: Unread) -> Verdict:
    known, others = _known(shard), Unread()
    try:
        with closing(HashedStream(shard.open_unchecked())) as hashed:
            stream: Any = io.BufferedReader(hashed, _BUFFER_BYTES)

            def whole() -> MappedFile:
                while stream.read(_BUFFER_BYTES):
                    pass
                return shard.whole()

            options: dict[str, Any] = {"unread": others, "whole": whole, "apart": False}
            samples = count_samples(stream, shard=shard.name, **options)
    except (AtdataError, OSError) as error:
        return Verdict(shard.name, "failed", _without_place(error, shard))
    unread.join(others)
    left_out = others.of(shard.name)
    found = {"bytes": hashed.size, "samples": samples, "sha256": hashed.sha256}
    wrong = [
        f"{name}: expected {getattr(known, name)}, found {value}"
        for name, value in found.items()
        if getattr(known, name) not in (None, value)
    ]
    status: Status = "passed"
    reason = ""
    if wrong:
        status, reason = "failed", "; ".join(wrong)
    elif known.sha256 is None:
        status, reason = "not checkable", "no hash is recorded"
    return Verdict(shard.name, status, reason, samples, hashed.size, left_out)


def _without_place(error: Exception, shard: Shard) -> str:
    """The message of an error without the shard that it begins with, which a verdict has."""
    message = str(error)
    for place in (redacted(shard.name), str(shard.path)):
        for end in (": ", ", "):
            message = message.removeprefix(f"{place}{end}")
    return message
