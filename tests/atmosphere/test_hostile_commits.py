"""Commits that their account has signed, and that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atdata.atproto.commits import changes_of
from atdata.errors import RecordError
from atdata.local import LocalIndex
from atdata.net.identity import signing_key
from tests.atmosphere.hostile import OWNER, RECORDS, row, serve, update
from tests.atmosphere.publishing import DATASET, SCHEMA, dataset_record, schema_record
from tests.hostile import commits
from tests.sources.web import WebServer

DEEP = b"\x81" * 950 + b"\x01"
SIGNED = {
    "a number": (0, b"\x07"),
    "a list": (0, b"\x80"),
    "a text": (0, commits.encode("record")),
    "nothing": (0, b"\xf6"),
    "a key that is a number": (0, b"\xa1\x01\x01"),
    "a deep one": (0, b"\xa2\x61a" + DEEP + commits.encode("$type") + commits.encode(DATASET)),
    "no number": (0, b"\xa1\x61a\xfb\x7f\xf8" + bytes(6)),
    "a key twice": (0, b"\xa2\x61a\x01\x61a\x02"),
    "trailing bytes": (0, b"\xa0\xa0"),
    "no utf-8": (0, b"\xa1\x61a\x62\xff\xff"),
    "a tree that is a list": (1, b"\x80"),
    "a tree of itself": (
        1,
        b"\xa2\x61e\x80\x61l\xd8\x2a\x58\x25\x00" + b"\x01\x71\x12\x20" + bytes(32),
    ),
    "a tree of numbers": (1, b"\xa2\x61e\x81\x01\x61l\xf6"),
    "a tree of long keys": (
        1,
        b"\xa2\x61e\x81\xa4\x61k\x41a\x61p\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x61t\xf6\x61v\xf6\x61l\xf6",
    ),
    "a commit that is a list": (2, b"\x80"),
    "a commit without an end": (2, b"\xbf"),
}


@pytest.mark.parametrize(("level", "block"), SIGNED.values(), ids=SIGNED)
def test_what_an_account_signs_may_be_nonsense(
    home: WebServer, level: int, block: bytes, tmp_path: Path
) -> None:
    """A signed but malformed commit changes nothing, and the mirror continues."""
    with pytest.raises(RecordError):
        changes_of(commits.message(OWNER[0], DATASET, block, level=level), commits.KEY, [DATASET])
    key = "z" + base58(commits.KEY)
    document = json.loads(home.files["/.well-known/did.json"])
    document["verificationMethod"] = [
        {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": key}
    ]
    home.files["/.well-known/did.json"] = json.dumps(document).encode()
    assert signing_key(OWNER[0]) == commits.KEY
    serve(
        home,
        RECORDS,
        lambda query: {"records": [row("a")] if query["collection"] == DATASET else []},
    )
    with LocalIndex(tmp_path / "mirror.db") as index:
        mirror = update(index, home)
        known = index.mirrored.account(OWNER[0])
        assert known is not None
        body = commits.message(OWNER[0], DATASET, block, level=level)
        mirror._commit(OWNER[0], known["rev"], {**body, "since": known["rev"]})
        assert len(index.mirrored.uris()) == 1
        good = commits.message(OWNER[0], DATASET, commits.encode(dataset_record(OWNER[0], "b")))
        [change] = changes_of(good, commits.KEY, [DATASET])
        assert change.value == dataset_record(OWNER[0], "b")


def base58(data: bytes) -> str:
    """As keys in documents are written."""
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, out = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        out = letters[digit] + out
    return out


def nested(depth: int) -> bytes:
    """Lists in one another."""
    return b"\x81" * depth + b"\x01"


ODD = {
    "deep": nested(300),
    "deeper": nested(600),
    "no number": b"\xfb\x7f\xf8" + bytes(6),
    "beyond": b"\xfb\x7f\xf0" + bytes(6),
    "large": b"\x1b" + b"\xff" * 8,
    "small": b"\x3b" + b"\xff" * 8,
    "a link": b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + bytes(32),
    "bytes": b"\x58\x24\x01\x71\x12\x20" + bytes(32),
    "nothing": b"\xf6",
    "words": commits.encode("\0\x1b[2J\u202e"),
}


@pytest.mark.parametrize("field", ["name", "storage", "fields", "metadata", "tags", "more", "size"])
@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_record_with_odd_values(
    home: WebServer, value: bytes, field: str, tmp_path: Path
) -> None:
    """Whatever a signed record holds, it is kept or skipped, and the mirror continues."""
    document = json.loads(home.files["/.well-known/did.json"])
    document["verificationMethod"] = [
        {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": "z" + base58(commits.KEY)}
    ]
    home.files["/.well-known/did.json"] = json.dumps(document).encode()
    serve(
        home,
        RECORDS,
        lambda query: {"records": [row("b")] if query["collection"] == DATASET else []},
    )
    with LocalIndex(tmp_path / "mirror.db") as index:
        mirror = update(index, home)
        for number, (collection, record) in enumerate(
            [(DATASET, dataset_record(OWNER[0], "x")), (SCHEMA, schema_record("A"))]
        ):
            rest = {key: item for key, item in record.items() if key != field}
            pairs = commits.encode(rest)
            block = bytes((pairs[0] + 1,)) + pairs[1:] + commits.encode(field) + value
            known = index.mirrored.account(OWNER[0])
            assert known is not None
            rev = f"3zzzzzzzzzz{number}z"
            body = commits.message(OWNER[0], collection, block, rev=rev)
            mirror._commit(OWNER[0], str(mirror._rev(OWNER[0])), {**body, "since": known["rev"]})
        assert f"at://{OWNER[0]}/{DATASET}/b" in index.mirrored.uris()
        assert len(list(index.list_datasets())) >= 1
