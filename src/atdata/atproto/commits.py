"""Commits as a firehose brings them: blocks by their hash, the signature, each record's place.

https://atproto.com/specs/repository and https://atproto.com/specs/sync

What this needs beside libipld is in the extra ``mirror``.
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

_DEPTH: Final = 64
"""Deepest tree that is followed; one of 2**40 records has about 20 levels."""
_CURVES: Final = {
    b"\xe7\x01": ("SECP256K1", 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    b"\x80\x24": ("SECP256R1", 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}
"""Multicodec of a public key → its curve, and the order of that."""


@redacted_repr
@dataclass(frozen=True)
class Change:
    """What a commit did to one record."""

    uri: AtUri
    cid: str | None
    """None: it was deleted."""
    value: Mapping[str, Any] | None
    """The record in JSON form; None: it was deleted."""


def changes_of(body: Mapping[str, Any], key: bytes, collections: Collection[str]) -> list[Change]:
    """The changes of records of these collections, each proven by the account's signature.

    Args:
        body: A ``#commit`` of a firehose.
        key: The account's signing key, as `signing_key` gives it.
        collections: NSIDs.

    Raises:
        RecordError: A block has another hash, the signature is not the account's, or the
            repository does not say what the message says.
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
        raise RecordError(f"A commit of {did}: its blocks are those of another commit.")
    commit = decoded(blocks[root])
    if (commit["did"], commit["rev"], commit["version"]) != (did, body["rev"], 3):
        raise RecordError(f"A commit of {did}: the message says something else than the commit.")
    if not is_signed_by(key, signed_part(commit), commit["sig"]):
        raise RecordError(f"A commit of {did}: the signature is not the account's.")
    for op in body["ops"]:
        collection, _, rkey = op["path"].partition("/")
        if collection not in collections:
            continue
        if not is_rkey(rkey):
            raise RecordError(f"A commit of {did}: {rkey!r:.60} is no key of a record.")
        uri, cid = AtUri(did, collection, rkey), op["cid"]
        if find(blocks, commit["data"], op["path"].encode()) != cid:
            raise RecordError(f"A commit of {did}: the repository does not say this of {uri}.")
        if cid is None:
            yield Change(uri, None, None)
        else:
            value = to_json(decoded(blocks[cid]))
            if not isinstance(value, dict):
                raise RecordError(f"{uri}: expected a record, found {type(value).__name__}.")
            yield Change(uri, libipld.encode_cid(cid), value)


def blocks_of(car: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The blocks of a CAR file of version 1 by their CIDs, and its one root.

    Raises:
        RecordError: Not one, or a block whose bytes do not have its hash.
    """
    size, at = _varint(car, 0)
    header = decoded(car[at : at + size])
    at += size
    blocks: dict[bytes, bytes] = {}
    while at < len(car):
        size, at = _varint(car, at)
        cid, block = car[at : at + CID_SIZE], car[at + CID_SIZE : at + size]
        if size < CID_SIZE or at + size > len(car) or cid[:4] not in CID_STARTS:
            raise RecordError("A commit's blocks are cut off, or no CAR file.")
        if hashlib.sha256(block).digest() != cid[4:]:
            raise RecordError(f"A block of a commit is not what {libipld.encode_cid(cid)} names.")
        blocks[cid] = block
        at += size
    if len(header["roots"]) != 1:
        raise RecordError("The blocks of a commit have several roots, or none.")
    return blocks, header["roots"][0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise RecordError("A commit's blocks are no CAR file.")


def find(blocks: Mapping[bytes, bytes], root: bytes, key: bytes) -> bytes | None:
    """The CID under a key of a Merkle search tree; None where the tree does not have the key.

    Raises:
        RecordError: The blocks do not show it.
    """
    at: bytes | None = root
    for _ in range(_DEPTH):
        if at is None:
            return None
        if at not in blocks:
            raise RecordError("A commit's blocks do not show where its records are.")
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
    raise RecordError(f"A repository's tree is deeper than {_DEPTH} levels.")


def signed_part(commit: Mapping[str, Any]) -> bytes:
    """The DAG-CBOR of a commit without its signature: what is signed."""
    encode = libipld.encode_dag_cbor
    prev = commit.get("prev")
    # The decoder gives a CID as bytes, which it would write as bytes: tag 42 is put here.
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
    """Whether a signature is of this key, in its one canonical form.

    Args:
        key: As `signing_key` gives it.
        message: What was signed; its SHA-256 is signed.
        signature: 64 bytes, r and s, s in the lower half.

    Raises:
        RecordError: The key is of another kind.
    """
    require("cryptography", purpose="The signatures of commits")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        curve, order = _CURVES[key[:2]]
        kind = ec.SECP256K1() if curve == "SECP256K1" else ec.SECP256R1()
        public = ec.EllipticCurvePublicKey.from_encoded_point(kind, key[2:])
    except (ValueError, KeyError):
        raise RecordError(f"The signing key {key.hex():.80} is not of a kind in use.") from None
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    # With s also order - s would sign: only the lower one counts.
    if len(signature) != 64 or s > order // 2:
        return False
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
