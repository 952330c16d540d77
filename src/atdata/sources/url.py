"""Shards by URL: the source that ``Dataset("…")`` makes of what it is given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from atdata._registry import shard_reader, slash_missing
from atdata._secrets import redacted
from atdata._shardlist import LocatedUrl, exactly, expand_braces, preview
from atdata.capabilities import ByteRanges
from atdata.errors import IntegrityError, NoDataUrlsError, ShardNotFoundError, UrlError
from atdata.net.policy import STRANGER, Policy
from atdata.shards.replacing import head_of, settle
from atdata.sources.disk import DiskReader, existing_part, path_of
from atdata.sources.nearby import instead_of_shards
from atdata.system.folders import user_path
from atdata.system.once import once

if TYPE_CHECKING:
    from atdata.sources.s3_access import S3Access

Seen: TypeAlias = tuple[int, int] | None
"""Size and time of change of a file; None: there is none."""
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters that no URL can have."""
_NUL: Final = re.compile("\0")
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
    the shards are asked for. A relative path starts from the working directory of now, whatever
    that is later, also in other processes.

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
        if hasattr(url, "read") and not isinstance(url, os.PathLike):
            named = getattr(url, "name", None)
            raise UrlError(
                f"Shards are named by a str or a path, found an open file, {type(url).__name__}. "
                f"Pass its path{f': {redacted(named)[:200]!r}' if isinstance(named, str) else ''}."
            )
        given: list[Any] = [url]
        if isinstance(url, Sequence | Set | Iterator) and not isinstance(url, str | bytes):
            given = list(url)
        if not given:
            raise NoDataUrlsError(
                "No URLs were given. Name at least one shard, for example 'data-000000.tar'."
            )
        self._given = tuple(_checked(item) for item in given)
        self._base = _working_directory() if any(map(_is_relative, self._given)) else None
        self._policy = policy
        self._endpoint = endpoint
        self._region = region
        self._access: S3Access | None = None
        self._seen: dict[str, tuple[str, Seen]] = {}
        """What numbered shards have in common → the first of them, as it was when listed."""

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
        own = self._origins.get(shard_id)
        if own is None:
            raise ShardNotFoundError(
                f"{shard_id!r} is not a shard of this source, which has "
                f"{len(self._origins)}: {preview(self._shards)}."
            )
        return self._open(own)

    def local_path(self, shard_id: str) -> Path | None:
        """The shard as a file of this machine, or None.

        Raises:
            IntegrityError: The shards were replaced since they were listed: with those that were
                read before, they would be a mixture.
        """
        item = self._origins.get(shard_id)
        if item is None or _scheme(shard_id) != "file" or self._policy_of(item) is not None:
            return None
        path = self._reader(item, "file").local_path(shard_id)
        first, seen = self._seen.get(head_of(shard_id) or "", ("", None))
        now = _seen(first) if seen is not None else None
        if now not in (None, seen):
            raise IntegrityError(
                "the shards of this dataset were written again: they have changed since it was "
                "opened. Open it again",
                shard=first,
            )
        return path

    def ranges(self, shard_id: str) -> ByteRanges | None:
        """The shard as bytes by position, or None where its server gives whole files only."""
        item = self._origins[shard_id]
        policy = self._policy_of(item)
        if policy is not None:
            policy.check_url(item)
        make = getattr(self._reader(item, _scheme(item)), "ranges", None)
        found: ByteRanges | None = make(str(item), policy=policy) if callable(make) else None
        return found

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file whose name is the shard's followed by ``suffix``.

        Raises:
            ShardNotFoundError: There is none, or shards of this scheme have no names.
            SourceError: It cannot be read.
        """
        item = self._origins[shard_id]
        if _scheme(item) == "at":
            raise ShardNotFoundError(f"{item}: there are no files next to a blob.")
        path, mark, query = str(item).partition("?" if _scheme(item) != "s3" else "\0")
        url = f"{path}{suffix}{mark}{query}"
        return self._open(item.at(url) if isinstance(item, LocatedUrl) else url)

    @once
    def _shards(self) -> tuple[str, ...]:
        while True:
            found = self._listed()
            firsts = self._first_shards(found)
            self._seen = {head: (path, _seen(path)) for head, path in firsts.items()}
            # Whoever replaces shards just now, or was killed over it: wait, or complete it. What
            # is replaced from here on is seen when it is read.
            if settle(firsts.values()):
                continue
            # More shards than before may have come to a folder before its first one was seen.
            if not firsts or found == self._listed():
                return found

    def _first_shards(self, shards: Iterable[str]) -> dict[str, str]:
        """What numbered files of this machine have in common → the first of them."""
        found: dict[str, str] = {}
        for shard in shards:
            head = head_of(shard)
            if head is None or head in found or _scheme(shard) != "file":
                continue
            if self._policy_of(shard) is None:
                path = str(path_of(shard))
                found[head] = path
        return found

    def _listed(self) -> tuple[str, ...]:
        found: list[str] = []
        for item in self._given:
            matched = self._expand(item)
            if not matched:
                raise NoDataUrlsError(
                    f"No shards were found: {redacted(item)!r} matches no tar file."
                    f"{self._hint(item)}"
                )
            if isinstance(item, LocatedUrl):
                found += (item.at(url) for url in matched)
            else:
                found += map(exactly, matched)
        return tuple(found)

    def _hint(self, item: str) -> str:
        """What a folder without shards holds."""
        if self._policy_of(item) is not None or _scheme(item) != "file":
            return ""
        path = path_of(item, self._base)
        hint = instead_of_shards(path) if path.is_dir() else ""
        return f" {hint}" if hint else slash_missing(item)

    @once
    def _origins(self) -> dict[str, str]:
        """Shard → itself as it was given, with what its URL remembers."""
        return {shard: shard for shard in self._shards}

    def _expand(self, item: str) -> list[str]:
        policy = self._policy_of(item)
        if isinstance(item, LocatedUrl) and item.exact:
            if policy is not None:
                policy.check_url(item)
            return [str(item)]
        if (
            policy is None
            and _scheme(item) == "file"
            and os.path.lexists(
                os.path.join(self._base or "", user_path(item))  # noqa: PTH118
            )
        ):
            return self._reader(item, "file").expand(item)
        found: list[str] = []
        # Braces in the name of a folder that exists are no pattern.
        local = policy is None and _scheme(item) == "file" and not item.startswith("file:")
        folder, left = existing_part(item, self._base) if local else ("", item)
        # Alternatives in braces may differ in scheme.
        for url in (folder + part for part in expand_braces(left)):
            if policy is not None:
                policy.check_url(url)
            found += self._reader(item, _scheme(url)).expand(url, policy=policy)
        return found

    def _open(self, shard_id: str) -> IO[bytes]:
        policy = self._policy_of(shard_id)
        if policy is not None:
            policy.check_url(shard_id)
        return self._reader(shard_id, _scheme(shard_id)).open(str(shard_id), policy=policy)

    def _policy_of(self, url: str) -> Policy | None:
        if self._policy is None and isinstance(url, LocatedUrl) and url.stranger:
            return STRANGER
        return self._policy

    def _reader(self, url: str, scheme: str) -> ShardReader:
        reader: ShardReader
        if scheme == "s3":
            make = shard_reader("s3")
            endpoint, region = self._endpoint, self._region
            if isinstance(url, LocatedUrl):
                endpoint, region = url.endpoint or endpoint, url.region or region
            reader = make(self._access, endpoint=endpoint, region=region)
        elif scheme == "file":
            reader = DiskReader(self._base)
        else:
            reader = shard_reader(scheme)()
        return reader

    def __getstate__(self) -> dict[str, Any]:
        # A worker process that is spawned, not forked, knows no bucket that was registered here.
        state = dict(self.__dict__)
        if buckets := self._buckets():
            from atdata.sources.s3_access import remembered

            state["_remembered"] = remembered(buckets)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = state.pop("_remembered", None)
        if known is not None:
            from atdata.sources.s3_access import restore

            restore(known)
        self.__dict__.update(state)

    def _buckets(self) -> frozenset[str]:
        given = (url for item in self._given if "s3://" in item for url in expand_braces(item))
        places = (url.partition("://") for url in given)
        return frozenset(rest.partition("/")[0] for scheme, _, rest in places if scheme == "s3")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, URLSource):
            return NotImplemented
        mine = (self._given, self._base, self._policy, self._endpoint, self._region, self._access)
        return mine == (
            other._given,
            other._base,
            other._policy,
            other._endpoint,
            other._region,
            other._access,
        )

    def __hash__(self) -> int:
        return hash(self._given)

    def __repr__(self) -> str:
        return f"URLSource({redacted(preview(map(repr, self._given)))})"


def _seen(path: str) -> Seen:
    """Whole new shards differ in this from what had their names."""
    try:
        stat = os.stat(path)  # noqa: PTH116 (once a shard: a Path would cost more than this)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _no_shards(found: object) -> UrlError:
    return UrlError(
        f"Shards are named by a str or a path, found {type(found).__name__}. Dataset(…) reads what "
        "is stored: give it the path or URL of shards, several of them, an entry of an index, or a "
        "source. Store samples in memory first: atdata.write_samples(samples, 'data.tar'), or "
        "atdata.write_columns(columns, 'data.tar', sample_type=…) for columns, such as dict(df) of "
        "a DataFrame."
    )


def _checked(item: str | Path) -> str:
    if not isinstance(item, str | os.PathLike):
        raise _no_shards(item)
    text = item if isinstance(item, str) else os.fspath(item)
    if not text.strip():
        raise UrlError("An empty URL was given. Name a shard, for example 'data-000000.tar'.")
    # A name on this machine may be no text at all, but has no NUL.
    unfit = _UNFIT if _SCHEME.match(text) else _NUL
    if (bad := unfit.search(text)) is not None:
        raise UrlError(
            f"{redacted(text)[:200]!r} has the character U+{ord(bad[0]):04X}, which no URL or path "
            "of a shard can have. Remove it, or write it as %XX if the name on the server has it."
        )
    if _COMMAND.match(text):
        raise UrlError(
            f"{redacted(text)[:80]!r}: commands are never run. Give the URL of the shard itself."
        )
    return text


def _is_relative(item: str) -> bool:
    return _scheme(item) == "file" and not item.startswith(("/", "file:"))


def _working_directory() -> str | None:
    """Where relative paths start from; None where the folder was removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return None


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else "file"
