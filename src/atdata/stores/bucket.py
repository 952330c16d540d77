"""One bucket: requests to it, with failures as our errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from atdata._registry import require
from atdata._secrets import redacted_repr
from atdata.errors import StoreError
from atdata.sources.s3_access import S3Access, environment_endpoint, in_region
from atdata.sources.s3_client import client_for, s3_errors, status_of


@redacted_repr
@dataclass(frozen=True)
class Bucket:
    """A bucket, and how it is opened."""

    name: str
    access: S3Access = field(repr=False)

    @property
    def server(self) -> str:
        """What errors and the journal call its server."""
        return self.access.endpoint or environment_endpoint() or "AWS S3"

    def in_region(self) -> Bucket:
        """The same, in its region where that was learnt from an answer."""
        return replace(self, access=in_region(self.name, self.access))

    def url(self, key: str) -> str:
        """The s3:// URL of a key."""
        return f"s3://{self.name}/{key}"

    @contextmanager
    def client(self, key: str, *, attempts: int = 4) -> Iterator[Any]:
        """A boto3 client for requests about a key, or about what begins with it.

        Raises:
            StoreError: The server cannot be reached, or fails; `BucketNotFoundError` and
                `CredentialsError` say so.
        """
        with s3_errors(self.url(key), self.access, kind=StoreError):
            client, _ = client_for(self.access, attempts=attempts)
            yield client

    def head(self, key: str, *, attempts: int = 4) -> Mapping[str, Any] | None:
        """What the server says of an object; None if there is none."""
        refused = require("botocore.exceptions", purpose="S3 buckets").ClientError
        with self.client(key, attempts=attempts) as client:
            try:
                found: Mapping[str, Any] = client.head_object(Bucket=self.name, Key=key)
            except refused as error:
                if status_of(error) != 404:
                    raise
                return None
            return found

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key → bytes of every object whose key begins with a prefix. A request a thousand."""
        with self.client(prefix) as client:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix
            )
            return {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", ())}
