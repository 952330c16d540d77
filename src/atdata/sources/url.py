"""Shards by URL: the source that ``Dataset("…")`` makes of what it is given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, Protocol

from atdata._registry import shard_reader
from atdata._shardlist import LocatedUrl, expand_braces, preview
from atdata.errors import NoDataUrlsError, ShardNotFoundError, UrlError
from atdata.sources.policy import Policy, redact

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COMMAND: Final = re.compile(r"pipe:", re.IGNORECASE)


class ShardReader(Protocol):
    """What opens the URLs of one scheme; a class named in the registry, made without arguments."""

    def open(self, url: str, *, policy: Policy | None = None) -> IO[bytes]:
        """Open one shard as a stream of its bytes.

        Raises:
            ShardNotFoundError: There is no such shard.
            SourceError: It cannot be read.
            UnsafeUrlError: The policy does not let it pass.
        """
        ...

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The URLs that one URL with globs, or a folder's, stands for, sorted; maybe none."""
        ...

    def local_path(self, url: str) -> Path | None:
        """The shard as a file of this machine, or None."""
        ...


class URLSource:
    """Shards by URL: local paths, file, http(s), s3, at (blobs); gs, az, hf through fsspec.

    A path or URL may have braces (``train-{000000..000006}.tar``) and, on disk, s3 and
    fsspec, globs; a folder stands for the tar files in it. Nothing is opened or listed before
    the shards are asked for.

    Args:
        url: One URL or path, or several. An entry's URLs know their endpoint and region, and
            whether they came from the network.
        policy: The gate for URLs that come from the network; None: none for what the user typed.
        endpoint: Where the s3 URLs among them are kept, for buckets that no `S3DataStore` or
            `S3Source` of this process knows. None: as the AWS environment says.
        region: The region to go with it.

    Raises:
        NoDataUrlsError: No URL at all.
        UrlError: One that cannot be read, such as a command to be run.
    """

    def __init__(
        self,
        url: str | Path | Sequence[str | Path],
        *,
        policy: Policy | None = None,
        endpoint: str | None = None,
        region: str | None = None,
    ) -> None:
        given = [url] if isinstance(url, str | os.PathLike) else list(url)
        if not given:
            raise NoDataUrlsError(
                "No URLs were given. Name at least one shard, for example 'data-000000.tar'."
            )
        self._given = tuple(_checked(item) for item in given)
        located = [item for item in given if isinstance(item, LocatedUrl)]
        stranger = any(item.stranger for item in located)
        self._policy = STRANGER if policy is None and stranger else policy
        self._endpoint = endpoint or next((u.endpoint for u in located if u.endpoint), None)
        self._region = region or next((u.region for u in located if u.region), None)

    @property
    def shard_list(self) -> list[str]:
        """The URL of every shard, in order; local ones as absolute paths. A new list.

        Listed on first use, then kept.

        Raises:
            NoDataUrlsError: Globs and folders have no shard.
            SourceError: A place that has to be listed cannot be.
        """
        return list(self._shards)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard's URL and its open stream, in order; each is closed when the next begins."""
        for shard_id in self._shards:
            with self._open(shard_id) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open one of `shard_list`.

        Raises:
            ShardNotFoundError: It is not one of them, or the file is not there.
            SourceError: It cannot be read.
        """
        if shard_id not in self._known:
            raise ShardNotFoundError(
                f"{shard_id!r} is not a shard of this source, which has "
                f"{len(self._known)}: {preview(self._shards)}."
            )
        return self._open(shard_id)

    def local_path(self, shard_id: str) -> Path | None:
        """The shard as a file of this machine, or None."""
        scheme = _scheme(shard_id)
        return (
            None if self._policy or scheme != "file" else self._reader(scheme).local_path(shard_id)
        )

    @cached_property
    def _shards(self) -> tuple[str, ...]:
        found: list[str] = []
        for item in self._given:
            matched = self._expand(item)
            if not matched:
                raise NoDataUrlsError(
                    f"No shards were found: {redact(item)!r} matches no tar file."
                )
            found += matched
        return tuple(found)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._shards)

    def _expand(self, item: str) -> list[str]:
        if self._policy is None and _scheme(item) == "file" and os.path.lexists(item):
            return self._reader("file").expand(item)
        found: list[str] = []
        for url in expand_braces(item):
            if self._policy is not None:
                self._policy.check_url(url)
            found += self._reader(_scheme(url)).expand(url, policy=self._policy)
        return found

    def _open(self, shard_id: str) -> IO[bytes]:
        if self._policy is not None:
            self._policy.check_url(shard_id)
        return self._reader(_scheme(shard_id)).open(shard_id, policy=self._policy)

    def _reader(self, scheme: str) -> ShardReader:
        reader: ShardReader
        if scheme == "s3":
            from atdata.sources.s3 import S3Reader

            reader = S3Reader(endpoint=self._endpoint, region=self._region)
        else:
            reader = shard_reader(scheme)()
        return reader

    def __getstate__(self) -> dict[str, Any]:
        # A worker process that is spawned, not forked, knows no bucket that was registered here.
        state = dict(self.__dict__)
        if any(_scheme(item) == "s3" for item in self._given):
            from atdata.sources.s3_access import remembered

            state["_access"] = remembered()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        access = state.pop("_access", None)
        if access is not None:
            from atdata.sources.s3_access import restore

            restore(access)
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, URLSource):
            return NotImplemented
        mine = (self._given, self._policy, self._endpoint, self._region)
        return mine == (other._given, other._policy, other._endpoint, other._region)

    def __hash__(self) -> int:
        return hash(self._given)

    def __repr__(self) -> str:
        return f"URLSource({preview(redact(item) for item in self._given)})"


def _checked(item: str | Path) -> str:
    if not isinstance(item, str | os.PathLike):
        raise UrlError(f"A shard is named by a str or a path, not by {type(item).__name__}.")
    text = os.fspath(item)
    if not text.strip():
        raise UrlError("An empty URL was given. Name a shard, for example 'data-000000.tar'.")
    if _COMMAND.match(text):
        raise UrlError(f"{text[:80]!r}: commands are never run. Give the URL of the shard itself.")
    return text


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else "file"
