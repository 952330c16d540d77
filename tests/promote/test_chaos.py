"""A small run of the chaos; the large one is ``python -m tests.promote.chaos``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from atdata.testing.network import Account, Network
from tests.promote.chaos import Place, run
from tests.services.s3 import S3Server


@pytest.mark.filterwarnings("ignore:.*is on this machine")
def test_promises_are_kept_in_chaos(
    at_home: Network,
    account: Account,
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed, cut, delayed and refused at random, promotions end whole, once, and sent once."""
    monkeypatch.delenv("ATDATA_PDS_URL")
    seed = random.randrange(2**32)
    place = Place(
        account.server_url, account.handle, account.password, s3_server, s3_bucket, tmp_path
    )
    counts = run(place, promotions=6, shards=4, seed=seed, workers=2)
    assert counts.kept, f"seed {seed}\n{counts}"
