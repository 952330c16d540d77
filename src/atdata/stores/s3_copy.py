"""Objects copied by the S3 server itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from atdata._registry import require
from atdata._shardlist import LocatedUrl, ShardInfo
from atdata.sources.s3_access import S3Access, access_for, environment_endpoint
from atdata.sources.s3_client import status_of
from atdata.sources.s3_reader import parse_s3
from atdata.stores.s3_upload import SHA256

_MAX_COPY_BYTES: Final = 5_000_000_000
"""Size of the largest object that servers copy in one request."""


def copy_source(url: str, access: S3Access) -> dict[str, str] | None:
    """Bucket and key of a shard on the server of ``access``; None if it is on another."""
    if not url.startswith("s3://"):
        return None
    bucket, key = parse_s3(url)
    located = {}
    if isinstance(url, LocatedUrl):
        located = {"endpoint": url.endpoint, "region": url.region, "stranger": url.stranger}
    found, _ = access_for(bucket, **located)  # type: ignore[arg-type]
    same = (found.endpoint or environment_endpoint()) == (access.endpoint or environment_endpoint())
    return {"Bucket": bucket, "Key": key} if same else None


def copy_on_server(
    client: Any, source: Mapping[str, str], place: Mapping[str, str], shard: ShardInfo
) -> ShardInfo | None:
    """Copy an object that was stored with its hash, if that is the one expected.

    Returns:
        The shard with size and hash. None if the server does not copy, the keys may not read it,
        its hash was not stored, or the place is taken.

    Raises:
        botocore.exceptions.BotoCoreError: The server cannot be reached.
    """
    error_type = require("botocore.exceptions", purpose="S3 buckets").ClientError
    try:
        head = client.head_object(**source)
        stored, size = head.get("Metadata", {}).get(SHA256), head["ContentLength"]
        vouched = stored is not None and shard.sha256 in (None, stored)
        if not vouched or shard.bytes not in (None, size) or size > _MAX_COPY_BYTES:
            return None
        try:
            client.head_object(**place)
        except error_type as error:
            if status_of(error) != 404:
                raise
        else:
            return None  # Nothing is overwritten: the caller compares the bytes.
        client.copy_object(
            **place,
            CopySource=dict(source),
            CopySourceIfMatch=head["ETag"],
            MetadataDirective="COPY",
        )
    except error_type:
        return None
    return replace(shard, bytes=size, sha256=stored)
