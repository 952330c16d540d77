"""Shards in buckets: signed by the AWS library, streamed by our HTTP reader."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, Final

from atdata.errors import SourceError, UnsafeUrlError, UrlError
from atdata.net.http import open_url
from atdata.net.policy import Policy
from atdata.sources.http_ranges import HttpBytes
from atdata.sources.s3_access import S3Access, access_for, in_region, learn_region
from atdata.sources.s3_client import client_for, refusal, s3_error, s3_errors

_SIGNATURE_SECONDS: Final = 3600
"""How long a signature is valid; each request is signed again, also after a dropped connection."""
_MAGIC: Final = re.compile(r"[*?[]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""


def parse_s3(url: str) -> tuple[str, str]:
    """``s3://bucket/key`` → bucket and key. The key is taken literally: nothing is unescaped.

    Raises:
        UrlError: It has no bucket, or access keys before it.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    if not url.lower().startswith("s3://") or not bucket:
        raise UrlError(f"{url!r} is not an s3 URL. Write s3://bucket/folder/name.tar.")
    if "@" in bucket or (":" in bucket and not bucket.startswith("arn:")):
        raise UrlError(
            f"{url!r} has access keys before its bucket, where s3 URLs have none. Pass them to "
            "S3DataStore(credentials=…) or S3Source(access_key=…, secret_key=…), or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return bucket, key


def _check_name(url: str, bucket: str, policy: Policy | None) -> None:
    """Refuse a URL that has no UTF-8, and a stranger's that does not name a plain bucket.

    A stranger's access point or function would otherwise receive a signed request.
    """
    try:
        url.encode()
    except UnicodeEncodeError as error:
        raise UrlError(f"{url!r} has characters that no S3 key can have.") from error
    if policy is not None and not _BUCKET.fullmatch(bucket):
        raise UnsafeUrlError(
            f"{url[:200]!r} comes from the network, and {bucket[:80]!r} is not the name of a "
            "bucket."
        )


class S3Reader:
    """Opens s3:// URLs.

    Args:
        access: How to open every bucket; None: by `access_for`.
        endpoint: The server of buckets for which no access is remembered.
        region: The region of that server.
    """

    def __init__(
        self,
        access: S3Access | None = None,
        *,
        endpoint: str | None = None,
        region: str | None = None,
    ) -> None:
        self._access = access
        self._endpoint = endpoint
        self._region = region

    def open(self, url: str, *, policy: Policy | None = None) -> IO[bytes]:
        """Open an object as a stream; see `open_url`.

        Raises:
            ShardNotFoundError: There is no such object.
            BucketNotFoundError: There is no such bucket.
            CredentialsError: The server refuses access; says what to set.
            SourceError: It cannot be read.
            UnsafeUrlError: The policy refuses the endpoint.
            MissingExtraError: boto3 is not installed.
        """
        signer, gate = self._signer(url, policy)
        return open_url(url, sign=signer, policy=gate, name=url, allow_encoded=False)

    def ranges(self, url: str, *, policy: Policy | None = None) -> HttpBytes:
        """An object by byte ranges; no request is sent yet."""
        signer, gate = self._signer(url, policy)
        return HttpBytes(url, name=url, sign=signer, policy=gate)

    def _signer(self, url: str, policy: Policy | None) -> tuple[_Signer, Policy | None]:
        bucket, key = parse_s3(url)
        _check_name(url, bucket, policy)
        if not key or key.endswith("/"):
            raise UrlError(f"{url!r} names a folder, where a shard was expected.")
        access, own = self._access_to(bucket, policy)
        return _Signer(url, bucket, key, access), None if own else policy

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The objects that a URL stands for, sorted by key.

        A bucket, or a key that ends with ``/``, stands for the tar files directly below it.
        ``*`` and ``?`` match within a folder, ``**`` across folders, unless an object of exactly
        this name exists. An untrusted URL stands for itself.

        Raises:
            BucketNotFoundError: There is no such bucket.
            CredentialsError: The server refuses access; says what to set.
            SourceError: It cannot be listed.
        """
        bucket, key = parse_s3(url)
        if policy is not None:
            policy.check_url(url)
            _check_name(url, bucket, policy)
            return [url]
        magic = _MAGIC.search(key)
        if key and not key.endswith("/") and not magic:
            return [url]
        access = in_region(bucket, self._access_to(bucket, policy)[0])
        pattern = key if magic else f"{escaped(key)}*.tar"
        start = key[: magic.start()] if magic else key
        wanted = _compiled(pattern)
        with s3_errors(url, access, kind=SourceError):
            client, _ = client_for(access, fallback=True)
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        if key in keys:
            return [url]
        return [f"s3://{bucket}/{name}" for name in sorted(keys) if wanted.fullmatch(name)]

    def _access_to(self, bucket: str, policy: Policy | None) -> tuple[S3Access, bool]:
        if self._access is not None:
            return self._access, True
        stranger = policy is not None
        return access_for(bucket, endpoint=self._endpoint, region=self._region, stranger=stranger)


class _Signer:
    """Signs GET requests for one object, and learns the bucket's region from refusals."""

    def __init__(self, url: str, bucket: str, key: str, access: S3Access) -> None:
        self._url = url
        self._bucket = bucket
        self._key = key
        self._access = access
        self._signed = True

    def sign(self, url: str) -> str:
        """A URL with a signature in its query, for the bucket's own host only."""
        access = in_region(self._bucket, self._access)
        with s3_errors(url, access, kind=SourceError):
            client, self._signed = client_for(access, fallback=True)
            signed: str = client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._key},
                ExpiresIn=_SIGNATURE_SECONDS,
            )
        return signed

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """None if the server named another region to try; otherwise the error."""
        reasons = refusal(body)
        region = headers.get("x-amz-bucket-region") or reasons.get("Region")
        known = in_region(self._bucket, self._access).region
        if status in (301, 307, 400, 403) and region and self._access.endpoint is None:
            learn_region(self._bucket, self._access, region)
            if region != known and in_region(self._bucket, self._access).region != known:
                return None
        return s3_error(
            self._url,
            self._access,
            code=reasons.get("Code", ""),
            status=status,
            message=reasons.get("Message", ""),
            signed=self._signed,
            kind=SourceError,
        )


def escaped(key: str) -> str:
    """A glob that matches exactly this key."""
    return _MAGIC.sub(lambda match: f"[{match[0]}]", key)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` stop at ``/``, ``**`` does not."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end]
            negated = inside[:1] in ("!", "^")
            body = re.sub(r"([\\^\[\]])", r"\\\1", inside[negated:])
            parts.append(f"[{'^' if negated else ''}{body}]")
            at = end + 1
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at])))
            at += 1
    return re.compile("".join(parts), re.DOTALL)
