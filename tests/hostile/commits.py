"""Commits that a stranger's own key has signed, whatever is in them."""

from __future__ import annotations

import hashlib
from typing import Any

import libipld
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from atdata.atproto.commits import signed_part
from atdata.atproto.dag import link

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_PRIVATE = ec.derive_private_key(7, ec.SECP256K1())
_POINT = _PRIVATE.public_key().public_bytes(
    serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
)
KEY = b"\xe7\x01" + _POINT
"""As `signing_key` gives it."""
RKEY = "a"


def encode(value: Any) -> bytes:
    """DAG-CBOR."""
    return bytes(libipld.encode_dag_cbor(value))


def cid(block: bytes) -> bytes:
    """The CID of a block of a repository."""
    return b"\x01\x71\x12\x20" + hashlib.sha256(block).digest()


def _map(**pairs: bytes) -> bytes:
    """A map of values that are encoded, in the order of DAG-CBOR."""
    names = sorted(pairs, key=lambda name: (len(name), name))
    return bytes((0xA0 + len(names),)) + b"".join(encode(name) + pairs[name] for name in names)


def node(path: str, record: bytes) -> bytes:
    """A tree with one record."""
    entry = _map(p=encode(0), k=encode(path.encode()), v=link(cid(record)), t=encode(None))
    return _map(e=b"\x81" + entry, l=encode(None))


def commit(did: str, tree: bytes, rev: str) -> bytes:
    """A commit, signed."""
    said = {"did": did, "rev": rev, "data": cid(tree), "prev": None, "version": 3}
    r, s = decode_dss_signature(_PRIVATE.sign(signed_part(said), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)
    return _map(
        did=encode(did),
        rev=encode(rev),
        sig=encode(signature),
        data=link(cid(tree)),
        prev=encode(None),
        version=encode(3),
    )


def message(
    did: str, collection: str, block: bytes, *, level: int = 0, rev: str = "3zzzzzzzzzz2z"
) -> dict[str, Any]:
    """The body of a ``#commit`` of one record that was made.

    Args:
        did: The account.
        collection: Of the record.
        block: Stands where ``level`` says; what is above it names it and is right.
        level: 0: the record, 1: the tree, 2: the commit.
        rev: Its revision.
    """
    path = f"{collection}/{RKEY}"
    record = block if level == 0 else encode({"$type": collection})
    tree = block if level == 1 else node(path, record)
    top = block if level == 2 else commit(did, tree, rev)
    roots = _map(roots=b"\x81" + link(cid(top)), version=encode(1))
    car = _varint(len(roots)) + roots
    for part in (top, tree, record):
        car += _varint(36 + len(part)) + cid(part) + part
    return {
        "repo": did,
        "rev": rev,
        "commit": cid(top),
        "blocks": car,
        "ops": [{"action": "create", "path": path, "cid": cid(record)}],
    }


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))
