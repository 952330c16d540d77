"""PDSBlobStore: shards as blobs of an account."""

from __future__ import annotations

from atdata.atmosphere.client import AtmosphereClient


class PDSBlobStore:
    """Shards as blobs in the repository of the account that is logged in."""

    def __init__(self, client: AtmosphereClient) -> None:
        self.client = client
