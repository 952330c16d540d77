"""Accounts that move, and accounts that must no longer be read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import urllib3

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atproto.xrpc import Body
from atdata.dataset.dataset import Dataset
from atdata.errors import IdentityError, ShardNotFoundError
from atdata.net.identity import signing_key, verified_handle
from atdata.testing.network import Account, Network
from tests.atmosphere.conftest import Digit
from tests.services.proxy import FaultProxy


def administer(network: Network, method: str, body: object, *, server: int = 0) -> None:
    """Call a method of ``com.atproto.admin``."""
    home = network.servers[server]
    headers = urllib3.make_headers(basic_auth=f"admin:{home.admin_password}")
    answer = urllib3.request("POST", f"{home.url}/xrpc/{method}", json=body, headers=headers)
    assert answer.status == 200, answer.data


def take_down(network: Network, did: str, applied: bool = True) -> None:
    """Take an account down, or let it up again."""
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": did}
    body = {"subject": subject, "takedown": {"applied": applied, "ref": "test"}}
    administer(network, "com.atproto.admin.updateSubjectStatus", body)


def call(client: AtmosphereClient, method: str, body: object) -> None:
    """Call a method as the account that is logged in."""
    client._authorized(lambda home, token: home.procedure(method, Body.of_json(body), token=token))


@pytest.mark.parametrize("how", ["deactivated", "takendown", "deleted"])
def test_an_account_that_is_gone_is_not_read(
    at_home: Network,
    index: AtmosphereIndex,
    account: Account,
    public_digits: Dataset[Digit],
    how: str,
) -> None:
    """Records and lists of an account that is gone are errors that say why, by URI and by name."""
    entry = index.insert_dataset(public_digits, name="digits")
    reader = AtmosphereIndex(AtmosphereClient())
    assert reader.get_dataset(entry.uri) == entry
    if how == "deactivated":
        call(index.client, "com.atproto.server.deactivateAccount", {})
    elif how == "takendown":
        take_down(at_home, account.did)
    else:
        administer(at_home, "com.atproto.admin.deleteAccount", {"did": account.did})
    for fresh in (reader, AtmosphereIndex(AtmosphereClient())):
        with pytest.raises(IdentityError, match=f"{account.did} must not be read: it is {how}"):
            fresh.get_dataset(entry.uri)
        with pytest.raises(IdentityError, match=how):
            fresh.get_schema(entry.schema_ref)
        with pytest.raises(IdentityError, match=how):
            list(fresh.client.list_records(account.did, "ac.foundation.dataset.record"))
    if how == "takendown":
        take_down(at_home, account.did, applied=False)
        assert reader.get_dataset(entry.uri) == entry


def test_shards_of_an_account_that_is_gone(
    at_home: Network, client: AtmosphereClient, account: Account, digits: Dataset[Digit]
) -> None:
    """An entry that was had before does not open the blobs of an account that is gone."""
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    entry = index.insert_dataset(digits, name="digits")
    dataset = Dataset.of(Digit, [str(shard.url) for shard in entry.shards])
    assert len(list(dataset.ordered())) == 20
    take_down(at_home, account.did)
    with pytest.raises(ShardNotFoundError, match=r"no longer serves this account .*RepoTakendown"):
        list(dataset.ordered())


def test_who_an_account_is(at_home: Network, account: Account) -> None:
    """An account's key and handle are those of its document; a handle must lead back to it."""
    assert len(signing_key(account.did)) == 35
    assert verified_handle(account.did) == account.handle
    handle = f"n{account.handle}"
    administer(
        at_home,
        "com.atproto.admin.updateAccountHandle",
        {"did": account.did, "handle": handle},
    )
    assert verified_handle(account.did) == handle
    with pytest.raises(IdentityError):
        signing_key("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


def test_an_account_that_moves_is_followed(
    at_home: Network,
    index: AtmosphereIndex,
    account: Account,
    public_digits: Dataset[Digit],
    proxy_to: Callable[[str], FaultProxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader that knows an account's old server finds the new one when the old one refuses."""
    entry = index.insert_dataset(public_digits, name="digits")
    directory, old = proxy_to(at_home.plc_url), proxy_to(account.server_url)
    document = urllib3.request("GET", f"{at_home.plc_url}/{account.did}").json()
    document["service"][0]["serviceEndpoint"] = old.url
    directory.answer(200, times=100, body=json.dumps(document).encode())
    monkeypatch.setenv("ATDATA_PLC_URL", directory.url)
    reader = AtmosphereIndex(AtmosphereClient())
    assert reader.get_dataset(entry.uri) == entry
    assert old.requests
    directory.clear()
    old.answer(400, times=100, body=b'{"error": "InvalidRequest", "message": "gone"}')
    assert reader.get_dataset(entry.uri) == entry
    assert [e.uri for e in reader.client.list_records(account.did, "x.y.z")] == []
    asked = len(old.requests)
    assert reader.get_dataset(entry.uri) == entry
    assert len(old.requests) == asked
