"""One file → one object: visible when whole, never replacing another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from atdata._registry import require
from atdata.net.retries import Retries, RetryPolicy
from atdata.sources.s3_client import status_of

SHA256: Final = "sha256"
"""Name of the metadata that holds an object's hash, in lower-case hex."""
MULTIPART_BYTES: Final = 64 << 20
"""Larger files are sent in parts."""
_PART_BYTES: Final = 16 << 20
_MAX_PARTS: Final = 9_000
_PARTS_AT_ONCE: Final = 4
_AFTER_CONFLICTS: Final = RetryPolicy(attempts=4, first_pause=0.3, total_seconds=math.inf)
"""While another writer is uploading to the same key."""
_REFUSED: Final = frozenset({400, 401, 403, 409, 412, 501})
"""Statuses that exclude that an object was made of an upload's parts."""
_TYPES: Final = {".tar": "application/x-tar", ".json": "application/json"}


def upload(client: Any, bucket: str, key: str, file: Path, sha256: str) -> None:
    """Send a file, unless its key is taken. Nothing is overwritten. Its hash is stored with it.

    At most four parts of 16 MiB are in memory (larger ones for files over 150 GB). The caller has
    to look whose object has the key afterwards: the answer to a successful request may be lost, and
    the same request, sent again, finds the key taken or its parts used up.

    Raises:
        botocore.exceptions.BotoCoreError: The server did not answer; the object may be there.
        botocore.exceptions.ClientError: The server refused it, or failed.
    """
    error_type = require("botocore.exceptions", purpose="S3 buckets").ClientError
    send = _send_whole if file.stat().st_size < MULTIPART_BYTES else _send_in_parts
    condition = {"IfNoneMatch": "*"}
    retries = Retries(f"s3://{bucket}/{key}", _AFTER_CONFLICTS)
    while True:
        try:
            return send(client, bucket, key, file, sha256, condition)
        except error_type as error:
            status = status_of(error)
            if status == 412:
                return None
            if status == 501 and condition:
                # Some servers do not know conditions.
                condition = {}
            # Another upload of this key was under way.
            elif status != 409 or not retries.again():
                raise


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _type_of(key: str) -> str:
    return _TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")


def _send_whole(
    client: Any, bucket: str, key: str, file: Path, sha256: str, condition: dict[str, str]
) -> None:
    with file.open("rb") as body:
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType=_type_of(key),
            Metadata={SHA256: sha256},
            **condition,
        )


def _send_in_parts(
    client: Any, bucket: str, key: str, file: Path, sha256: str, condition: dict[str, str]
) -> None:
    size = file.stat().st_size
    part = max(_PART_BYTES, -(-size // _MAX_PARTS))
    target = {"Bucket": bucket, "Key": key}
    begun = client.create_multipart_upload(
        **target, ContentType=_type_of(key), Metadata={SHA256: sha256}
    )
    target["UploadId"] = begun["UploadId"]

    def send_part(number: int) -> dict[str, Any]:
        with file.open("rb") as stream:
            stream.seek((number - 1) * part)
            body = stream.read(part)
        answer = client.upload_part(**target, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            futures = [pool.submit(send_part, n + 1) for n in range(-(-size // part))]
            try:
                parts = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except BaseException:
        _abort(client, target)
        raise
    refused = require("botocore.exceptions", purpose="S3 buckets").ClientError
    try:
        client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, **condition)
    except refused as error:
        if _code(error) == "NoSuchUpload":
            # An earlier try succeeded, and its answer was lost.
            return
        # In any other case the object may exist, or soon will: then its parts must stay.
        if status_of(error) in _REFUSED:
            _abort(client, target)
        raise


def _abort(client: Any, target: Mapping[str, str]) -> None:
    """Drop the parts that were sent: they are invisible, but kept and billed."""
    with suppress(Exception):
        client.abort_multipart_upload(**target)
