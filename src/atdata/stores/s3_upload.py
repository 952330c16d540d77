"""One file → one object: visible when whole, and never in place of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from atdata._registry import require

SHA256: Final = "sha256"
"""Name of the metadata that holds an object's hash, in lower-case hex."""
MULTIPART: Final = 64 << 20
"""Files from this size on are sent in parts."""
_PART: Final = 16 << 20
_MAX_PARTS: Final = 9_000
_AT_ONCE: Final = 4
_TYPES: Final = {".tar": "application/x-tar", ".json": "application/json"}


def upload(client: Any, bucket: str, key: str, file: Path, sha256: str) -> bool:
    """Send a file.

    At most four parts of 16 MiB are in memory (for files over 150 GB, larger ones).

    Args:
        client: A boto3 client.
        bucket: Where to.
        key: Where to.
        file: What to send.
        sha256: Its hash, stored with the object.

    Returns:
        Whether it was sent; False: the key was taken meanwhile, and has not been overwritten.

    Raises:
        botocore.exceptions.BotoCoreError: It could not be sent; nothing is visible.
        botocore.exceptions.ClientError: The server refused it; nothing is visible.
    """
    error_type = require("botocore.exceptions", purpose="S3 buckets").ClientError
    send = _send_whole if file.stat().st_size < MULTIPART else _send_in_parts
    try:
        send(client, bucket, key, file, sha256, {"IfNoneMatch": "*"})
    except error_type as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in (409, 412):
            return False
        if status != 501:
            raise
        # Some servers do not know conditions.
        send(client, bucket, key, file, sha256, {})
    return True


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
    part = max(_PART, -(-size // _MAX_PARTS))
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
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [pool.submit(send_part, n + 1) for n in range(-(-size // part))]
            try:
                parts = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, **condition)
    except BaseException:
        # What was sent is invisible, but would be kept, and billed.
        with suppress(Exception):
            client.abort_multipart_upload(**target)
        raise
