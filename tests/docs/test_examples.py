"""Every program in examples/ runs as a user would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.testing.network import Network
from tests.docs.running import run
from tests.services.s3 import S3Server

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_page_lists_every_example() -> None:
    """examples/README.md has a line for each program."""
    page = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f"({path.name})" not in page] == []


def test_write_and_read(tmp_path: Path) -> None:
    """Samples are found by position and in batches, each where it was written."""
    done = run(EXAMPLES / "write_and_read.py", tmp_path, {})
    assert "sentence 900 to sentence 999" in done.stdout
    assert "sample 617 says 'sentence 617', the last one 'sentence 999'" in done.stdout


def test_evolve_a_schema(tmp_path: Path) -> None:
    """Old data are read with a default and through a lens; what does not fit is an error."""
    done = run(EXAMPLES / "evolve_a_schema.py", tmp_path, {})
    assert "celsius=20.0, calibration=None" in done.stdout
    assert "$.kelvin: expected float" in done.stdout
    assert "Reading@1.0.0 are readable as Reading@1.1.0." in done.stdout
    assert "Reading@1.1.0 are not readable as Reading@2.0.0." in done.stdout
    assert "kelvin=293.15" in done.stdout
    assert done.stdout.endswith("Reading@1.0.0\n" + _REF.format("1.1.0") + _REF.format("2.0.0"))


_REF = "atdata://local/sampleSchema/Reading@{}\n"


@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
def test_team_index(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Two datasets are found, and a label keeps the revision that was replaced."""
    url = "index.db" if place == "sqlite" else request.getfixturevalue(f"{place}_url")
    done = run(EXAMPLES / "team_index.py", tmp_path, {}, url)
    assert "tiles-winter is at revision 2" in done.stdout
    assert "tiles-summer: atdata://local/sampleSchema/Tile@1.0.0, tags satellite\n" in done.stdout
    assert "@local/tiles-winter has 150 tiles, 15 of them clear" in done.stdout
    assert "@local/tiles-winter@1.0.0 has 100 tiles, 10 of them clear" in done.stdout


def test_own_bucket(tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> None:
    """Shards are written to the bucket, read from it, and copied there by an index."""
    environment = {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    done = run(EXAMPLES / "own_bucket.py", tmp_path, environment, s3_bucket)
    assert f"3 shards: s3://{s3_bucket}/patches" in done.stdout
    assert "patch 417 was cut at 272, 160" in done.stdout
    assert f"@local/patches is at s3://{s3_bucket}/" in done.stdout


def test_publish(tmp_path: Path, network: Network) -> None:
    """What is published is loaded back, each sentence as it was."""
    account = network.create_account()
    environment = {
        **network.environment(),
        "ATDATA_ALLOW_PRIVATE": "1",
        "ATDATA_HANDLE": account.handle,
        "ATDATA_PASSWORD": account.password,
    }
    done = run(EXAMPLES / "publish.py", tmp_path, environment)
    assert f"published as at://{account.did}/" in done.stdout
    assert done.stdout.endswith("good morning → godmorgen\nthank you → tak\n")
