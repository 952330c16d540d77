"""S3DataStore: shards in a bucket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from atdata._digest import sha256_of
from atdata._registry import require
from atdata._secrets import redacted
from atdata._shardlist import ShardInfo, ShardUrls, exactly
from atdata.capabilities import Progress
from atdata.errors import OptionError, StoreError, UrlError
from atdata.net.retries import Retries, RetryPolicy
from atdata.shards.tar.table import SUFFIX
from atdata.sources.s3 import S3Reader, parse_s3
from atdata.sources.s3_access import S3Access, environment_endpoint, in_region, remember
from atdata.sources.s3_client import client_for, s3_errors
from atdata.stores.s3_copy import copy_on_server, copy_source
from atdata.stores.s3_upload import SHA256, upload
from atdata.stores.store_base import (
    STEM,
    OwnPrefix,
    Samples,
    check_prefix,
    copy_name,
    copy_packed,
    other_bytes,
    packed_of,
    write_packed,
)
from atdata.system.scratch import Scratch

_PROBE_ATTEMPTS: Final = 2
"""Tries of the first request of a call: a server that is down is reported within seconds."""
_UNTIL_SHOWN: Final = RetryPolicy(attempts=7, first_pause=0.15)
"""Some servers show an object a while after they took it: it gets about seven seconds."""


class S3DataStore:
    """Shards in a bucket of AWS or of any server that speaks S3.

    A shard is visible when it is whole, and then it stays: another writer of the same samples may
    have found it there. A process that is killed leaves none half written.
    From now on, s3:// URLs of the bucket are read with the same endpoint and keys in this
    process. No request is sent before the first shard is written.

    Args:
        credentials: A dict with ``AWS_ENDPOINT``, ``AWS_ACCESS_KEY_ID``,
            ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_SESSION_TOKEN``, or the path of a
            ``.env`` file with such lines. Without keys AWS's chain finds them, without an
            endpoint it is AWS, or what ``AWS_ENDPOINT_URL`` says.
        bucket: Name of the bucket, which exists.

    Raises:
        CredentialsError: The file cannot be read, or one of the two keys is missing.
        OptionError: Not the name of a bucket.
        UrlError: The endpoint is not an http(s) URL.
    """

    def __init__(self, credentials: Mapping[str, str] | str | Path, *, bucket: str) -> None:
        if not isinstance(bucket, str) or not bucket or "/" in bucket:
            raise OptionError(
                f"bucket={bucket!r}: write the bucket's name alone, such as 'my-datasets'."
            )
        self._access = S3Access.from_settings(credentials)
        self.bucket = bucket
        remember(bucket, self._access)

    @classmethod
    def from_url(cls, url: str) -> tuple[S3DataStore, str | None]:
        """The bucket of ``s3://bucket/prefix``, with access from the AWS environment variables."""
        bucket, prefix = parse_s3(url)
        access = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return cls(access, bucket=bucket), prefix.strip("/") or None

    @property
    def endpoint(self) -> str | None:
        """http(s) URL of the server; None is AWS itself."""
        return self._access.endpoint or environment_endpoint()

    @property
    def region(self) -> str | None:
        """The bucket's region, where it was given or learnt."""
        return in_region(self.bucket, self._access).region

    def write_shards(
        self,
        ds: Samples,
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: int | None = None,
    ) -> ShardUrls:
        """Write every sample of a dataset, in order, each shard through a temporary file.

        Bucket and keys are checked before a sample is read. A shard that is there already,
        with the same bytes, is not sent again. After an error, Ctrl-C included, what the server
        took stays, for a second run to go on from.

        Args:
            ds: The dataset.
            prefix: Begin of the keys; the shards are ``{prefix}/data-000000.tar``, ….
            maxcount: Most samples in a shard. Without it and ``maxsize`` the shards are
                divided as those of ``ds``.
            maxsize: Most bytes in a shard, padding included.

        Returns:
            ``s3://bucket/{prefix}/data-000000.tar``, …, with samples, bytes and SHA-256.

        Raises:
            BucketNotFoundError: There is no such bucket.
            CredentialsError: The server refuses the keys, or there are none.
            StoreError: It cannot be reached, or another shard has the name.
            OptionError: A prefix that is none, or a limit below 1.
            NoDataUrlsError: The dataset has no samples.
            MissingExtraError: boto3 is not installed.
        """
        samples = packed_of(ds)
        with self._sink(prefix) as sink:
            return write_packed(samples, sink, stem=STEM, maxcount=maxcount, maxsize=maxsize)

    def copy_shards(
        self,
        shards: Sequence[ShardInfo],
        open_shard: Callable[[str], IO[bytes]],
        *,
        prefix: str,
        progress: Progress | None = None,
    ) -> ShardUrls:
        """Copy shards byte for byte; see `atdata.stores.store_base.copy_packed`.

        Args:
            shards: What to copy. One that is there already, with its size and hash, is neither
                read nor sent.
            open_shard: Opens a shard by its URL.
            prefix: Begin of the keys.
            progress: Called with each number of bytes that are copied.

        Returns:
            The s3:// URL of each copy, in the same order.
        """
        with self._sink(prefix) as sink:
            return copy_packed(shards, open_shard, sink, progress=progress)

    def planned(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[ShardInfo]:
        """The shards as `copy_shards` would place them. No request is sent."""
        folder = check_prefix(prefix)
        base = f"s3://{self.bucket}/{folder}/" if folder else f"s3://{self.bucket}/"
        return [shard.at(f"{base}{copy_name(n)}") for n, shard in enumerate(shards)]

    def present(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[str]:
        """The URLs of those that are copied already, told by name and size.

        One request for every thousand shards.

        Raises:
            StoreError: The server cannot be asked.
        """
        planned = self.planned(shards, prefix=prefix)
        place = f"s3://{self.bucket}/{check_prefix(prefix)}"
        found: dict[str, int] = {}
        with s3_errors(place, self._access, kind=StoreError):
            client, _ = client_for(in_region(self.bucket, self._access))
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=parse_s3(place)[1]
            )
            for page in pages:
                for row in page.get("Contents", ()):
                    found[f"s3://{self.bucket}/{row['Key']}"] = row["Size"]
        return [
            shard.url
            for shard, copy in zip(shards, planned, strict=True)
            if shard.bytes is not None and found.get(copy.url) == shard.bytes
        ]

    def file_url(self, name: str, *, prefix: str) -> str:
        """The URL of a file next to the shards of a prefix. No request is sent."""
        return "/".join(
            part for part in (f"s3://{self.bucket}", check_prefix(prefix), name) if part
        )

    def write_file(self, name: str, data: bytes, *, prefix: str) -> str:
        """Write a small file next to the shards of a prefix, unless it exists.

        Returns:
            Its URL.

        Raises:
            ShardExistsError: There is another file of this name.
            BucketNotFoundError, CredentialsError, StoreError: As for `write_shards`.
        """
        with self._sink(prefix) as sink:
            file = sink.scratch() / "file"
            file.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            return sink.accept(name, file, ShardInfo(name, None, len(data), digest))

    def read_url(self, url: str) -> str:
        """The same URL: the bucket's URLs are read with this store's endpoint and keys.

        Raises:
            UrlError: It is not in this store's bucket.
        """
        if parse_s3(url)[0] != self.bucket:
            raise UrlError(f"{url!r} is not in this store, whose bucket is {self.bucket!r}.")
        return exactly(url)

    def supports_streaming(self) -> bool:
        """Always: shards are read in place."""
        return True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        remember(self.bucket, self._access)

    def __repr__(self) -> str:
        return redacted(f"S3DataStore(bucket={self.bucket!r}, endpoint={self.endpoint!r})")

    def check(self, prefix: str = "") -> None:
        """Find out, before long work begins, whether the bucket is there and lets us in.

        Asks for a listing: unlike other requests, its refusal says why.

        Raises:
            BucketNotFoundError: There is no such bucket.
            CredentialsError: The server refuses the keys, or there are none.
            StoreError: It cannot be reached.
        """
        place = f"s3://{self.bucket}/{prefix}"
        with s3_errors(place, self._access, kind=StoreError):
            access = in_region(self.bucket, self._access)
            client, _ = client_for(access, attempts=_PROBE_ATTEMPTS)
            client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=1)

    @contextmanager
    def _sink(self, prefix: str) -> Iterator[_Sink]:
        folder = check_prefix(prefix)
        base = f"{folder}/" if folder else ""
        self.check(base)
        access = in_region(self.bucket, self._access)
        own = isinstance(prefix, OwnPrefix)
        with Scratch(Path(tempfile.gettempdir()), "atdata-s3-") as scratch:
            yield _Sink(self.bucket, base, access, scratch.path, own=own)


