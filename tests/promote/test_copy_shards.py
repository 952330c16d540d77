"""Copies: nothing is sent twice, and every failure is retried or reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import load_dataset
from atdata._refs import DATASET_COLLECTION
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.atmosphere.blobs import place_of
from atdata.errors import AtmosphereError, OptionError, RateLimitError, StoreError
from atdata.local import LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.promote import plan_promotion, promote_to_atmosphere
from atdata.testing.network import Account, Network
from tests.promote.conftest import Feature, features
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.stores.journal import sent

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")
ProxyTo = Callable[[str], FaultProxy]


@pytest.fixture
def pds(at_home: Network, proxy_to: ProxyTo) -> FaultProxy:
    """A proxy in front of the account's server."""
    return proxy_to(at_home.servers[0].url)


@pytest.fixture
def through(pds: FaultProxy, account: Account) -> AtmosphereClient:
    """A client that is logged in through the proxy."""
    client = AtmosphereClient(pds.url)
    client.login(account.handle, account.password)
    return client


def uploads(proxy: FaultProxy) -> int:
    return sum("uploadBlob" in request.path for request in proxy.requests)


def labels(uri: str) -> list[int]:
    return [sample.label for sample in load_dataset(uri, split="train")]


EXPECTED = [sample.label for sample in features(20)]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_waited_for(
    status: int,
    through: AtmosphereClient,
    pds: FaultProxy,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """A server that is busy for a while is asked again, and the promotion goes through."""
    pds.answer(status, times=2, match="uploadBlob", headers={"Retry-After": "0"})
    pds.answer(status, times=2, match="putRecord", headers={"Retry-After": "0"})
    uri = promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    assert labels(uri) == EXPECTED


def test_an_expired_token_is_renewed(
    through: AtmosphereClient, pds: FaultProxy, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A token that the server calls expired in the middle of the uploads is exchanged."""
    body = b'{"error":"ExpiredToken","message":"Token has expired"}'
    pds.answer(400, match="uploadBlob", body=body)
    pds.answer(400, match="putRecord", body=body)
    uri = promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    assert labels(uri) == EXPECTED


def test_longer_limits_are_told(
    account: Account, pds: FaultProxy, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A wait beyond the client's patience is an error that says so; the next run resumes."""
    client = AtmosphereClient(pds.url, patience=10)
    client.login(account.handle, account.password)
    pds.answer(429, match="putRecord.*", times=1, headers={"Retry-After": "3000"})
    with pytest.raises(RateLimitError, match="3,000 seconds"):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    pds.clear()
    sent = uploads(pds)
    promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert uploads(pds) == max(sent, len(entry.shards))


def test_a_lost_network_loses_no_work(
    through: AtmosphereClient,
    client: AtmosphereClient,
    pds: FaultProxy,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """Without a network there is an error and no record; with it, only the rest is sent."""
    done = threading.Semaphore(0)

    def lose(_: int) -> None:
        if len(sent(place_of(through))) >= 2:
            pds.refuse()
        done.release()

    with pytest.raises(AtmosphereError, match="does not answer"):
        promote_to_atmosphere(
            entry, local, through, data_store=PDSBlobStore(through), progress=lose
        )
    assert list(client.list_records(client.did, DATASET_COLLECTION)) == []
    there = len(sent(place_of(through)))
    pds.clear()
    plan = plan_promotion(entry, local, through, data_store=PDSBlobStore(through))
    assert plan.shards_to_copy == 7 - there
    before = uploads(pds)
    uri = promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    # What arrived, though the answer was lost, is not sent either.
    assert uploads(pds) - before <= 7 - there
    assert labels(uri) == EXPECTED


DIES = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere

class Dying(AtmosphereClient):
    left = int(os.environ["UPLOADS"])

    def upload_blob(self, *arguments, **options):
        answer = super().upload_blob(*arguments, **options)
        Dying.left -= 1
        if not Dying.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

index = LocalIndex(os.environ["INDEX"])
client = Dying()
client.login_with_session(os.environ["SESSION"])
promote_to_atmosphere(index.get_dataset("odd"), index, client, data_store=PDSBlobStore(client))
"""


@pytest.mark.parametrize("acknowledged", [1, 5, 10])
def test_killed_before_it_is_noted(
    acknowledged: int,
    through: AtmosphereClient,
    pds: FaultProxy,
    odd: LocalDatasetEntry,
    tmp_path: Path,
) -> None:
    """Killed between a server's answer and the note of it: the next run does not send it again."""
    environment = {
        **os.environ,
        "INDEX": str(tmp_path / "odd.db"),
        "SESSION": through.session_string,
        "UPLOADS": str(acknowledged),
    }
    run = subprocess.run([sys.executable, "-c", DIES], env=environment, check=False)
    assert run.returncode == -signal.SIGKILL
    index = LocalIndex(tmp_path / "odd.db")
    uri = promote_to_atmosphere(odd, index, through, data_store=PDSBlobStore(through))
    assert [sample.label for sample in load_dataset(uri, split="train")] == list(range(10))
    sent = Counter(one.sha256 for one in pds.acknowledged)
    assert max(sent[shard.sha256 or ""] for shard in odd.shards) == 1


def test_a_full_bucket_is_told(
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    s3_server: S3Server,
    s3_bucket: str,
    proxy_to: ProxyTo,
) -> None:
    """A bucket without room is a StoreError with the server's words; no record is left."""
    proxy = proxy_to(s3_server.endpoint)
    credentials = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    store = S3DataStore(credentials=credentials, bucket=s3_bucket)
    body = b"<Error><Code>QuotaExceeded</Code><Message>No room</Message></Error>"
    proxy.answer(507, times=None, match=r"PUT .*\.tar", body=body)
    with pytest.raises(StoreError, match=r"507|QuotaExceeded"):
        promote_to_atmosphere(entry, local, client, data_store=store)
    assert list(client.list_records(client.did, DATASET_COLLECTION)) == []
    proxy.clear()
    uri = promote_to_atmosphere(entry, local, client, data_store=store)
    assert labels(uri) == EXPECTED
    noted = sent(_place(proxy, s3_bucket, uri, client))
    assert sorted(noted) == sorted(shard.sha256 or "" for shard in entry.shards)


def _place(proxy: FaultProxy, bucket: str, uri: str, client: AtmosphereClient) -> str:
    value = client.get_record(uri).value
    folder = value["storage"]["urls"][0].removeprefix(f"s3://{bucket}/").rpartition("/")[0]
    return f"{proxy.url} s3://{bucket}/{folder}/"


def test_a_bucket_copies_for_itself(
    client: AtmosphereClient,
    store: S3DataStore,
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
    proxy_to: ProxyTo,
) -> None:
    """Within one server nothing is downloaded or sent: the server copies, hashes included."""
    proxy = proxy_to(s3_server.endpoint)
    credentials = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    source = S3DataStore(credentials=credentials, bucket=s3_bucket)
    index = LocalIndex(tmp_path / "i.db", data_store=source)
    dataset = atdata.write_samples(features(20), tmp_path / "f.tar", maxcount=6)
    entry = index.insert_dataset(dataset, name="vectors", prefix="here")
    other = f"{s3_bucket}-public"
    s3_server.client().create_bucket(Bucket=other)
    target = S3DataStore(credentials=credentials, bucket=other)
    before = len(proxy.requests)
    uri = promote_to_atmosphere(entry, index, client, data_store=target)
    asked = [str(request) for request in proxy.requests[before:]]
    assert not [line for line in asked if line.startswith("GET ") and line.endswith(".tar")]
    assert sum(line.startswith("PUT ") and line.endswith(".tar") for line in asked) == 4
    assert labels(uri) == EXPECTED
    # Again: nothing is copied.
    before = len(proxy.requests)
    assert promote_to_atmosphere(entry, index, client, data_store=target) == uri
    assert not [r for r in proxy.requests[before:] if r.method == "PUT"]


def test_large_shards_are_split(
    client: AtmosphereClient, pds: FaultProxy, through: AtmosphereClient, tmp_path: Path
) -> None:
    """Split, a shard over the server's limit arrives as several, with every sample in order."""
    samples = [
        Feature(value.features.repeat(2**15 if n < 8 else 1), value.label)
        for n, value in enumerate(features(20))
    ]
    local = LocalIndex(tmp_path / "i.db")
    dataset = atdata.write_samples(samples, tmp_path / "large.tar", maxcount=10)
    entry = local.insert_dataset(dataset, name="large")
    blobs = PDSBlobStore(through)
    plan = plan_promotion(entry, local, through, data_store=blobs, oversize="split")
    assert (plan.ok, plan.shards, plan.shards_to_split) == (True, 2, 1)
    uri = promote_to_atmosphere(entry, local, through, data_store=blobs, oversize="split")
    found = load_dataset(uri, split="train")
    assert len(found.shard_list) == 3
    assert [s.features.tolist() for s in found] == [s.features.tolist() for s in samples]
    sent = uploads(pds)
    assert promote_to_atmosphere(entry, local, through, data_store=blobs, oversize="split") == uri
    assert uploads(pds) == sent
    for description in (None, "Some are large"):
        said: dict[str, Any] = {
            "data_store": blobs,
            "oversize": "split",
            "description": description,
        }
        plan = plan_promotion(entry, local, through, **said)
        assert (plan.shards_to_copy, plan.bytes_to_copy, plan.uploads) == (0, 0, 0)
        assert plan.shards_to_split == 0
        assert plan.record == ("unchanged" if description is None else "update")
        assert promote_to_atmosphere(entry, local, through, **said) == uri
        assert uploads(pds) == sent
    with pytest.raises(OptionError, match="oversize"):
        plan_promotion(entry, local, client, oversize="shrink")  # type: ignore[arg-type]


def test_progress_adds_up(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """Progress reaches the size of the dataset: of bytes copied, and of those there already."""
    size = sum(shard.bytes or 0 for shard in entry.shards)
    for _ in range(2):
        seen: list[int] = []
        promote_to_atmosphere(
            entry, local, client, data_store=PDSBlobStore(client), progress=seen.append
        )
        assert sum(seen) == size


class Forgetful(S3DataStore):
    """A bucket whose answer lacks the last shard."""

    def copy_shards(self, *arguments: Any, **options: Any) -> Any:
        """Copy all."""
        return super().copy_shards(*arguments, **options)[:-1]


class Writing:
    """A store that cannot copy, and whose answer lacks the last shard that it wrote."""

    def __init__(self, store: S3DataStore) -> None:
        self._store = store

    def write_shards(self, ds: Any, **placing: Any) -> Any:
        """Write all."""
        written = self._store.write_shards(ds, prefix=placing["prefix"], maxcount=6)
        return atdata.ShardUrls(written.shards[:-1])

    def read_url(self, url: str) -> str:
        """The same."""
        return url

    def supports_streaming(self) -> bool:
        """It does."""
        return True


@pytest.mark.parametrize("copies", [True, False])
def test_a_part_of_a_dataset_is_not_published(
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    s3_server: S3Server,
    s3_bucket: str,
    copies: bool,
) -> None:
    """A store that returns fewer shards than it was given is an error, and no record."""
    bucket = Forgetful(s3_server.credentials(), bucket=s3_bucket)
    with pytest.raises(StoreError, match="not recorded or published"):
        promote_to_atmosphere(
            entry, local, client, data_store=bucket if copies else Writing(bucket)
        )
    assert not list(client.list_records(client.did, DATASET_COLLECTION))
