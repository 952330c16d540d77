"""A local dataset is published once, completely, with its description."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata import Dataset, load_dataset
from atdata._digest import sha256_of
from atdata._refs import (
    ALT_DATASET_COLLECTION,
    ALT_SCHEMA_COLLECTION,
    DATASET_COLLECTION,
    SCHEMA_COLLECTION,
)
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.errors import (
    AtmosphereError,
    AuthenticationError,
    BucketNotFoundError,
    DatasetNameError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    PrivateUrlError,
    SchemaConflictError,
    SchemaError,
    SchemaNotFoundError,
)
from atdata.local import DiskDataStore, LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.promote import plan_promotion, promote_to_atmosphere
from atdata.testing.network import Account, Network
from tests.promote.conftest import Feature, features
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")


@atdata.packable
class Pair:
    """A sample with another inside."""

    feature: Feature
    number: int


def records(client: AtmosphereClient, collection: str) -> list[Any]:
    return list(client.list_records(client.did, collection))


def counts(client: AtmosphereClient) -> tuple[int, int]:
    """Schema records and dataset records of the account."""
    return tuple(len(records(client, c)) for c in (SCHEMA_COLLECTION, DATASET_COLLECTION))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["s3", "blobs"])
def test_a_promoted_dataset_reads_back(
    kind: str,
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
) -> None:
    """Opened by AT URI without login, a promoted dataset yields the same samples, in order."""
    target = store if kind == "s3" else PDSBlobStore(client)
    uri = promote_to_atmosphere(entry, local, client, data_store=target)
    assert isinstance(uri, str)
    assert uri.startswith(f"at://{client.did}/{DATASET_COLLECTION}/")
    found = load_dataset(uri, split="train")
    assert [(s.features.tolist(), s.label) for s in found] == [
        (s.features.tolist(), s.label) for s in features(20)
    ]
    assert len(found) == 20
    assert len(found.shard_list) == 7


def test_what_was_said_travels(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """Description, tags, licence, metadata, sizes and hashes of the entry are in the record."""
    uri = promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    found = published.get_dataset(uri)
    assert (found.name, found.description, found.license) == ("vectors", "Twenty vectors", "MIT")
    assert found.tags == ("a", "b")
    assert found.metadata == {"mean": 0.5, "raw": b"\x00"}
    assert [s.sha256 for s in found.shards] == [s.sha256 for s in entry.shards]
    assert [s.samples for s in found.shards] == [3, 3, 3, 3, 3, 3, 2]
    assert len(found.data_urls) == 1
    assert [s.label for s in Dataset[Feature](found.data_urls[0])] == [
        s.label for s in features(20)
    ]


@pytest.mark.parametrize("way", ["url", "urls", "sent to a worker"])
def test_a_url_alone_is_held_against_the_hashes(
    way: str,
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
    s3_server: S3Server,
) -> None:
    """Opened by `data_urls` of its entry alone, a shard that was replaced is an error."""
    found = published.get_dataset(
        promote_to_atmosphere(entry, local, client, data_store=store, name="others")
    )
    dataset = Dataset[Feature](found.data_urls if way == "urls" else found.data_urls[0])
    if way == "sent to a worker":
        dataset = pickle.loads(pickle.dumps(dataset))
    assert len(list(dataset)) == 20
    bucket, _, key = found.shards[3].url.removeprefix("s3://").partition("/")
    s3 = s3_server.client()
    body = bytearray(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    body[700] ^= 1
    s3.put_object(Bucket=bucket, Key=key, Body=bytes(body))
    with pytest.raises(IntegrityError):
        list(dataset)


def test_arguments_win(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """Name, description, tags, licence and metadata given to the promotion replace the entry's."""
    uri = promote_to_atmosphere(
        entry,
        local,
        client,
        name="vectors-v2",
        description="others",
        tags=["c"],
        license="CC-BY-4.0",
        metadata={"k": 1},
        data_store=PDSBlobStore(client),
    )
    found = published.get_dataset(uri)
    assert (found.name, found.description, found.license) == ("vectors-v2", "others", "CC-BY-4.0")
    assert (found.tags, found.metadata) == (("c",), {"k": 1})
    assert published.get_dataset("vectors-v2").uri == uri


