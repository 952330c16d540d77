"""Shards over http and https."""

from __future__ import annotations

from typing import IO

from atdata._secrets import redacted
from atdata.net.http import open_url
from atdata.net.policy import Policy
from atdata.sources.http_ranges import HttpBytes


class HttpReader:
    """Opens http and https URLs."""

    def open(self, url: str, *, policy: Policy | None = None) -> IO[bytes]:
        """See `open_url`."""
        return open_url(url, policy=policy, allow_encoded=False)

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The URL itself: http has no listings."""
        if policy is not None:
            policy.check_url(url)
        return [url]

    def ranges(self, url: str, *, policy: Policy | None = None) -> HttpBytes:
        """The shard by byte ranges; no request is sent yet."""
        return HttpBytes(url, name=redacted(url), policy=policy)
