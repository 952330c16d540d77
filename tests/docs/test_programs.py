"""The programs of the specification, typed in as they stand, on real services."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata._shardlist import expand_braces
from atdata.local import LocalIndex, S3DataStore
from atdata.testing.network import Account, Network
from tests.docs.running import run
from tests.services.s3 import S3Server

PROGRAMS = Path(__file__).parent / "programs"


class Feature(atdata.PackableSample):
    """A sample with an array."""

    features: NDArray[np.float32]
    label: int


def features(number: int) -> list[Feature]:
    """Samples that are all different."""
    random = np.random.default_rng(number)
    return [Feature(random.normal(size=16).astype(np.float32), i) for i in range(number)]


@pytest.fixture
def account(network: Network) -> Account:
    """An account of this test alone."""
    return network.create_account()


@pytest.fixture
def on_network(network: Network, account: Account) -> dict[str, str]:
    """Environment with the network and a login."""
    return {
        **network.environment(),
        "ATDATA_ALLOW_PRIVATE": "1",
        "TEST_HANDLE": account.handle,
        "TEST_PASSWORD": account.password,
    }


@pytest.fixture
def on_s3(s3_server: S3Server, s3_bucket: str) -> dict[str, str]:
    """Environment with the S3 server; the names are ours, so that nothing else finds them."""
    return {
        "TEST_S3_ENDPOINT": s3_server.endpoint,
        "TEST_S3_KEY": s3_server.access_key,
        "TEST_S3_SECRET": s3_server.secret_key,
        "TEST_S3_BUCKET": s3_bucket,
    }


def fingerprints(where: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """The hash of every sample, read by another process."""
    done = run(PROGRAMS / "fingerprints.py", folder, environment, where)
    return done.stdout.split()


def aws(s3_server: S3Server) -> dict[str, str]:
    """The standard AWS variables, with which a reader gets to the same server."""
    return {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }


def published(output: str, said: str) -> str:
    """The AT URI that a program printed after these words."""
    found = re.search(rf"{said} (at://\S+)", output)
    assert found, output
    return found[1]


def test_the_complete_promotion_workflow(
    tmp_path: Path,
    redis_url: str,
    s3_server: S3Server,
    on_s3: dict[str, str],
    on_network: dict[str, str],
) -> None:
    """The documented workflow runs unchanged, and another user reads all 1,000 samples."""
    environment = {"ATDATA_INDEX": redis_url, **on_s3, **on_network}
    done = run(PROGRAMS / "promotion_workflow.py", tmp_path, environment)
    assert "Name: feature-vectors-v1" in done.stdout
    uri = published(done.stdout, "Dataset published:")
    written = fingerprints("features.tar", tmp_path, {})
    typed = fingerprints(uri, tmp_path, {**on_network, **aws(s3_server)})
    assert len(set(typed)) == 1000
    assert len(written) == 1000
    assert typed == fingerprints(
        "@local/feature-vectors-v1", tmp_path, {**environment, **aws(s3_server)}
    )


@pytest.mark.parametrize("shards", [7])
def test_backup_from_redis_to_sqlite_to_the_network(
    tmp_path: Path,
    redis_url: str,
    s3_server: S3Server,
    s3_bucket: str,
    account: Account,
    on_network: dict[str, str],
    shards: int,
) -> None:
    """backup_all_datasets moves every sample of every shard, from any index to any other."""
    store = S3DataStore(s3_server.credentials(), bucket=s3_bucket)
    index = LocalIndex(redis_url, data_store=store)
    made = atdata.write_samples(features(shards * 10), tmp_path / "made.tar", maxcount=10)
    entry = index.insert_dataset(made, name="features")
    assert len(entry.shards) == shards

    environment = {"ATDATA_INDEX": redis_url, **aws(s3_server), **on_network}
    run(PROGRAMS / "backup.py", tmp_path, environment)

    original = fingerprints(str(tmp_path / "made-*.tar"), tmp_path, {})
    assert len(set(original)) == shards * 10
    local = {"ATDATA_INDEX": str(tmp_path / "backup.db")}
    expected = [sample.packed for sample in made]
    assert [
        s.packed
        for s in atdata.load_dataset(
            "@local/features", Feature, split="train", index=LocalIndex(tmp_path / "backup.db")
        )
    ] == expected
    typed = fingerprints("@local/features", tmp_path, local)
    assert fingerprints(f"@{account.handle}/features", tmp_path, on_network) == typed
    assert len(typed) == shards * 10


def test_migrate_to_the_network(
    tmp_path: Path,
    redis_url: str,
    s3_server: S3Server,
    s3_bucket: str,
    account: Account,
    on_network: dict[str, str],
) -> None:
    """The complete example migrates a dataset by its URLs, and it reads back from the network."""
    store = S3DataStore(s3_server.credentials(), bucket=s3_bucket)
    index = LocalIndex(redis_url, data_store=store)
    made = atdata.write_samples(features(30), tmp_path / "made.tar", maxcount=10)
    index.insert_dataset(made, name="my-features")

    environment = {"ATDATA_INDEX": redis_url, **aws(s3_server), **on_network}
    done = run(PROGRAMS / "migrate.py", tmp_path, environment)
    assert done.stdout.split("\n")[:2] == ["Local datasets: 1", "Atmosphere datasets: 0"]

    there = f"@{account.handle}/my-features"
    typed = fingerprints(there, tmp_path, {**on_network, **aws(s3_server)})
    assert typed == fingerprints("@local/my-features", tmp_path, environment)
    assert len(set(typed)) == 30


def test_the_steps_of_promotion(
    tmp_path: Path,
    s3_server: S3Server,
    s3_bucket: str,
    on_s3: dict[str, str],
    on_network: dict[str, str],
) -> None:
    """Promoting by URL, with metadata, twice, and with a copy: each program does what it says."""
    from_bucket = f"{s3_bucket}-old"
    s3_server.client().create_bucket(Bucket=from_bucket)
    store = S3DataStore(s3_server.credentials(), bucket=from_bucket)
    index = LocalIndex(tmp_path / "index.db", data_store=store)
    for number, name in enumerate(("my-dataset", "my-other-dataset"), 3):
        made = atdata.write_samples(features(number), tmp_path / f"{name}.tar")
        index.insert_dataset(made, name=name)
    lines = "".join(f"{name}={value}\n" for name, value in s3_server.credentials().items())
    (tmp_path / "new-s3-creds.env").write_text(lines)

    environment = {**on_s3, **on_network, **aws(s3_server)}
    done = run(PROGRAMS / "promotion_steps.py", tmp_path, environment)
    first, copied = published(done.stdout, "Published:"), published(done.stdout, "Copied:")
    assert first == copied, "the same dataset, at another place"
    listed = run_ls(tmp_path, environment, on_network["TEST_HANDLE"])
    assert {entry["name"] for entry in listed} == {
        "my-dataset",
        "my-dataset-v2",
        "my-other-dataset",
    }
    assert len({entry["schema_ref"] for entry in listed}) == 1, "one schema for all of them"
    renamed = next(entry for entry in listed if entry["name"] == "my-dataset-v2")
    assert renamed["tags"] == ["images", "training"]
    assert renamed["license"] == "MIT"


def run_ls(folder: Path, environment: dict[str, str], account: str) -> list[dict[str, object]]:
    """What an account has published, by the command line."""
    import atdata.__main__ as command

    arguments = ("ls", "--json", "--network", account)
    done = run(Path(command.__file__), folder, environment, *arguments)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_custom_source(tmp_path: Path) -> None:
    """A class with the three members of DataSource works with Dataset."""

    @atdata.packable
    class MySample:
        text: str
        label: int

    for shard in (1, 2):
        samples = [MySample(text="sample", label=shard * 10 + i) for i in range(3)]
        atdata.write_samples(samples, tmp_path / f"shard-{shard:03d}.tar")
    done = run(PROGRAMS / "custom_source.py", tmp_path, {"TEST_FOLDER": str(tmp_path)})
    assert "Reading shard-002.tar" in done.stdout
    assert re.findall(r"Sample: sample (\d+)", done.stdout) == ["10", "11", "12", "20", "21", "22"]


def test_every_operation_of_the_protocols(
    tmp_path: Path, redis_url: str, on_s3: dict[str, str]
) -> None:
    """Every snippet about indexes, stores and sources runs on Redis and S3."""
    environment = {"ATDATA_INDEX": redis_url, **on_s3}
    done = run(PROGRAMS / "operations.py", tmp_path, environment)
    assert "my-dataset: atdata://local/sampleSchema/MySample@1.0.0" in done.stdout
    assert f"s3://{on_s3['TEST_S3_BUCKET']}/datasets/v1" in done.stdout
    assert expand_braces("a") == ["a"]