def test_promoted_twice_is_promoted_once(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """The second promotion returns the first's URI; one schema record and one dataset record."""
    first = promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    revision = records(client, DATASET_COLLECTION)[0].cid
    assert promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client)) == first
    assert counts(client) == (1, 1)
    assert records(client, DATASET_COLLECTION)[0].cid == revision


def test_promoted_again_keeps_what_was_said(
    client: AtmosphereClient, published: AtmosphereIndex, local: LocalIndex, tmp_path: Path
) -> None:
    """Tags and all else that an earlier promotion said stay, where entry and caller say nothing."""
    silent = local.insert_dataset(
        atdata.write_samples(features(2), tmp_path / "silent.tar"), name="silent"
    )
    said = {"description": "d", "tags": ["a"], "license": "MIT", "metadata": {"k": 1}}
    blobs = PDSBlobStore(client)
    uri = promote_to_atmosphere(silent, local, client, data_store=blobs, **said)  # type: ignore[arg-type]
    assert plan_promotion(silent, local, client, data_store=blobs).record == "unchanged"
    assert promote_to_atmosphere(silent, local, client, data_store=blobs) == uri
    found = published.get_dataset(uri)
    assert (found.description, found.tags, found.license) == ("d", ("a",), "MIT")
    assert found.metadata == {"k": 1}
    assert promote_to_atmosphere(silent, local, client, data_store=blobs, tags=[]) == uri
    assert published.get_dataset(uri).tags == ()


