"""Shards by path or URL: the source of ``Dataset("…")``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from atdata._protocols import ShardReader
from atdata._registry import SHARD_SCHEMES, slash_missing
from atdata._secrets import redacted, redacted_repr
from atdata._shardlist import (
    LocatedUrl,
    exactly,
    expand_braces,
    has_scheme,
    head_of,
    preview,
    scheme_of,
)
from atdata.capabilities import ByteRanges, SupportsUrlRanges
from atdata.errors import IntegrityError, NoDataUrlsError, ShardNotFoundError, UrlError
from atdata.net.policy import STRANGER, Policy
from atdata.shards.replacing import settle
from atdata.sources.disk import DiskReader, existing_part, path_of
from atdata.sources.nearby import instead_of_shards
from atdata.system.files import user_path
from atdata.system.forks import importing, once

if TYPE_CHECKING:
    from atdata.sources.s3_access import S3Access

Seen: TypeAlias = tuple[int, int] | None
"""Size and time of change of a file; None: there is none."""
_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters that no URL can have."""
_NUL: Final = re.compile("\0")
_COMMAND: Final = re.compile(r"pipe:", re.IGNORECASE)


@redacted_repr
@dataclass(frozen=True, slots=True)
class _Located:
    """A URL whose policy allows it, with what reads it."""

    url: str
    policy: Policy | None
    reader: ShardReader


