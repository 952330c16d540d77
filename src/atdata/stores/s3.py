"""S3DataStore: shards in a bucket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from atdata._secrets import redacted
from atdata._shardlist import ShardInfo, exactly
from atdata.errors import OptionError, UrlError
from atdata.sources.s3_access import S3Access, environment_endpoint, in_region, remember
from atdata.sources.s3_reader import parse_s3
from atdata.stores.bucket import Bucket
from atdata.stores.prefixes import OwnPrefix, check_prefix, shard_name
from atdata.stores.s3_sink import BucketSink
from atdata.stores.store_base import SinkStore
from atdata.system.scratch import Scratch

_PROBE_ATTEMPTS: Final = 2
"""Tries of the first request of a call: a server that is down is reported within seconds."""


class S3DataStore(SinkStore):
    """Shards in a bucket of AWS or of any server that speaks S3.

    A shard is visible when it is whole, and then it stays: another writer of the same samples may
    have found it. A killed process leaves none half written. Bucket and keys are checked before a
    sample is read; nothing is sent before that. In this process, s3:// URLs of the bucket are read
    with the same endpoint and keys from now on.

    Writing and copying raise `BucketNotFoundError` if there is no such bucket, `CredentialsError`
    if the server refuses the keys or there are none, and `MissingExtraError` without boto3.

    Args:
        credentials: A dict with ``AWS_ENDPOINT``, ``AWS_ACCESS_KEY_ID``,
            ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_SESSION_TOKEN``, or the path of a
            ``.env`` file with such lines. Without keys, AWS's chain finds them. Without an
            endpoint, the server is the one of ``AWS_ENDPOINT_URL``, else AWS.
        bucket: Name of an existing bucket.

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
        """The bucket's region, where it was given or learnt from an answer."""
        return in_region(self.bucket, self._access).region

    def planned(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[ShardInfo]:
        """The shards as `copy_shards` would place them. No request is sent."""
        return [
            shard.at(self.file_url(shard_name(number), prefix=prefix))
            for number, shard in enumerate(shards)
        ]

    def present(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[str]:
        """The URLs of those that have been copied already, by name and size.

        One request for every thousand shards.

        Raises:
            StoreError: The server cannot be reached or refuses.
        """
        bucket = self._bucket()
        sizes = bucket.sizes(check_prefix(prefix))
        found = {bucket.url(key): size for key, size in sizes.items()}
        return [
            shard.url
            for shard, copy in zip(shards, self.planned(shards, prefix=prefix), strict=True)
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        remember(self.bucket, self._access)

    def __repr__(self) -> str:
        return redacted(f"S3DataStore(bucket={self.bucket!r}, endpoint={self.endpoint!r})")

    def check(self, prefix: str = "") -> None:
        """Find out early whether the bucket exists and lets us in.

        Asks for a listing: unlike other requests, its refusal says why.

        Raises:
            BucketNotFoundError: There is no such bucket.
            CredentialsError: The server refuses the keys, or there are none.
            StoreError: It cannot be reached.
        """
        with self._bucket().client(prefix, attempts=_PROBE_ATTEMPTS) as client:
            client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=1)

    def _bucket(self) -> Bucket:
        return Bucket(self.bucket, self._access).in_region()

    @contextmanager
    def _sink(self, prefix: str, copied: Sequence[ShardInfo] = ()) -> Iterator[BucketSink]:
        folder = check_prefix(prefix)
        base = f"{folder}/" if folder else ""
        self.check(base)
        own = isinstance(prefix, OwnPrefix)
        with Scratch(Path(tempfile.gettempdir()), "atdata-s3-") as scratch:
            yield BucketSink(self._bucket(), base, scratch.path, own=own)