def test_what_is_none_of_its_arguments(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A name in place of an entry, or something else than an index, a client or a store, is an
    error that says how to get what is wanted."""
    for arguments, options, hint in (
        (("vectors", local, client), {}, r"index\.get_dataset\('vectors'\)"),
        ((entry, "index.db", client), {}, r"such as LocalIndex\(\)"),
        ((entry, local, "alice"), {}, "AtmosphereClient that is logged in"),
        ((entry, local, client), {"data_store": "s3://b"}, r"PDSBlobStore\(client\)"),
    ):
        for call in (promote_to_atmosphere, plan_promotion):
            with pytest.raises(OptionError, match=hint):
                call(*arguments, **options)  # type: ignore[arg-type]


def test_two_datasets_share_a_schema(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A second dataset with the same type and version reuses the schema's record."""
    other = local.insert_dataset(
        atdata.write_samples(features(2), tmp_path / "other.tar"), name="other"
    )
    blobs = PDSBlobStore(client)
    uris = {promote_to_atmosphere(e, local, client, data_store=blobs) for e in (entry, other)}
    assert len(uris) == 2
    assert counts(client) == (1, 2)


def test_a_decoded_schema_is_found_again(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A dataset copied to another index by its decoded type still finds the published schema."""
    blobs = PDSBlobStore(client)
    promote_to_atmosphere(entry, local, client, data_store=blobs)
    second = LocalIndex(tmp_path / "second.db", data_store=DiskDataStore(tmp_path / "second"))
    sample_type = local.decode_schema(entry.schema_ref)
    dataset = Dataset[sample_type](entry.data_urls[0])  # type: ignore[valid-type]
    copied = second.insert_dataset(
        dataset, name="vectors", schema_ref=second.publish_schema(sample_type)
    )
    promote_to_atmosphere(copied, second, client, data_store=blobs)
    assert counts(client)[0] == 1


def test_urls_stay_by_default(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    store: S3DataStore,
    tmp_path: Path,
    s3_server: S3Server,
) -> None:
    """Without a store the record names the shards where they are, with their endpoint."""
    index = LocalIndex(tmp_path / "i.db", data_store=store)
    dataset = atdata.write_samples(features(20), tmp_path / "f.tar", maxcount=6)
    entry = index.insert_dataset(dataset, name="vectors", prefix="here")
    with pytest.warns(UserWarning, match="this machine"):
        uri = promote_to_atmosphere(entry, index, client)
    found = published.get_dataset(uri)
    assert found.data_urls == entry.data_urls
    assert found.endpoint == s3_server.endpoint
    assert [s.label for s in load_dataset(uri, split="train")] == [s.label for s in features(20)]


def test_private_urls_are_refused_before_anything_is_written(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """Local paths are refused, since others cannot read them, and no schema is published."""
    with pytest.raises(PrivateUrlError, match=r"7 of 7 .*data_store="):
        promote_to_atmosphere(entry, local, client)
    with pytest.raises(PrivateUrlError, match="folder of this machine"):
        promote_to_atmosphere(entry, local, client, data_store=DiskDataStore(tmp_path / "x"))
    assert counts(client) == (0, 0)


def test_a_missing_schema_is_a_key_error(
    client: AtmosphereClient, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """An index without the entry's schema: KeyError, and nothing is written."""
    with pytest.raises(KeyError, match="Feature") as caught:
        promote_to_atmosphere(entry, LocalIndex(tmp_path / "empty.db"), client)
    assert isinstance(caught.value, SchemaNotFoundError)
    assert counts(client) == (0, 0)


class Bare:
    """An entry of a user's own index: the four members of the protocol and no more."""

    metadata: dict[str, Any] | None = None

    def __init__(self, name: str, schema_ref: str, data_urls: list[str]) -> None:
        self.name, self.schema_ref, self.data_urls = name, schema_ref, data_urls


def test_an_entry_without_urls_is_a_value_error(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """No data URLs: ValueError, and nothing is written."""
    with pytest.raises(ValueError, match="no data URLs") as caught:
        promote_to_atmosphere(Bare("x", entry.schema_ref, []), local, client)
    assert isinstance(caught.value, NoDataUrlsError)
    assert counts(client) == (0, 0)


def test_an_entry_of_ones_own_is_promoted(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """An entry with the protocol's members alone is promoted with every sample."""
    bare = Bare("bare", entry.schema_ref, [str(url) for url in entry.data_urls])
    uri = promote_to_atmosphere(bare, local, client, data_store=PDSBlobStore(client))
    assert [s.label for s in load_dataset(uri, split="train")] == [s.label for s in features(20)]


def test_without_login_nothing_happens(
    local: LocalIndex, entry: LocalDatasetEntry, at_home: Network
) -> None:
    """A client without a login is an error that says to log in."""
    with pytest.raises(AuthenticationError, match="login"):
        promote_to_atmosphere(entry, local, AtmosphereClient())


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", "a\u200b", "a@1.0.0"])
def test_bad_names_are_refused(
    name: str, client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A name that cannot be one is refused before anything is written."""
    with pytest.raises(DatasetNameError):
        promote_to_atmosphere(entry, local, client, name=name, data_store=PDSBlobStore(client))
    assert counts(client) == (0, 0)


def test_a_differing_schema_on_the_network_is_a_conflict(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """Data are never published under a schema that does not describe them."""
    schema = local.schema_of_ref(entry.schema_ref)
    other = atdata.Schema(schema.name, schema.version, schema.fields[:1])
    published.publish_schema(other)
    with pytest.raises(SchemaConflictError, match="label"):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert counts(client) == (1, 0)


def test_a_missing_bucket_is_found_before_the_schema_is_published(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, s3_server: S3Server
) -> None:
    """A store that cannot be written to is known before anything is."""
    nowhere = S3DataStore(credentials=s3_server.credentials(), bucket="no-such-bucket")
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        promote_to_atmosphere(entry, local, client, data_store=nowhere)
    assert counts(client) == (0, 0)


def test_a_shard_that_changed_is_not_published(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A shard without the hash that the index recorded stops the promotion; no record is left."""
    shard = Path(entry.shards[4].url)
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IntegrityError, match=shard.name):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert counts(client)[1] == 0


class MemoryStore:
    """A store of a user's own with the protocol's three members alone."""

    def __init__(self, inner: S3DataStore) -> None:
        self._inner = inner

    def write_shards(self, ds: Any, *, prefix: str, **kwargs: Any) -> list[str]:
        return list(self._inner.write_shards(ds, prefix=prefix, **kwargs))

    def read_url(self, url: str) -> str:
        return self._inner.read_url(url)

    def supports_streaming(self) -> bool:
        return True


def test_a_store_of_ones_own_is_enough(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, store: S3DataStore
) -> None:
    """A data store with the protocol's members alone gets every sample."""
    uri = promote_to_atmosphere(entry, local, client, data_store=MemoryStore(store))
    assert [s.label for s in load_dataset(uri, split="train")] == [s.label for s in features(20)]


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("ignore")
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex, S3DataStore
from atdata.promote import plan_promotion, promote_to_atmosphere

index = LocalIndex(os.environ["INDEX"])
client = AtmosphereClient()
client.login_with_session(os.environ["SESSION"])
store = PDSBlobStore(client)
if os.environ["STORE"] == "s3":
    store = S3DataStore(credentials=dict(os.environ), bucket=os.environ["BUCKET"])
print("ready", flush=True)
sys.stdin.readline()
print(promote_to_atmosphere(index.get_dataset("vectors"), index, client, data_store=store))
"""


@pytest.fixture
def start(
    account: Account, tmp_path: Path, s3_server: S3Server, s3_bucket: str
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that promotes the entry when it gets a line, through the given proxies."""
    running: list[subprocess.Popen[str]] = []

    def run(store: str, pds: str, s3: str) -> subprocess.Popen[str]:
        client = AtmosphereClient(pds)
        client.login(account.handle, account.password)
        environment = {
            **os.environ,
            **s3_server.credentials(),
            "AWS_ENDPOINT": s3,
            "BUCKET": s3_bucket,
            "STORE": store,
            "INDEX": str(tmp_path / "index.db"),
            "SESSION": client.session_string,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError(process.communicate()[1])
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["s3", "blobs"])
def test_two_processes_at_once_make_one_record(
    kind: str,
    start: Callable[..., subprocess.Popen[str]],
    client: AtmosphereClient,
    entry: LocalDatasetEntry,
    at_home: Network,
    s3_server: S3Server,
) -> None:
    """Four processes that promote the same entry at once print one URI; one schema, one record."""
    home = at_home.servers[0].url
    processes = [start(kind, home, s3_server.endpoint) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 1
    assert counts(client) == (1, 1)


@pytest.mark.parametrize("kind", ["s3", "blobs"])
def test_killed_anywhere_and_run_again_it_is_whole(
    kind: str,
    start: Callable[..., subprocess.Popen[str]],
    client: AtmosphereClient,
    published: AtmosphereIndex,
    entry: LocalDatasetEntry,
    at_home: Network,
    s3_server: S3Server,
    proxy_to: Callable[[str], FaultProxy],
    store: S3DataStore,
) -> None:
    """Killed at ten moments and run again: one schema, one record, every shard whole."""
    pds, s3 = proxy_to(at_home.servers[0].url), proxy_to(s3_server.endpoint)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for kill in range(10):
        # Pause before a random request of this run, kill there, and let it go.
        process = start(kind, pds.url, s3.url)
        proxy = s3 if kind == "s3" and kill % 2 else pds
        pause = proxy.pause(skip=chance.randrange(12))
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        while not pause.arrived(0.05) and process.poll() is None:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        proxy.clear()
        assert counts(client)[1] <= 1, f"seed {seed}"
    process = start(kind, pds.url, s3.url)
    out, error = process.communicate("go\n")
    assert process.returncode == 0, error
    assert counts(client) == (1, 1), f"seed {seed}"
    found = published.get_dataset(out.strip())
    # The proxy that the record names is a part of the test; this process knows the bucket.
    found = replace(found, endpoint=store.endpoint if kind == "s3" else None)
    dataset = Dataset.of(Feature, found)
    for shard, original in zip(found.shards, entry.shards, strict=True):
        with dataset.source.open_shard(shard.url) as stream:
            assert sha256_of(stream) == (original.sha256, original.bytes)
    assert [s.label for s in dataset] == [s.label for s in features(20)]


def test_what_was_sent_is_not_sent_again(
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    at_home: Network,
    account: Account,
    proxy_to: Callable[[str], FaultProxy],
) -> None:
    """After a server that fails at the record, the second run sends no shard again."""
    proxy = proxy_to(at_home.servers[0].url)
    through = AtmosphereClient(proxy.url)
    through.login(account.handle, account.password)
    proxy.answer(500, times=None, match="putRecord|createRecord|applyWrites")
    with pytest.raises(AtmosphereError):
        promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    proxy.clear()
    sent = [r for r in proxy.requests if "uploadBlob" in r.path]
    promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    again = [r for r in proxy.requests if "uploadBlob" in r.path]
    assert counts(client) == (1, 1)
    assert len(again) <= len(entry.shards)
    assert len(again) - len(sent) <= len(entry.shards) - len(sent)


@pytest.mark.parametrize("kind", ["s3", "blobs"])
def test_the_newer_family_is_written(
    kind: str,
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
) -> None:
    """Asked for, schema and dataset are records of the newer family, once, and read back."""
    target = store if kind == "s3" else PDSBlobStore(client)
    arguments: dict[str, Any] = {"data_store": target, "family": "science.alt.dataset"}
    plan = plan_promotion(entry, local, client, **arguments)
    uri = promote_to_atmosphere(entry, local, client, **arguments)
    assert (plan.ok, plan.uri) == (True, uri)
    assert promote_to_atmosphere(entry, local, client, **arguments) == uri
    assert counts(client) == (0, 0)
    assert len(records(client, ALT_SCHEMA_COLLECTION)) == 1
    assert len(records(client, ALT_DATASET_COLLECTION)) == 1
    found = published.get_dataset("vectors")
    assert (found.uri, found.license, found.tags) == (uri, "MIT", ("a", "b"))
    assert [s.sha256 for s in found.shards] == [s.sha256 for s in entry.shards]
    assert [s.label for s in load_dataset(uri, split="train")] == [s.label for s in features(20)]
    assert plan_promotion(entry, local, client, **arguments).record == "unchanged"


def test_what_the_newer_family_cannot_say_is_refused(
    client: AtmosphereClient, tmp_path: Path
) -> None:
    """A nested sample has no JSON Schema there: refused before anything is written."""
    local = LocalIndex(tmp_path / "i.db")
    samples = [Pair(Feature(np.zeros(8, np.float32), n), n) for n in range(3)]
    entry = local.insert_dataset(
        atdata.write_samples(samples, tmp_path / "pairs.tar"), name="pairs"
    )
    with pytest.raises(SchemaError, match="'feature'"):
        promote_to_atmosphere(
            entry,
            local,
            client,
            data_store=PDSBlobStore(client),
            family="science.alt.dataset",
        )
    assert records(client, ALT_SCHEMA_COLLECTION) == []
    uri = promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert [sample.number for sample in load_dataset(uri, split="train")] == [0, 1, 2]


def test_sources_are_pinned(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    tmp_path: Path,
) -> None:
    """A derived dataset's record names what it was made of, at the revision that it was then."""
    blobs = PDSBlobStore(client)
    origin = published.get_dataset(promote_to_atmosphere(entry, local, client, data_store=blobs))
    derived = local.insert_dataset(
        atdata.write_samples(features(3), tmp_path / "derived.tar"), name="derived"
    )
    uri = promote_to_atmosphere(derived, local, client, data_store=blobs, sources=[origin.uri])
    assert [(s.uri, s.cid) for s in published.get_dataset(uri).sources] == [
        (origin.uri, origin.cid)
    ]
    # The origin changes; the derived dataset still names what it was made of.
    promote_to_atmosphere(entry, local, client, data_store=blobs, description="Changed")
    assert promote_to_atmosphere(derived, local, client, data_store=blobs) == uri
    assert published.get_dataset(uri).sources[0].cid == origin.cid
