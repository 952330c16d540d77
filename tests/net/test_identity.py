"""From handle to DID to server, on a network of your own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from atdata.errors import AtmosphereError, IdentityError
from atdata.net.identity import network_policy, resolve_handle, server_of, verify
from atdata.testing.network import Network
from tests.services.proxy import FaultProxy
from tests.sources.web import WebServer

ProxyTo = Callable[[str], FaultProxy]


def test_both_servers_accounts(at_home: Network) -> None:
    """A handle of either server, in any case and with @, leads to its account and its server."""
    for account in at_home.accounts:
        for handle in (account.handle, f"@{account.handle}", account.handle.upper()):
            assert resolve_handle(handle) == account.did
        assert server_of(account.did) == account.server_url
        verify(account.handle, account.did)


def test_unknown_handle(at_home: Network) -> None:
    """A handle that does not resolve is an IdentityError that names it, and a LookupError."""
    with pytest.raises(IdentityError, match=r"nobody\.pds1\.test"):
        resolve_handle("nobody.pds1.test")
    assert issubclass(IdentityError, LookupError)


@pytest.mark.parametrize(
    "handle", ["", "@", "alice", "al ice.test", "a" * 300 + ".test", "1.2.3.4"]
)
def test_what_is_no_handle(at_home: Network, handle: str) -> None:
    """Anything but a domain name is refused without a request."""
    with pytest.raises(IdentityError, match="not a handle"):
        resolve_handle(handle)


def test_without_a_server_to_ask(at_home: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a name that public DNS never has, the error says which variable to set."""
    monkeypatch.delenv("ATDATA_PDS_URL")
    with pytest.raises(IdentityError, match="ATDATA_PDS_URL"):
        resolve_handle(at_home.accounts[0].handle)


@pytest.mark.parametrize(
    ("rows", "resolves"),
    [
        (["did=DID"], True),
        (['"did=DID"', "v=spf1"], True),
        (["did=DID", "did=DID"], True),
        (["did=DID", "did=did:plc:someoneelse"], False),
        (["DID"], False),
        ([], False),
        (7, False),
    ],
)
def test_by_dns(
    at_home: Network,
    web: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    rows: Any,
    resolves: bool,
) -> None:
    """A TXT record names the account; two that differ, or other text, name none."""
    alice = at_home.accounts[0]
    if isinstance(rows, list):
        rows = [{"type": 16, "data": row.replace("DID", alice.did)} for row in rows]
    web.files["/resolve"] = json.dumps({"Status": 0, "Answer": rows}).encode()
    monkeypatch.delenv("ATDATA_PDS_URL")
    monkeypatch.setenv("ATDATA_DNS_URL", f"{web.url}/resolve")
    if resolves:
        assert resolve_handle(alice.handle) == alice.did
    else:
        with pytest.raises(IdentityError):
            resolve_handle(alice.handle)
    assert web.asked[0][0] == f"/resolve?name=_atproto.{alice.handle}&type=TXT"


def test_a_handle_that_its_account_does_not_name(at_home: Network, proxy_to: ProxyTo) -> None:
    """A handle is refused if the account that it points to does not name it in turn."""
    alice, bob = at_home.accounts
    with pytest.raises(IdentityError, match="does not name it"):
        verify(alice.handle, bob.did)


def test_a_server_that_lies_about_a_handle(
    at_home: Network, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's answer for a handle counts only if the account names the handle."""
    alice, bob = at_home.accounts
    proxy = proxy_to(alice.server_url)
    proxy.answer(200, match="resolveHandle", body=json.dumps({"did": bob.did}).encode())
    monkeypatch.setenv("ATDATA_PDS_URL", proxy.url)
    with pytest.raises(IdentityError, match="does not name it"):
        resolve_handle(alice.handle)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"did": 1}', b'{"did": "alice"}', b"<html>"])
def test_answers_that_make_no_sense(
    at_home: Network, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """A server that does not answer with a DID resolves nothing."""
    alice = at_home.accounts[0]
    proxy = proxy_to(alice.server_url)
    proxy.answer(200, match="resolveHandle", body=body)
    monkeypatch.setenv("ATDATA_PDS_URL", proxy.url)
    with pytest.raises(IdentityError):
        resolve_handle(alice.handle)


@pytest.mark.parametrize(
    "did",
    ["", "alice.test", "did:key:zQ3shabc", f"did:plc:{'a' * 24}", "did:web:localhost:path"],
)
def test_no_such_account(at_home: Network, did: str) -> None:
    """A DID of an unknown method, or of no account, is an IdentityError."""
    with pytest.raises(IdentityError):
        server_of(did)


def test_directory_down(at_home: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that does not answer is an AtmosphereError that names its URL."""
    monkeypatch.setenv("ATDATA_PLC_URL", "http://localhost:9")
    with pytest.raises(AtmosphereError, match="localhost:9") as caught:
        server_of(at_home.accounts[0].did)
    assert not isinstance(caught.value, IdentityError)


def test_server_down(at_home: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down is not mistaken for 'no such handle'."""
    monkeypatch.setenv("ATDATA_PDS_URL", "http://localhost:9")
    with pytest.raises(AtmosphereError, match="localhost:9") as caught:
        resolve_handle(at_home.accounts[0].handle)
    assert not isinstance(caught.value, IdentityError)


@pytest.mark.parametrize(
    "service",
    [
        None,
        [],
        ["x"],
        [{"id": "#other", "serviceEndpoint": "https://pds.example"}],
        [{"id": "#atproto_pds"}],
        [{"id": "#atproto_pds", "serviceEndpoint": "file:///etc/passwd"}],
        [{"id": "#atproto_pds", "serviceEndpoint": "https://"}],
        [{"id": "#atproto_pds", "serviceEndpoint": "https://user:word@pds.example"}],
        [{"id": "#atproto_pds", "serviceEndpoint": "https://[::1"}],
    ],
)
def test_documents_without_a_server(
    at_home: Network, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch, service: object
) -> None:
    """A document that names no server, or an invalid one, is an IdentityError."""
    did = at_home.accounts[0].did
    proxy = proxy_to(at_home.plc_url)
    proxy.answer(200, body=json.dumps({"id": did, "service": service}).encode())
    monkeypatch.setenv("ATDATA_PLC_URL", proxy.url)
    with pytest.raises(IdentityError):
        server_of(did)


def test_a_document_of_someone_else(
    at_home: Network, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document must be of the DID that was asked for."""
    alice, bob = at_home.accounts
    proxy = proxy_to(at_home.plc_url)
    proxy.answer(200, body=json.dumps({"id": bob.did}).encode())
    monkeypatch.setenv("ATDATA_PLC_URL", proxy.url)
    with pytest.raises(IdentityError, match="not the document"):
        server_of(alice.did)


def test_private_servers_are_for_private_networks(
    at_home: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network of your own, servers are at private addresses; on the public one never."""
    assert network_policy().private_allowed
    monkeypatch.setenv("ATDATA_PLC_URL", "https://plc.example.com")
    assert not network_policy().private_allowed
    monkeypatch.delenv("ATDATA_PLC_URL")
    assert not network_policy().private_allowed


def test_did_web_on_this_machine_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the public network a did:web that leads to this machine gets no request."""
    monkeypatch.delenv("ATDATA_PLC_URL", raising=False)
    with pytest.raises(IdentityError, match="cannot be looked up"):
        server_of("did:web:localhost%3A9")