class _Sink:
    """Uploads the finished shards of one call.

    Args:
        bucket: Where to.
        base: What keys begin with.
        access: How to reach it.
        scratch: A folder for unfinished shards.
        own: Whether nobody else can know what keys begin with.
    """

    def __init__(
        self, bucket: str, base: str, access: S3Access, scratch: Path, *, own: bool
    ) -> None:
        self._bucket = bucket
        self._base = base
        self._access = access
        self._scratch = scratch
        self._own = own
        self._sent: list[str] = []
        self.place = f"{access.endpoint or environment_endpoint() or 'AWS S3'} s3://{bucket}/{base}"

    def scratch(self) -> Path:
        """A temporary folder."""
        return self._scratch

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of a shard with this size and hash, by what was stored with it."""
        url = self._url(name)
        if None in (shard.sha256, shard.bytes):
            return None
        head = self._head(url)
        return url if head is not None and self._is_same(url, head, shard) else None

    def copy_within(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        """Have the server copy a shard that it has, if what is stored with it vouches for it.

        None where the shard is elsewhere, or its hash is known to nobody: then its bytes have
        to be read anyway.
        """
        source = copy_source(shard.url, self._access)
        if source is None:
            return None
        url = self._url(name)
        place = {"Bucket": self._bucket, "Key": parse_s3(url)[1]}
        with s3_errors(url, self._access, kind=StoreError):
            client, _ = client_for(self._access)
            found = copy_on_server(client, source, place, shard)
        if found is None:
            return None
        self._sent.append(url)
        self._check_arrived(url, found)
        # The table beside it, where there is one; without it a shard is read all the same.
        beside = {**place, "Key": place["Key"] + SUFFIX}
        with suppress(StoreError), s3_errors(url, self._access, kind=StoreError):
            client.copy_object(**beside, CopySource={**source, "Key": source["Key"] + SUFFIX})
        return found.at(url)

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Send a finished shard, unless the same is there, and see that it has arrived."""
        assert info.sha256 is not None
        url = self._url(name)
        head = self._head(url)
        if head is None:
            self._sent.append(url)
            self._send(url, file, info)
        elif not self._is_same(url, head, info):
            raise other_bytes(url)
        file.unlink()
        return url

    def accept_table(self, name: str, table: bytes) -> None:
        """Send a shard's table, unless shard and table were there already."""
        url = self._url(name) + SUFFIX
        sent = self._url(name) in self._sent
        if not sent and self._head(url) is not None:
            return
        if sent:
            self._sent.append(url)
        with s3_errors(url, self._access, kind=StoreError):
            client, _ = client_for(self._access)
            client.put_object(Bucket=self._bucket, Key=parse_s3(url)[1], Body=table)

    def discard(self) -> None:
        """Remove what this call sent, where nobody else can have found it."""
        for url in self._sent if self._own else ():
            # The error that led here says more than one in cleaning up.
            with suppress(StoreError), s3_errors(url, self._access, kind=StoreError):
                client, _ = client_for(self._access)
                client.delete_object(Bucket=self._bucket, Key=parse_s3(url)[1])

    def _url(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._base}{name}"

    def _send(self, url: str, file: Path, info: ShardInfo) -> None:
        assert info.sha256 is not None
        try:
            with s3_errors(url, self._access, kind=StoreError):
                client, _ = client_for(self._access)
                upload(client, self._bucket, parse_s3(url)[1], file, info.sha256)
        except StoreError:
            # Maybe the answer was lost, and not the shard.
            with suppress(StoreError):
                head = self._head(url, attempts=1)
                if head is not None and self._is_same(url, head, info):
                    return
            raise
        self._check_arrived(url, info)

    def _check_arrived(self, url: str, info: ShardInfo) -> None:
        """See that a shard is there which the server has, by its own account.

        Raises:
            ShardExistsError: There is another one.
            StoreError: There is none, so far.
        """
        retries = Retries(url, _UNTIL_SHOWN)
        while (head := self._head(url)) is None and retries.again():
            pass
        if head is not None:
            if not self._is_same(url, head, info):
                raise other_bytes(url)
            return
        raise StoreError(
            f"{url}: {self._access.endpoint or environment_endpoint() or 'AWS S3'} took the shard, "
            "or had it already, and does not show it. What was stored stays; write again, and "
            "nothing is sent twice that is there by then."
        )

    def _head(self, url: str, *, attempts: int = 4) -> Mapping[str, Any] | None:
        client_error = require("botocore.exceptions", purpose="S3 buckets").ClientError
        with s3_errors(url, self._access, kind=StoreError):
            client, _ = client_for(self._access, attempts=attempts)
            try:
                found: Mapping[str, Any] = client.head_object(
                    Bucket=self._bucket, Key=parse_s3(url)[1]
                )
            except client_error as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                    raise
                return None
            return found

    def _is_same(self, url: str, head: Mapping[str, Any], shard: ShardInfo) -> bool:
        if head["ContentLength"] != shard.bytes:
            return False
        sha256 = head.get("Metadata", {}).get(SHA256)
        if sha256 is None:
            # Put there by another program: only its bytes can tell.
            with S3Reader(self._access).open(url) as stream:
                sha256, _ = sha256_of(stream)
        return bool(sha256 == shard.sha256)
