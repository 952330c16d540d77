"""A writer that is stopped takes nothing away from another; the same at length: `cancelled`."""

from __future__ import annotations

import pytest

from tests.services.s3 import S3Server
from tests.stores.cancelled import runs


@pytest.mark.parametrize("place", ["folders", "S3"])
def test_what_an_entry_names_stays_when_another_writer_is_stopped(
    place: str, request: pytest.FixtureRequest
) -> None:
    """Of two processes that insert one dataset, one gets a signal: no entry loses a shard."""
    server: S3Server | None = None
    if place == "S3":
        server = request.getfixturevalue("s3_server")
    signals, shards = (4, 20) if server is None else (2, 3)
    outcome = runs(signals, 1, server, shards=shards)
    assert outcome.lost == []
    assert outcome.entries >= 2 * signals
