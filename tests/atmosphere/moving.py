"""An account that moves to another server, as the protocol has it: repository, keys, directory."""

from __future__ import annotations

import base64
from typing import Any

import libipld
import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from atdata.testing.network import Account
from tests.services.pds import LoneServer

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def ask(url: str, method: str, token: str = "", **options: Any) -> urllib3.BaseHTTPResponse:
    """Call a method; GET where nothing is sent."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= options.pop("headers", {})
    verb = "POST" if {"json", "body"} & options.keys() else "GET"
    answer = urllib3.request(verb, f"{url}/xrpc/{method}", headers=headers, **options)
    assert answer.status == 200, (method, answer.data)
    return answer


def session(url: str, account: Account) -> str:
    """An access token."""
    body = {"identifier": account.did, "password": account.password}
    token: str = ask(url, "com.atproto.server.createSession", json=body).json()["accessJwt"]
    return token


def signed(operation: dict[str, Any], key: bytes) -> dict[str, Any]:
    """An operation for the directory, with its signature."""
    private = ec.derive_private_key(int.from_bytes(key), ec.SECP256K1())
    block = bytes(libipld.encode_dag_cbor(operation))
    r, s = decode_dss_signature(private.sign(block, ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32) + min(s, ORDER - s).to_bytes(32)
    return {**operation, "sig": base64.urlsafe_b64encode(raw).decode().rstrip("=")}


def move(account: Account, old: LoneServer, new: LoneServer) -> Account:
    """Move an account with all that it has; the old server keeps it, deactivated."""
    leaving = session(old.url, account)
    fields = {"aud": new.server.did, "lxm": "com.atproto.server.createAccount"}
    letter = ask(old.url, "com.atproto.server.getServiceAuth", leaving, fields=fields).json()
    body = {
        "handle": account.handle,
        "did": account.did,
        "password": account.password,
        "email": f"{account.handle}@mail.test",
    }
    made = ask(new.url, "com.atproto.server.createAccount", letter["token"], json=body).json()
    coming = made["accessJwt"]
    repo = ask(old.url, "com.atproto.sync.getRepo", fields={"did": account.did}).data
    car = {"Content-Type": "application/vnd.ipld.car"}
    ask(new.url, "com.atproto.repo.importRepo", coming, body=repo, headers=car)
    wanted = ask(new.url, "com.atproto.identity.getRecommendedDidCredentials", coming).json()
    log = urllib3.request("GET", f"{old.plc_url}/{account.did}/log/audit").json()
    operation = {"type": "plc_operation", **wanted, "prev": log[-1]["cid"]}
    answer = urllib3.request(
        "POST", f"{old.plc_url}/{account.did}", json=signed(operation, old.rotation_key)
    )
    assert answer.status == 200, answer.data
    ask(new.url, "com.atproto.server.activateAccount", coming, json=None, body=b"")
    ask(old.url, "com.atproto.server.deactivateAccount", leaving, json={})
    return Account(account.handle, account.did, new.url, account.password)
