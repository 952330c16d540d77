"""A commit is accepted only if its blocks, tree and signature prove it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import libipld
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from atdata.atmosphere.discover import COLLECTIONS
from atdata.atproto.commits import blocks_of, changes_of, is_signed_by, signed_part
from atdata.atproto.dag import cid_of, to_json
from atdata.atproto.firehose import Firehose
from atdata.errors import AtmosphereError, OptionError, RecordError
from atdata.net.identity import signing_key
from atdata.testing.network import Account, Network
from tests.atmosphere.publishing import (
    DATASET,
    create,
    dataset_record,
    delete,
    logged_in,
    update,
    write_all,
)
from tests.sources.web import web_server

K256_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CURVES = [(ec.SECP256K1(), b"\xe7\x01", K256_ORDER), (ec.SECP256R1(), b"\x80\x24", P256_ORDER)]


def public(key: ec.EllipticCurvePrivateKey, prefix: bytes) -> bytes:
    """A public key in the form of a DID document."""
    form = serialization.PublicFormat.CompressedPoint
    return prefix + key.public_key().public_bytes(serialization.Encoding.X962, form)


def signature(key: ec.EllipticCurvePrivateKey, message: bytes, order: int, low: bool) -> bytes:
    """A signature of 64 bytes, with the lower or the higher s."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    s = min(s, order - s) if low else max(s, order - s)
    return r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize(("curve", "prefix", "order"), CURVES, ids=["k256", "p256"])
def test_signatures_of_both_curves(curve: ec.EllipticCurve, prefix: bytes, order: int) -> None:
    """A signature is valid only for its key and message, and only in canonical form."""
    key, other = ec.generate_private_key(curve), ec.generate_private_key(curve)
    good = signature(key, b"message", order, low=True)
    assert is_signed_by(public(key, prefix), b"message", good)
    assert not is_signed_by(public(key, prefix), b"massage", good)
    assert not is_signed_by(public(other, prefix), b"message", good)
    assert not is_signed_by(
        public(key, prefix), b"message", signature(key, b"message", order, low=False)
    )
    for bad in (b"", good[:63], good + b"\0", b"\0" * 64, b"\xff" * 64):
        assert not is_signed_by(public(key, prefix), b"message", bad)
    for wrong in (b"", b"\xed\x01" + b"\2" * 33, prefix + b"\2" * 32, prefix + b"\7" * 33):
        with pytest.raises(RecordError, match="signing key"):
            is_signed_by(wrong, b"message", good)


