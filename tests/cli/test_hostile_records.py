"""Every command that reads the network, run on the hostile records of a real account."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.xrpc import Body
from atdata.errors import AtmosphereError
from atdata.testing.network import Network
from tests.atmosphere.publishing import DATASET, SCHEMA, dataset_record, logged_in, schema_record
from tests.cli.commands import atdata_command
from tests.hostile.items import DID, LENS
from tests.hostile.make import items

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""What acts on a terminal, line breaks and tabs aside."""
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.exe\u2066\x08"


def put(client: AtmosphereClient, collection: str, rkey: str, record: object) -> bool:
    """Write a record without checks; returns whether the server accepts it."""
    text = json.dumps(record).replace(DID, client.did)
    body = {"repo": client.did, "collection": collection, "rkey": rkey, "validate": False}
    content = json.dumps({**body, "record": json.loads(text)}).encode()
    sent = Body(content, len(content))
    try:
        client._authorized(
            lambda home, token: home.procedure("com.atproto.repo.putRecord", sent, token=token)
        )
    except AtmosphereError:
        return False
    return True


def acting(did: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Valid records whose text contains control characters."""
    dataset, schema = dataset_record(did, "x"), schema_record("A")
    url = {**dataset["storage"], "urls": [f"https://data.example/{EVIL}.tar"]}
    kind = {"$type": "ac.foundation.dataset.schemaType#primitive", "primitive": "str"}
    field = {"name": "text", "fieldType": kind, "description": EVIL}
    return {
        "words": (DATASET, {**dataset, "description": EVIL, "tags": [EVIL]}),
        "name": (DATASET, {**dataset, "name": EVIL}),
        "license": (DATASET, {**dataset, "license": EVIL}),
        "url": (DATASET, {**dataset, "storage": url}),
        "ref": (DATASET, {**dataset, "schemaRef": f"at://{did}/{SCHEMA}/{EVIL}"}),
        "mine.A:1.0.0": (SCHEMA, {**schema, "description": EVIL}),
        "field": (SCHEMA, {**schema, "name": "mine.B", "fields": [field]}),
        "class": (SCHEMA, {**schema, "name": f"mine.{EVIL}"}),
        "kind": (
            SCHEMA,
            {**schema, "fields": [{"name": EVIL, "fieldType": {"$type": f"a.b#{EVIL}"}}]},
        ),
    }


def test_commands_on_hostile_records(network: Network, tmp_path: Path) -> None:
    """No command crashes, prints control characters, or reaches a private address."""
    account = network.create_account()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATDATA_PLC_URL", network.plc_url)
        patch.setenv("ATDATA_PDS_URL", network.servers[0].url)
        client = logged_in(account)
        there = [
            (collection, rkey)
            for rkey, (collection, record) in acting(client.did).items()
            if put(client, collection, rkey, record)
        ]
        folders = {"records": DATASET, "schemas": SCHEMA, "lenses": LENS}
        for item in items():
            folder, _, name = item.path.partition("/")
            if folder in folders:
                rkey = name.removesuffix(".json")
                record = json.loads(item.data)
                if isinstance(record, dict) and put(client, folders[folder], rkey, record):
                    there.append((folders[folder], rkey))
    assert len(there) > 80
    more = {"ATDATA_PLC_URL": network.plc_url, "ATDATA_PDS_URL": network.servers[0].url}
    uris = {collection: [] for collection in (*folders.values(),)}  # type: dict[str, list[str]]
    for collection, rkey in there:
        uris[collection].append(f"at://{client.did}/{collection}/{rkey}")
    commands = [
        ["ls", "--network", account.handle],
        ["lenses", account.handle],
        ["discover", network.servers[0].url],
        ["discover", network.servers[0].url, "--into", "mirror.db"],
        ["ls", "--index", "mirror.db"],
        ["search", "x", "--index", "mirror.db"],
        *(["show", uri] for uri in uris[DATASET][:6]),
        *(["head", uri] for uri in uris[DATASET][:6:3]),
        *(["verify", uri] for uri in uris[DATASET][:6:4]),
        *(["schema", "show", uri] for uri in uris[SCHEMA][:5]),
        *(["schema", "diff", uri, uris[SCHEMA][0]] for uri in uris[SCHEMA][1:3]),
    ]
    for command in commands:
        for form in ([], ["--json"]) if command[0] in ("ls", "lenses") else ([],):
            done = atdata_command(tmp_path, *command, *form, more=more)
            said = done.stdout + done.stderr
            assert "Traceback" not in said, (command, said[-2000:])
            assert not ACTS.search(said), (command, ACTS.findall(said), said[:500])
            assert done.returncode in (0, 2, 3, 4, 5, 6, 7), (command, done.returncode, said[-500:])
