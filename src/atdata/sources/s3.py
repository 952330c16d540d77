"""S3Source: shards in a bucket, with its endpoint and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from atdata.errors import NoDataUrlsError, OptionError
from atdata.sources.s3_access import S3Access, remember
from atdata.sources.s3_reader import escaped, parse_s3
from atdata.sources.url import URLSource


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
        UrlError: Not s3:// URLs, or the endpoint is not a URL.
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
    literal = re.sub(r"([{},\\])", r"\\\1", escaped(prefix.removeprefix("/")))
    return [f"s3://{bucket}/{literal}**.tar"]
