"""Nothing secret reaches a record, by whatever way: refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import atdata
from atdata._refs import DATASET_COLLECTION, LENS_COLLECTION, SCHEMA_COLLECTION
from atdata._secrets import find_secret, redacted
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.lenses import Code
from atdata.dataset.dataset import Dataset
from atdata.errors import SecretUrlError
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.promote import plan_promotion, promote_to_atmosphere
from tests.promote.conftest import Feature

SECRET = "dGhlIHBhc3N3b3Jk"
HOSTS = "https://data.example.com"
URLS = [
    f"{HOSTS}/a.tar?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={SECRET}",
    f"{HOSTS}/a.tar?AWSAccessKeyId=AKIDEXAMPLE&Signature={SECRET}&Expires=1790000000",
    f"{HOSTS}/a.tar?X-Goog-Credential=me&X-Goog-Signature={SECRET}",
    f"{HOSTS}/a.tar?sv=2024-01-01&se=2027-01-01&sr=b&sp=r&sig={SECRET}",
    f"{HOSTS}/a.tar?Policy=x&Key-Pair-Id=K1&Signature={SECRET}",
    *(f"{HOSTS}/a.tar?{name}={SECRET}" for name in ("access_token", "token", "key", "apikey")),
    f"{HOSTS}/a.tar?x=1&AUTH={SECRET}",
    f"{HOSTS}/a.tar?t={SECRET}0123456789",
    f"{HOSTS}/a.tar#token={SECRET}",
    f"{HOSTS}/a.tar;jsessionid={SECRET}",
    f"{HOSTS}/a.tar%3Fsig%3D{SECRET}",
    f"https://{SECRET}@data.example.com/a.tar",
    f"https://bob:{SECRET}@data.example.com/a.tar",
    f"https://bob:with/slash{SECRET}@data.example.com/a.tar",
    f"s3://AKIDEXAMPLE:{SECRET}@bucket/a.tar",
    f"s3://bucket/a.tar?X-Amz-Security-Token={SECRET}",
    f"{HOSTS}/a.tar?from=https%3A%2F%2Fbob%3A{SECRET}%40other.example.com%2Fb.tar",
]
PLAIN = [
    f"{HOSTS}/a.tar?download=1",
    f"{HOSTS}/a.tar?versionId=3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY2",
    f"{HOSTS}/@team/a@1.0.0.tar#part",
    "s3://bucket/key=7/session=3/a@2x.tar",
    "gs://bucket/a.tar",
]
"""URLs that look a little like those above, and that anyone may have."""


def entry_of(entry: LocalDatasetEntry, *urls: str, **said: Any) -> LocalDatasetEntry:
    """What another index may say of a dataset."""
    return replace(entry, shards=tuple(ShardInfo(url) for url in urls), **said)


def nothing_written(client: AtmosphereClient) -> bool:
    """Whether the account has no record of ours at all."""
    kinds = (SCHEMA_COLLECTION, DATASET_COLLECTION, LENS_COLLECTION)
    return not any(list(client.list_records(client.did, kind)) for kind in kinds)


@pytest.mark.parametrize(
    "text",
    [
        *PLAIN,
        "ssh://git@git.example.com/team/code",
        "Write postgresql://user:password@host:port/database.",
        "at://did:plc:abcdefghijklmnopqrstuvwx/blob/bafkreia",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    """Which file is wanted, a user that all have, and an example are no secrets."""
    assert find_secret(text) is None


@pytest.mark.parametrize("url", URLS)
def test_a_secret_is_found_and_not_named(url: str) -> None:
    """A secret in any part of a URL is found, its kind named, and its text hidden."""
    found = find_secret(url)
    assert found is not None
    assert SECRET not in found + redacted(url)
    assert find_secret(f"Published from {url}, in 2026.")


def test_secret_urls_are_refused(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """Promotion, its plan and the network's own index refuse a URL that carries a secret, say
    what to do, and show nothing."""
    index = AtmosphereIndex(client)
    for url in URLS[0], URLS[-1], f"https://bob:{SECRET}@data.example.com/a.tar":
        secret = entry_of(entry, f"{HOSTS}/b.tar", url)
        dataset = Dataset.of(Feature, [f"{HOSTS}/b.tar", url])
        plan = plan_promotion(secret, local, client)
        ways: list[Callable[[], object]] = [
            plan.check,
            partial(promote_to_atmosphere, secret, local, client),
            partial(index.insert_dataset, dataset, name="vectors"),
        ]
        for way in ways:
            with pytest.raises(SecretUrlError, match="data_store=") as caught:
                way()
            assert "1 of 2" in str(caught.value)
            assert SECRET not in str(caught.value)
        assert SECRET not in f"{plan} {plan!r} {plan.to_dict()}"
    assert nothing_written(client)


def test_other_urls_are_published(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A query that says which file is wanted, or an @ in a name, is no secret."""
    uri = promote_to_atmosphere(entry_of(entry, *PLAIN), local, client)
    assert [shard.url for shard in AtmosphereIndex(client).get_dataset(uri).shards] == PLAIN


SAID: list[dict[str, Any]] = [
    {"endpoint": f"https://bob:{SECRET}@s3.example.com"},
    {"endpoint": f"https://s3.example.com/?token={SECRET}"},
    {"description": f"From https://data.example.com/?sig={SECRET}, 2026."},
    {"tags": (f"https://{SECRET}@example.com/",)},
    {"metadata": {"made": [{"from": f"https://bob:{SECRET}@example.com/a"}]}},
    {"metadata": {f"https://bob:{SECRET}@example.com/a": 1}},
]


def test_secrets_in_what_is_said_are_refused(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """Endpoint, description, tags and metadata are held to the same, wherever in them a URL is."""
    for said in SAID:
        kept = entry_of(entry, "s3://bucket/a.tar", **said)
        plan = plan_promotion(kept, local, client)
        for way in (plan.check, partial(promote_to_atmosphere, kept, local, client)):
            with pytest.raises(SecretUrlError) as caught:
                way()
            assert SECRET not in str(caught.value)
    assert nothing_written(client)


def test_copies_are_published(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """What the message says to do works: shards are read with their secret and copied."""
    plan = plan_promotion(entry_of(entry, URLS[0]), local, client, data_store=PDSBlobStore(client))
    assert plan.ok
    assert SECRET not in str(plan)


def test_secrets_in_schemas_and_lenses_are_refused(client: AtmosphereClient) -> None:
    """What a schema or a lens says has no secret either; nothing is half published."""
    index = AtmosphereIndex(client)
    with pytest.raises(SecretUrlError):
        index.publish_schema(Feature, metadata={"see": f"https://example.com/?key={SECRET}"})

    @atdata.lens
    def same(feature: Feature) -> Feature:
        return feature

    code = Code(f"https://{SECRET}@git.example.com/team/code", "abc123", "lens.py")
    with pytest.raises(SecretUrlError) as caught:
        index.publish_lens(same, getter=code, putter=code)
    assert SECRET not in str(caught.value)
    assert nothing_written(client)
