"""Shards in buckets: requests signed by the AWS library, streamed by our HTTP reader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from atdata.errors import NoDataUrlsError, OptionError, SourceError, UnsafeUrlError, UrlError
from atdata.net.http import open_url
from atdata.net.policy import Policy
from atdata.sources.http_ranges import HttpBytes
from atdata.sources.s3_access import S3Access, access_for, in_region, learn_region, remember
from atdata.sources.s3_client import client_for, refusal, s3_error, s3_errors
from atdata.sources.url import URLSource

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
        pattern = key if magic else f"{_escaped(key)}*.tar"
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


class S3Source(URLSource):
    """Shards in a bucket of AWS or of any server that speaks S3.

    Pass URLs, or a bucket with a prefix or keys. With an endpoint, access keys or ``anonymous``,
    every s3:// URL of these buckets is opened the same way from now on, in this process; access
    keys are sent to no other host.

    Args:
        urls: s3:// URLs, with braces and globs.
        bucket: Instead of ``urls``: a bucket, whose objects that begin with ``prefix`` and end
            with ``.tar`` are the shards, sorted.
        prefix: What their keys begin with.
        keys: Instead of a prefix: keys, with braces, in this order.
        endpoint: http(s) URL of the server; None: AWS, or the environment's.
        access_key: With ``secret_key``; without them AWS's credential chain finds keys.
        secret_key: See ``access_key``.
        region: The bucket's region.
        anonymous: Do not sign: for public buckets.

    Raises:
        NoDataUrlsError: No URL or key was given.
        UrlError: Not s3:// URLs, or the endpoint is no URL.
        CredentialsError: One of the two keys without the other.
    """

    def __init__(
        self,
        urls: str | Sequence[str] | None = None,
        *,
        bucket: str | None = None,
        prefix: str = "",
        keys: Sequence[str] | None = None,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        anonymous: bool = False,
    ) -> None:
        given = S3Access(endpoint, region, access_key, secret_key, None, anonymous)
        self._set_up(_named(urls, bucket, prefix, keys), given)

    def _set_up(self, urls: Sequence[str], access: S3Access) -> None:
        super().__init__(urls)
        for item in self._given:
            parse_s3(item)
        if access != S3Access():
            self._access = access
            for bucket in self._buckets():
                remember(bucket, access)

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str],
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        anonymous: bool = False,
    ) -> S3Source:
        """The same as the constructor with URLs."""
        return cls(
            urls,
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            anonymous=anonymous,
        )

    @classmethod
    def from_credentials(
        cls,
        credentials: Mapping[str, str] | str | Path,
        *,
        bucket: str,
        prefix: str = "",
        keys: Sequence[str] | None = None,
    ) -> S3Source:
        """Shards of a bucket, with credentials as for `S3DataStore`.

        Args:
            credentials: A dict with ``AWS_ENDPOINT``, ``AWS_ACCESS_KEY_ID``,
                ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``; or the path of a ``.env`` file.
            bucket: The bucket.
            prefix: What the shards' keys begin with.
            keys: Instead of a prefix: the keys.
        """
        made = cls.__new__(cls)
        made._set_up(_named(None, bucket, prefix, keys), S3Access.from_settings(credentials))
        return made

    def __repr__(self) -> str:
        return super().__repr__().replace("URLSource", "S3Source", 1)


def _named(
    urls: str | Sequence[str] | None,
    bucket: str | None,
    prefix: str,
    keys: Sequence[str] | None,
) -> list[str]:
    if (urls is None) == (bucket is None):
        raise OptionError("S3Source takes either URLs or a bucket.")
    if urls is not None:
        if prefix or keys is not None:
            raise OptionError("prefix and keys go with a bucket, not with URLs.")
        return [urls] if isinstance(urls, str) else list(urls)
    if keys is not None:
        if prefix:
            raise OptionError("S3Source takes either a prefix or keys.")
        if not keys:
            raise NoDataUrlsError(f"No keys of the bucket {bucket!r} were given.")
        return [f"s3://{bucket}/{key}" for key in keys]
    literal = re.sub(r"([{},\\])", r"\\\1", _escaped(prefix.removeprefix("/")))
    return [f"s3://{bucket}/{literal}**.tar"]


def _escaped(key: str) -> str:
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