class URLSource:
    """Shards by URL: local paths, file, http(s), s3, at (blobs); gs, az, hf through fsspec.

    A path or URL may have braces (``train-{000000..000006}.tar``) and, on disk, s3 and fsspec,
    globs; a folder stands for the tar files in it. Nothing is opened or listed until the shards
    are needed. A relative path starts from the current working directory, even if that changes
    later, and in other processes.

    Args:
        url: One URL or path, or several. URLs of an entry carry their endpoint and region, and
            whether they came from the network.
        policy: The gate for untrusted URLs; None for URLs that the user typed.
        endpoint: The server of s3 URLs, for buckets that no `S3DataStore` or `S3Source` of this
            process knows. None: the one of the AWS environment.
        region: The region of that server.

    Raises:
        NoDataUrlsError: No URL was given.
        UrlError: One cannot be read, such as a command.
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
        """Common beginning of numbered shards → the first of them, as it was when listed."""

    @property
    def shard_list(self) -> list[str]:
        """The URL of every shard, in order; local ones as absolute paths. A new list.

        Listed on first use, then kept.

        Raises:
            NoDataUrlsError: A glob or a folder matches no shard.
            SourceError: A folder or bucket cannot be listed.
        """
        return list(self._shards)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard's URL and its open stream, in order; a stream is closed at the next one."""
        for shard_id in self._shards:
            with self._open(shard_id) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open one of `shard_list`.

        Raises:
            ShardNotFoundError: It is not one of them, or does not exist.
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
            IntegrityError: The shards were replaced since they were listed: reading on would mix
                old and new ones.
        """
        item = self._origins.get(shard_id)
        if item is None or not self._is_local(item):
            return None
        path = path_of(shard_id, self._base)
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
        """The shard by byte ranges; None if its scheme has whole files only."""
        located = self._locate(self._origins[shard_id])
        if not isinstance(located.reader, SupportsUrlRanges):
            return None
        return located.reader.ranges(located.url, policy=located.policy)

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file whose name is the shard's name followed by ``suffix``.

        Raises:
            ShardNotFoundError: There is none, or the shards of this scheme have no names.
            SourceError: It cannot be read.
        """
        return self._open_near(shard_id, lambda path: path + suffix)

    def open_neighbour(self, shard_id: str, name: str) -> IO[bytes]:
        """Open the file of this name in the folder of a shard.

        Raises:
            ShardNotFoundError: There is none, or the shards of this scheme have no names.
            SourceError: It cannot be read.
        """
        return self._open_near(shard_id, lambda path: "".join(path.rpartition("/")[:2]) + name)

    def _open_near(self, shard_id: str, place_of: Callable[[str], str]) -> IO[bytes]:
        item = self._origins[shard_id]
        scheme = scheme_of(item)
        if scheme == "at":
            raise ShardNotFoundError(f"{item}: there are no files next to a blob.")
        # A key in a bucket may have a question mark.
        path, mark, query = (str(item), "", "") if scheme == "s3" else str(item).partition("?")
        near = f"{place_of(path)}{mark}{query}"
        return self._open(item.at(near) if isinstance(item, LocatedUrl) else near)

    @once
    def _shards(self) -> tuple[str, ...]:
        while True:
            found = self._listed()
            firsts = self._first_shards(found)
            self._seen = {head: (path, _seen(path)) for head, path in firsts.items()}
            # A writer that is replacing shards is waited for; one that was killed is completed.
            # Later replacements are noticed on reading.
            # A folder may have gained shards before its first one was looked at.
            if not firsts or (not settle(firsts.values()) and found == self._listed()):
                return found

    def _first_shards(self, shards: Iterable[str]) -> dict[str, str]:
        """Common beginning of numbered local files → the first of them."""
        found: dict[str, str] = {}
        for shard in shards:
            head = head_of(shard)
            if head is not None and head not in found and self._is_local(shard):
                found[head] = str(path_of(shard))
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
        """What a folder without shards holds instead."""
        if not self._is_local(item):
            return ""
        path = path_of(item, self._base)
        hint = instead_of_shards(path) if path.is_dir() else ""
        return f" {hint}" if hint else slash_missing(item)

    @once
    def _origins(self) -> dict[str, str]:
        """Shard → the same as a LocatedUrl, if an entry gave one."""
        return {shard: shard for shard in self._shards}

    def _expand(self, item: str) -> list[str]:
        if isinstance(item, LocatedUrl) and item.exact:
            if (policy := self._policy_of(item)) is not None:
                policy.check_url(item)
            return [str(item)]
        local = self._is_local(item)
        if local and os.path.lexists(os.path.join(self._base or "", user_path(item))):  # noqa: PTH118
            return DiskReader(self._base).expand(item)
        # Braces in the name of a folder that exists are no pattern.
        by_path = local and not item.startswith("file:")
        folder, left = existing_part(item, self._base) if by_path else ("", item)
        found: list[str] = []
        # Alternatives in braces may differ in scheme.
        for url in (folder + part for part in expand_braces(left)):
            located = self._locate(url, item)
            found += located.reader.expand(url, policy=located.policy)
        return found

    def _open(self, shard: str) -> IO[bytes]:
        located = self._locate(shard)
        return located.reader.open(located.url, policy=located.policy)

    def _policy_of(self, url: str) -> Policy | None:
        if self._policy is None and isinstance(url, LocatedUrl) and url.stranger:
            return STRANGER
        return self._policy

    def _is_local(self, url: str) -> bool:
        """Whether a URL is a path of this machine that the user typed."""
        return scheme_of(url) == "file" and self._policy_of(url) is None

    def _locate(self, url: str, given: str | None = None) -> _Located:
        """How a URL is read, once its policy allows it.

        Args:
            url: The URL.
            given: What it was expanded from, with its endpoint and origin; None: from itself.

        Raises:
            UnsafeUrlError: The policy refuses it.
            UrlError: Nothing reads its scheme.
        """
        origin = url if given is None else given
        policy = self._policy_of(origin)
        if policy is not None:
            policy.check_url(url)
        scheme = scheme_of(url)
        reader: ShardReader
        if scheme == "s3":
            endpoint, region = self._endpoint, self._region
            if isinstance(origin, LocatedUrl):
                endpoint, region = origin.endpoint or endpoint, origin.region or region
            reader = SHARD_SCHEMES.load("s3")(self._access, endpoint=endpoint, region=region)
        elif scheme == "file":
            reader = DiskReader(self._base)
        else:
            reader = SHARD_SCHEMES.load(scheme)()
        return _Located(str(url), policy, reader)

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker does not know the buckets registered in this process.
        state = dict(self.__dict__)
        if buckets := self._buckets():
            with importing():
                from atdata.sources.s3_access import remembered

            state["_remembered"] = remembered(buckets)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = state.pop("_remembered", None)
        if known is not None:
            with importing():
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
    """What tells a replaced file from the old one."""
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
        "atdata.write_columns(columns, 'data.tar', sample_type=…) for columns; of a DataFrame, "
        "atdata.from_pandas(df).write('data.tar')."
    )


def _checked(item: str | Path) -> str:
    if not isinstance(item, str | os.PathLike):
        raise _no_shards(item)
    text = item if isinstance(item, str) else os.fspath(item)
    if not text.strip():
        raise UrlError("An empty URL was given. Name a shard, for example 'data-000000.tar'.")
    # The name of a local file may be invalid text, but never has a NUL.
    unfit = _UNFIT if has_scheme(text) else _NUL
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
    return scheme_of(item) == "file" and not item.startswith(("/", "file:"))


def _working_directory() -> str | None:
    """Where relative paths start from; None where the folder was removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return None
