"""Accounts with datasets are found by asking a relay or a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atmosphere.discover import accounts
from atdata.atproto.xrpc import Body
from atdata.dataset.dataset import Dataset
from atdata.errors import AtmosphereError, OptionError
from atdata.testing.network import Account, Network
from tests.atmosphere.conftest import Digit
from tests.atmosphere.publishing import DATASET, call, create, dataset_record, logged_in, write_all
from tests.services.proxy import FaultProxy

ProxyTo = Callable[[str], FaultProxy]


def test_the_accounts_of_a_server(
    at_home: Network, index: AtmosphereIndex, account: Account, public_digits: Dataset[Digit]
) -> None:
    """Active accounts with datasets or schemas are found once each, and no others."""
    entry = index.insert_dataset(public_digits, name="digits")
    empty, gone = at_home.create_account(), at_home.create_account()
    elsewhere = at_home.create_account(server=1)
    for one in (gone, elsewhere):
        client = logged_in(one)
        write_all(client, [create(DATASET, "a", dataset_record(one.did, "a"))])
    call(logged_in(gone), "deactivateAccount", {}, of="server")
    found = list(accounts(account.server_url))
    assert found.count(account.did) == 1
    assert not {empty.did, gone.did, elsewhere.did} & set(found)
    reader = AtmosphereIndex(AtmosphereClient())
    there = {one.uri: one for one in reader.discover(account.server_url)}
    assert there[entry.uri] == entry
    assert [e.name for e in reader.discover(elsewhere.server_url) if elsewhere.did in e.uri] == [
        "a"
    ]


def test_a_relay_is_asked_by_collection(
    at_home: Network, account: Account, proxy_to: ProxyTo
) -> None:
    """All pages of a relay are read; rows that are not accounts are skipped."""
    relay = proxy_to(account.server_url)
    dids = [f"did:plc:{letter * 24}" for letter in "abc"]
    answers: dict[str, list[dict[str, Any]]] = {
        "ac.foundation.dataset.record": [
            {"repos": [{"did": dids[0]}, {"did": "nobody"}, 7], "cursor": "1"},
            {"repos": [{"did": dids[1]}]},
        ],
        "ac.foundation.dataset.sampleSchema": [{"repos": [{"did": dids[2]}, {"did": dids[0]}]}],
        "science.alt.dataset.entry": [{"repos": []}],
        "science.alt.dataset.schema": [{}],
    }
    for collection, pages in answers.items():
        for page in pages:
            relay.answer(
                200,
                match=f"listReposByCollection.*collection={collection}(&|$)",
                body=json.dumps(page).encode(),
            )
    assert sorted(accounts(relay.url)) == dids


def test_servers_that_fail(at_home: Network, account: Account, proxy_to: ProxyTo) -> None:
    """An unreachable or failing server is an error that names it."""
    with pytest.raises(OptionError, match="not the URL"):
        list(accounts("pds.example"))
    server = proxy_to(account.server_url)
    server.answer(403, times=None, body=json.dumps({"error": "Forbidden"}).encode())
    with pytest.raises(AtmosphereError, match="403 Forbidden"):
        list(accounts(server.url))
    server.refuse()
    with pytest.raises(AtmosphereError, match="does not answer"):
        list(accounts(server.url))


def test_an_account_that_is_broken_is_passed_over(at_home: Network, account: Account) -> None:
    """A malformed record does not hide the datasets of other accounts."""
    client = logged_in(account)
    body = {"repo": client.did, "collection": DATASET, "rkey": "bad", "validate": False}
    client._authorized(
        lambda home, token: home.procedure(
            "com.atproto.repo.putRecord",
            Body.of_json({**body, "record": {"$type": DATASET, "name": 7}}),
            token=token,
        )
    )
    write_all(client, [create(DATASET, "good", dataset_record(client.did, "good"))])
    found = AtmosphereIndex(AtmosphereClient()).discover(account.server_url)
    assert [entry.name for entry in found if client.did in entry.uri] == ["good"]