@pytest.fixture
def commits(network: Network, monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Three commits of a real server: two records made, one changed, one deleted."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    account: Account = network.create_account()
    client = logged_in(account)
    firehose = Firehose(account.server_url)
    start = firehose.now()
    records = [create(DATASET, key, dataset_record(client.did, key)) for key in "ab"]
    write_all(client, records)
    write_all(client, [update(DATASET, "a", dataset_record(client.did, "other"))])
    write_all(client, [delete(DATASET, "a")])
    found: list[Mapping[str, Any]] = []
    for event in firehose.events(start, threading.Event()):
        if event and event.kind == "#commit" and event.body["repo"] == client.did:
            found += [event.body] if event.body["ops"] else []
            if len(found) == 3:
                break
    return found


def car(body: Mapping[str, Any], change: Mapping[bytes, bytes]) -> bytes:
    """The blocks of a commit, some replaced under the same CID."""
    blocks, root = blocks_of(body["blocks"])
    at = body["blocks"].index(root[:4])
    out = body["blocks"][: 1 + body["blocks"][0]]
    assert at < len(out)
    for cid, block in blocks.items():
        block = change.get(cid, block)
        size = len(cid) + len(block)
        out += bytes((size & 0x7F | 0x80, size >> 7)) if size > 127 else bytes((size,))
        out += cid + block
    return bytes(out)


def test_what_is_proven_and_what_is_not(commits: list[Mapping[str, Any]]) -> None:
    """Real commits give all their changes; a commit altered anywhere is refused."""
    made, changed, deleted = commits
    did = made["repo"]
    key = signing_key(did)
    changes = changes_of(made, key, COLLECTIONS)
    assert [str(change.uri) for change in changes] == [f"at://{did}/{DATASET}/{k}" for k in "ab"]
    assert changes[0].value == dataset_record(did, "a")
    assert changes_of(made, key, ["x.y.z"]) == []
    (change,) = changes_of(changed, key, COLLECTIONS)
    assert change.value == dataset_record(did, "other")
    (change,) = changes_of(deleted, key, COLLECTIONS)
    assert (change.value, change.cid) == (None, None)

    other = key[:2] + public(ec.generate_private_key(ec.SECP256K1()), b"")
    (op,) = deleted["ops"]
    first, second = made["ops"]
    blocks, root = blocks_of(made["blocks"])
    record = blocks[first["cid"]]
    forged: list[tuple[Mapping[str, Any], bytes, str]] = [
        (made, other, "signature is not"),
        ({**made, "repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}, key, "contradicts the commit"),
        ({**made, "rev": "3zzzzzzzzzz2z"}, key, "contradicts the commit"),
        ({**made, "commit": deleted["commit"]}, key, "belong to another commit"),
        ({**made, "ops": [{**first, "cid": second["cid"]}]}, key, "contradicts it about"),
        ({**made, "ops": [{**first, "cid": None}]}, key, "contradicts it about"),
        ({**deleted, "ops": [{**op, "cid": first["cid"]}]}, key, "contradicts it about"),
        ({**made, "ops": [{**first, "path": f"{DATASET}/c"}]}, key, "contradicts it about"),
        ({**made, "ops": [{**first, "path": f"{DATASET}/../c"}]}, key, "not a record key"),
        ({**made, "blocks": made["blocks"][:-9]}, key, "truncated"),
        ({**made, "blocks": b""}, key, "cannot be read"),
        ({**made, "ops": 7}, key, "cannot be read"),
        (
            {**made, "blocks": car(made, {first["cid"]: record.replace(b"none", b"some")})},
            key,
            "does not match",
        ),
        ({**made, "blocks": car(made, {root: blocks[root][:-1] + b"\x04"})}, key, "does not match"),
    ]
    assert changes_of({**made, "blocks": car(made, {})}, key, COLLECTIONS) == changes
    for body, by, message in forged:
        with pytest.raises(RecordError, match=message):
            changes_of(body, by, COLLECTIONS)


def test_a_commit_with_another_body_is_not_signed(commits: list[Mapping[str, Any]]) -> None:
    """A commit altered under its old signature is refused, even if all hashes match."""
    body = commits[0]
    blocks, root = blocks_of(body["blocks"])
    commit = libipld.decode_dag_cbor(blocks[root])
    assert is_signed_by(signing_key(body["repo"]), signed_part(commit), commit["sig"])
    assert blocks[root].startswith(b"\xa6")
    changed = blocks[root].replace(commit["data"], body["ops"][0]["cid"])
    cid = root[:4] + hashlib.sha256(changed).digest()
    header = body["blocks"][: 1 + body["blocks"][0]].replace(root, cid)
    blocks = {**blocks, cid: changed}
    out = header
    for name, block in blocks.items():
        size = len(name) + len(block)
        out += bytes((size & 0x7F | 0x80, size >> 7)) if size > 127 else bytes((size,))
        out += name + block
    with pytest.raises(RecordError, match="signature is not"):
        changes_of(
            {**body, "blocks": bytes(out), "commit": cid}, signing_key(body["repo"]), COLLECTIONS
        )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=30)
    | st.binary(max_size=40).filter(lambda data: data[:1] != b"\x01"),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=300).filter(lambda k: not k.startswith("$")), inner)
    ),
    max_leaves=40,
)


@given(st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), VALUES))
def test_the_cid_of_any_record(record: dict[str, Any]) -> None:
    """The CID of a record's JSON form is the hash of its DAG-CBOR."""
    block = libipld.encode_dag_cbor(record)
    expected = b"\x01\x71\x12\x20" + hashlib.sha256(block).digest()
    assert cid_of(to_json(libipld.decode_dag_cbor(block))) == libipld.encode_cid(expected)


@pytest.mark.parametrize("value", [{"$link": "b"}, {"$link": 7}, {"$bytes": "%"}, {1: 2}, object()])
def test_what_has_no_cid(value: Any) -> None:
    """A value outside the data model is a RecordError."""
    with pytest.raises(RecordError):
        cid_of({"a": [value]})


@given(st.binary(max_size=300))
def test_any_bytes_as_blocks(data: bytes) -> None:
    """Random bytes in place of blocks are a RecordError."""
    body = {"repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "rev": "a", "ops": [], "commit": b""}
    with pytest.raises(RecordError):
        changes_of({**body, "blocks": data}, b"", COLLECTIONS)


def test_links_and_bytes() -> None:
    """Links and bytes of a record are distinct in its JSON form."""
    cid = b"\x01\x55\x12\x20" + b"\x07" * 32
    value = {"a": [cid, b"\x81\x01", None, 1, "x"]}
    link = {"$link": libipld.encode_cid(cid)}
    assert to_json(value) == {"a": [link, {"$bytes": "gQE"}, None, 1, "x"]}


def test_servers_that_are_none() -> None:
    """An invalid URL, an unreachable server, and one without a firehose are errors that name it."""
    with pytest.raises(OptionError, match="not the URL of a server"):
        Firehose("pds.example")
    with web_server() as web:
        for url in ("http://127.0.0.1:9", web.url):
            with pytest.raises(AtmosphereError, match=f"The firehose of {url}"):
                next(Firehose(url).events(0, threading.Event()))
