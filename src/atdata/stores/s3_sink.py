"""Finished shards → bucket: uploaded, or copied by the server, and confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from atdata._digest import sha256_of
from atdata._shardlist import ShardInfo
from atdata.errors import StoreError
from atdata.net.retries import Retries, RetryPolicy
from atdata.shards.tar.table import SUFFIX, is_of_another_program
from atdata.sources.s3_reader import S3Reader
from atdata.stores.bucket import Bucket
from atdata.stores.prefixes import name_taken
from atdata.stores.s3_copy import copy_on_server, copy_source
from atdata.stores.s3_upload import SHA256, upload

_UNTIL_SHOWN: Final = RetryPolicy(attempts=7, first_pause=0.15)
"""Some servers show an object a while after they took it: it gets about seven seconds."""


class BucketSink:
    """Places the finished shards of one call, whose keys begin with ``base``.

    ``own`` is whether no other writer can know what they begin with.
    """

    def __init__(self, bucket: Bucket, base: str, scratch: Path, *, own: bool) -> None:
        self._bucket = bucket
        self._base = base
        self._scratch = scratch
        self._own = own
        self._sent: list[str] = []
        self.place = f"{bucket.server} {bucket.url(base)}"

    def scratch(self) -> Path:
        """A temporary folder."""
        return self._scratch

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of the shard of this name, if what was stored with it has this size and hash."""
        key = self._base + name
        if None in (shard.sha256, shard.bytes):
            return None
        head = self._bucket.head(key)
        same = head is not None and self._is_same(key, head, shard)
        return self._bucket.url(key) if same else None

    def copy_within(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        """Have the server copy a shard that it has, if the hash stored with it is the right one.

        None if the shard is elsewhere, or nobody knows its hash: then its bytes have to be read.
        """
        source = copy_source(shard.url, self._bucket.access)
        if source is None:
            return None
        key = self._base + name
        target = {"Bucket": self._bucket.name, "Key": key}
        with self._bucket.client(key) as client:
            copy = copy_on_server(client, source, target, shard)
        if copy is None:
            return None
        self._sent.append(key)
        self._check_arrived(key, copy)
        # Its table too, if it has one; without it the shard is scanned.
        table = {**target, "Key": key + SUFFIX}
        with suppress(StoreError), self._bucket.client(key) as client:
            if self._has_foreign_table(key):
                return copy.at(self._bucket.url(key))
            client.copy_object(**table, CopySource={**source, "Key": source["Key"] + SUFFIX})
        return copy.at(self._bucket.url(key))

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Send a finished shard, unless it exists, and see that it has arrived."""
        key = self._base + name
        head = self._bucket.head(key)
        if head is None:
            self._sent.append(key)
            self._send(key, file, info)
        elif not self._is_same(key, head, info):
            raise name_taken(self._bucket.url(key))
        file.unlink()
        return self._bucket.url(key)

    def accept_table(self, name: str, table: bytes) -> None:
        """Send a shard's table, unless both existed before this call, or another program's file
        has its name."""
        key = self._base + name + SUFFIX
        if self._base + name in self._sent:
            if self._has_foreign_table(self._base + name):
                return
            self._sent.append(key)
        elif self._bucket.head(key) is not None:
            return
        with self._bucket.client(key) as client:
            client.put_object(Bucket=self._bucket.name, Key=key, Body=table)

    def _has_foreign_table(self, shard: str) -> bool:
        """Whether a file of another program has the name of a shard's table."""
        key = shard + SUFFIX
        head = self._bucket.head(key)
        if head is None or not head["ContentLength"]:
            return False
        with self._bucket.client(key) as client:
            found = client.get_object(Bucket=self._bucket.name, Key=key, Range="bytes=0-7")
            return is_of_another_program(found["Body"].read(8))

    def accept_schema(self, name: str, schema: bytes) -> None:
        """Send the schema file next to the shards; an existing one stays."""
        key = self._base + name
        if self._bucket.head(key) is not None:
            return
        self._sent.append(key)
        with self._bucket.client(key) as client:
            client.put_object(Bucket=self._bucket.name, Key=key, Body=schema)

    def discard(self) -> None:
        """Remove what this call sent, if no other writer can have found it."""
        for key in self._sent if self._own else ():
            # The error that led here is more useful than one of cleaning up.
            with suppress(StoreError), self._bucket.client(key) as client:
                client.delete_object(Bucket=self._bucket.name, Key=key)

    def _send(self, key: str, file: Path, info: ShardInfo) -> None:
        assert info.sha256 is not None
        try:
            with self._bucket.client(key) as client:
                upload(client, self._bucket.name, key, file, info.sha256)
        except StoreError:
            # The answer may have been lost, and not the shard.
            with suppress(StoreError):
                head = self._bucket.head(key, attempts=1)
                if head is not None and self._is_same(key, head, info):
                    return
            raise
        self._check_arrived(key, info)

    def _check_arrived(self, key: str, info: ShardInfo) -> None:
        """See that the server shows a shard which it says that it has.

        Raises:
            ShardExistsError: It shows another one.
            StoreError: It shows none, so far.
        """
        url = self._bucket.url(key)
        retries = Retries(url, _UNTIL_SHOWN)
        while (head := self._bucket.head(key)) is None and retries.again():
            pass
        if head is None:
            raise StoreError(
                f"{url}: {self._bucket.server} took the shard, or had it already, and does not "
                "show it. What was stored stays. Write again: what has appeared by then is not "
                "sent again."
            )
        if not self._is_same(key, head, info):
            raise name_taken(url)

    def _is_same(self, key: str, head: Mapping[str, Any], shard: ShardInfo) -> bool:
        if head["ContentLength"] != shard.bytes:
            return False
        sha256 = head.get("Metadata", {}).get(SHA256)
        if sha256 is None:
            # Another program stored it: only its bytes can tell.
            with S3Reader(self._bucket.access).open(self._bucket.url(key)) as stream:
                sha256, _ = sha256_of(stream)
        return bool(sha256 == shard.sha256)
