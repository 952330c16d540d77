"""Verifying commits from a firehose: block hashes, signature, the path of each record.

https://atproto.com/specs/repository and https://atproto.com/specs/sync

Verifying signatures needs the extra ``mirror``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import libipld

from atdata._refs import AtUri, is_rkey
from atdata._registry import require
from atdata._secrets import redacted_repr
from atdata.atproto.dag import CID_SIZE, CID_STARTS, decoded, link, to_json
from atdata.errors import RecordError
from atdata.system.forks import importing

_MAX_TREE_DEPTH: Final = 64
"""Deepest tree that is followed; a tree of 2**40 records has about 20 levels."""
_CURVES: Final = {
    b"\xe7\x01": ("SECP256K1", 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    b"\x80\x24": ("SECP256R1", 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}
"""Multicodec of a public key → its curve, and the order of the curve."""


@redacted_repr
@dataclass(frozen=True)
class Change:
    """What a commit did to one record."""

    uri: AtUri
    cid: str | None
    """None: the record was deleted."""
    value: Mapping[str, Any] | None
    """The record in JSON form; None: the record was deleted."""


def changes_of(body: Mapping[str, Any], key: bytes, collections: Collection[str]) -> list[Change]:
    """The changes of a ``#commit`` to records of these collections, proven by the account's key.

    Raises:
        RecordError: A block does not match its hash, the signature is not the account's, or the
            repository contradicts the message.
    """
    try:
        return list(_changes(body, key, collections))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"A commit cannot be read ({type(error).__name__}).") from error


def _changes(body: Mapping[str, Any], key: bytes, collections: Collection[str]) -> Iterator[Change]:
    blocks, root = blocks_of(body["blocks"])
    did = body["repo"]
    if root != body["commit"]:
        raise RecordError(f"A commit of {did}: its blocks belong to another commit.")
    commit = decoded(blocks[root])
    if (commit["did"], commit["rev"], commit["version"]) != (did, body["rev"], 3):
        raise RecordError(f"A commit of {did}: the message contradicts the commit.")
    if not is_signed_by(key, signed_part(commit), commit["sig"]):
        raise RecordError(f"A commit of {did}: the signature is not the account's.")
    for op in body["ops"]:
        collection, _, rkey = op["path"].partition("/")
        if collection not in collections:
            continue
        if not is_rkey(rkey):
            raise RecordError(f"A commit of {did}: {rkey!r:.60} is not a record key.")
        uri, cid = AtUri(did, collection, rkey), op["cid"]
        if find(blocks, commit["data"], op["path"].encode()) != cid:
            raise RecordError(f"A commit of {did}: the repository contradicts it about {uri}.")
        if cid is None:
            yield Change(uri, None, None)
        else:
            value = to_json(decoded(blocks[cid]))
            if not isinstance(value, dict):
                raise RecordError(f"{uri}: expected a record, found {type(value).__name__}.")
            yield Change(uri, libipld.encode_cid(cid), value)


def blocks_of(car: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The blocks of a CAR v1 file by CID, and its one root.

    Raises:
        RecordError: Not a CAR file, or a block does not match its hash.
    """
    size, at = _varint(car, 0)
    header = decoded(car[at : at + size])
    at += size
    blocks: dict[bytes, bytes] = {}
    while at < len(car):
        size, at = _varint(car, at)
        cid, block = car[at : at + CID_SIZE], car[at + CID_SIZE : at + size]
        if size < CID_SIZE or at + size > len(car) or cid[:4] not in CID_STARTS:
            raise RecordError("A commit's blocks are truncated, or not a CAR file.")
        if hashlib.sha256(block).digest() != cid[4:]:
            raise RecordError(f"A block of a commit does not match {libipld.encode_cid(cid)}.")
        blocks[cid] = block
        at += size
    if len(header["roots"]) != 1:
        raise RecordError(f"The blocks of a commit have {len(header['roots'])} roots, not one.")
    return blocks, header["roots"][0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise RecordError("A commit's blocks are not a CAR file.")


def find(blocks: Mapping[bytes, bytes], root: bytes, key: bytes) -> bytes | None:
    """The CID of a key in a Merkle search tree; None if the tree does not have the key.

    Raises:
        RecordError: The blocks do not prove it either way.
    """
    at: bytes | None = root
    for _ in range(_MAX_TREE_DEPTH):
        if at is None:
            return None
        if at not in blocks:
            raise RecordError("A commit's blocks do not prove where its records are.")
        node = decoded(blocks[at])
        at, last = node["l"], b""
        for entry in node["e"]:
            last = last[: entry["p"]] + entry["k"]
            if last == key:
                found: bytes = entry["v"]
                return found
            if last > key:
                break
            at = entry["t"]
    raise RecordError(f"A repository's tree is deeper than {_MAX_TREE_DEPTH} levels.")


def signed_part(commit: Mapping[str, Any]) -> bytes:
    """The signed bytes: a commit's DAG-CBOR without its signature."""
    encode = libipld.encode_dag_cbor
    prev = commit.get("prev")
    # libipld decodes a CID to bytes and would encode it as bytes, so add tag 42 here.
    pairs = [
        (encode("did"), encode(commit["did"])),
        (encode("rev"), encode(commit["rev"])),
        (encode("data"), link(commit["data"])),
        (encode("prev"), b"\xf6" if prev is None else link(prev)),
        (encode("version"), encode(commit["version"])),
    ]
    if "prev" not in commit:
        del pairs[3]
    return bytes((0xA0 + len(pairs),)) + b"".join(name + value for name, value in pairs)


def is_signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature was made with this key, and is in canonical form.

    The key is as `signing_key` returns it. The SHA-256 of the message was signed; the signature is
    64 bytes, r and s, s in the lower half.

    Raises:
        RecordError: The key is of an unknown kind.
    """
    require("cryptography", purpose="The signatures of commits")
    with importing():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        curve, order = _CURVES[key[:2]]
        kind = ec.SECP256K1() if curve == "SECP256K1" else ec.SECP256R1()
        public = ec.EllipticCurvePublicKey.from_encoded_point(kind, key[2:])
    except (ValueError, KeyError):
        raise RecordError(f"The signing key {key.hex():.80} is of an unknown kind.") from None
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    # If s is valid, so is order - s: only the lower one is canonical.
    if len(signature) != 64 or s > order // 2:
        return False
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
