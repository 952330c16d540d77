"""The published lexicons describe the records that atdata writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from atdata._refs import is_rkey
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atproto.lexicon import validate
from atdata.dataset.dataset import Dataset
from atdata.errors import RecordError, SchemaError
from atdata.testing.network import Network
from atdata.testing.network._node import find_node, install
from atdata.testing.schemas import Scene
from tests.atmosphere.conftest import Digit
from tests.atmosphere.raw import write_raw

FOLDER = files("atdata.atproto") / "lexicons"
LEXICONS = {path.name: json.loads(path.read_text()) for path in FOLDER.iterdir()}


def definition(ref: str, home: str) -> dict[str, Any]:
    nsid, _, name = ref.partition("#")
    found: dict[str, Any] = LEXICONS[f"{nsid or home}.json"]["defs"][name or "main"]
    return found


def official(script: str, *given: Any) -> Any:
    """The output of a program that uses the protocol's own lexicon package.

    The program gets the package as ``lexicon`` and what it is given as ``given``.
    """
    folder = install()
    module = json.dumps((folder / "node_modules" / "@atproto" / "lexicon").as_uri())
    source = f"""
        import {{ readFileSync }} from 'node:fs';
        import {{ createRequire }} from 'node:module';
        const lexicon = createRequire({module} + '/')('@atproto/lexicon');
        const given = JSON.parse(readFileSync(0, 'utf8'));
        {script}
    """
    run = [find_node().program, "--input-type=module", "-e", source]
    # A program's arguments have room for 128 kB only.
    out = subprocess.run(run, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


@pytest.mark.parametrize("name", sorted(LEXICONS))
def test_each_file_is_a_lexicon(name: str) -> None:
    """A file is named after its lexicon, and every reference in it resolves."""
    lexicon = LEXICONS[name]
    assert name == f"{lexicon['id']}.json"
    assert is_rkey(lexicon["id"])

    def refs(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["ref"]] if isinstance(value.get("ref"), str) else []
            yield from value.get("refs", []) if isinstance(value.get("refs"), list) else []
            for item in value.values():
                yield from refs(item)
        elif isinstance(value, list):
            for item in value:
                yield from refs(item)

    for ref in refs(lexicon):
        assert definition(ref, lexicon["id"])


def test_the_official_package_takes_them(network: Network) -> None:
    """The protocol's own checker accepts each file, and the references between them."""
    said = official(
        """
        const documents = given[0].map((doc) => lexicon.lexiconDoc.parse(doc));
        new lexicon.Lexicons(documents);
        console.log(JSON.stringify(documents.map((doc) => doc.id)));
        """,
        list(LEXICONS.values()),
    )
    assert said == [lexicon["id"] for lexicon in LEXICONS.values()]


def test_our_records_follow_them(
    index: AtmosphereIndex, digits: Dataset[Digit], public_digits: Dataset[Digit]
) -> None:
    """Schemas with every kind of field, and datasets with both storages, match the lexicons."""
    client = index.client
    said: dict[str, Any] = {
        "description": "What.",
        "tags": ["a"],
        "license": "MIT",
        "metadata": {"mean": 0.5},
    }
    store = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    uris = [
        index.publish_schema(Scene, description="All kinds.", metadata={"a": 1}),
        store.insert_dataset(digits, name="blobs", **said).uri,
        index.insert_dataset(public_digits, name="urls", **said).uri,
        index.insert_dataset(public_digits, name="urls", description="Changed.").uri,
    ]
    records = [client.get_record(uri).value for uri in uris]
    for record in records:
        validate(record)
        unnamed = unknown_keys(
            dict(record), LEXICONS[f"{record['$type']}.json"]["defs"]["main"]["record"]
        )
        assert unnamed == {"$type"}
    assert official(VALIDATE, list(LEXICONS.values()), records) == [""] * len(records)


def unknown_keys(record: dict[str, Any], said: dict[str, Any]) -> set[str]:
    return set(record) - set(said["properties"])


VALIDATE = """
    const lexicons = new lexicon.Lexicons(given[0]);
    const said = given[1].map((record) => {
        try {
            lexicons.assertValidRecord(record.$type, lexicon.jsonToLex(record));
            return '';
        } catch (error) {
            return String(error);
        }
    });
    console.log(JSON.stringify(said));
"""
"""For each record '' or the official package's complaint."""

TIME = "2026-01-31T12:00:00Z"
CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
SCHEMA: dict[str, Any] = {
    "$type": "ac.foundation.dataset.sampleSchema",
    "name": "mine.A",
    "version": "1.0.0",
    "fields": [
        {
            "name": "a",
            "fieldType": {
                "$type": "ac.foundation.dataset.schemaType#primitive",
                "primitive": "str",
            },
        }
    ],
    "createdAt": TIME,
}
DATASET: dict[str, Any] = {
    "$type": "ac.foundation.dataset.record",
    "name": "a",
    "schemaRef": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/ac.foundation.dataset.sampleSchema/a",
    "storage": {
        "$type": "ac.foundation.dataset.storageExternal",
        "urls": ["https://data.example/a.tar"],
    },
    "createdAt": TIME,
}
BLOBS: dict[str, Any] = {
    "$type": "ac.foundation.dataset.storageBlobs",
    "blobs": [{"$type": "blob", "ref": {"$link": CID}, "mimeType": "application/x-tar", "size": 1}],
}
LENS = {
    "$type": "ac.foundation.dataset.lens",
    "name": "l",
    "sourceSchema": DATASET["schemaRef"],
    "targetSchema": DATASET["schemaRef"],
    "getterCode": {"repository": "r", "commit": "c", "path": "p"},
    "putterCode": {"repository": "r", "commit": "c", "path": "p", "branch": "b"},
    "createdAt": TIME,
}
GOOD: list[dict[str, Any]] = [
    SCHEMA,
    DATASET,
    LENS,
    {**DATASET, "storage": BLOBS},
    {**DATASET, "tags": ["t"] * 30, "license": "MIT", "size": {"samples": 0}},
    {**DATASET, "metadata": {"$bytes": "gA"}, "later": {"$type": "x.y.z", "n": 1}},
    {**DATASET, "storage": {"$type": "com.example.other", "n": 1}},
    {**DATASET, "name": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 50},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({key: DATASET[key] for key in DATASET if key != "storage"}, r"\$\.storage: is missing"),
    ({**DATASET, "name": 7}, r"\$\.name: expected a str, found 7"),
    ({**DATASET, "name": "n" * 257}, r"\$\.name: expected at most 256 characters, found 257"),
    ({**DATASET, "name": "n" * 2000}, r"\$\.name: expected at most 1,024 bytes of UTF-8"),
    ({**DATASET, "schemaRef": "a@1.0.0"}, r"\$\.schemaRef: expected an AT URI"),
    ({**DATASET, "createdAt": "yesterday"}, r"\$\.createdAt: expected a time such as"),
    ({**DATASET, "tags": ["t"] * 31}, r"\$\.tags: expected at most 30 items, found 31"),
    ({**DATASET, "tags": ["a", None]}, r"\$\.tags\[1\]: expected a str, found nothing"),
    ({**DATASET, "size": {"samples": -1}}, r"\$\.size\.samples: expected at least 0"),
    ({**DATASET, "size": {"bytes": True}}, r"\$\.size\.bytes: expected a whole number"),
    ({**DATASET, "metadata": "gA=="}, r"\$\.metadata: expected bytes"),
    ({**DATASET, "storage": {"urls": []}}, r"\$\.storage\.\$type: expected one of"),
    ({**DATASET, "storage": {**BLOBS, "blobs": []}}, r"\$\.storage\.blobs: expected at least 1"),
    (
        {
            **DATASET,
            "storage": {**BLOBS, "blobs": [{**BLOBS["blobs"][0], "mimeType": 7}]},
        },
        r"\$\.storage\.blobs\[0\]\.mimeType: expected",
    ),
    (
        {**DATASET, "storage": {**BLOBS, "blobs": [{**BLOBS["blobs"][0], "ref": CID}]}},
        r"\$\.storage\.blobs\[0\]\.ref: expected the CID of a blob",
    ),
    (
        {**DATASET, "storage": {**DATASET["storage"], "shards": [{"url": "u", "sha256": "ab"}]}},
        r"\$\.storage\.shards\[0\]\.sha256: expected at least 64",
    ),
    ({**SCHEMA, "fields": {}}, r"\$\.fields: expected a list"),
    ({**SCHEMA, "fields": SCHEMA["fields"] * 1001}, r"\$\.fields: expected at most 1,000 items"),
    ({**SCHEMA, "fields": [{"name": "a"}]}, r"\$\.fields\[0\]\.fieldType: is missing"),
    (
        {
            **SCHEMA,
            "fields": [
                {
                    "name": "a",
                    "fieldType": {
                        "$type": "ac.foundation.dataset.schemaType#array",
                        "items": {"$type": "ac.foundation.dataset.schemaType#ref", "ref": 1},
                    },
                }
            ],
        },
        r"\$\.fields\[0\]\.fieldType\.items\.ref: expected a str, found 1",
    ),
    ({**LENS, "getterCode": {"repository": "r"}}, r"\$\.getterCode\.commit: is missing"),
]


def test_the_official_package_agrees(network: Network) -> None:
    """We accept and refuse the same records as the protocol's own checker."""
    for record in GOOD:
        validate(record)
    for record, path in BAD:
        with pytest.raises(RecordError, match=path):
            validate(record)
    said = official(VALIDATE, list(LEXICONS.values()), [*GOOD, *(record for record, _ in BAD)])
    assert [not complaint for complaint in said] == [True] * len(GOOD) + [False] * len(BAD)


def test_other_records_pass() -> None:
    """A record of a type without a lexicon of ours is not checked."""
    validate({"$type": "app.bsky.feed.post", "text": 7})
    validate({"$type": "ac.foundation.dataset.schemaType"})
    validate({"$type": ["a"]})
    validate({})


def test_a_deep_record_is_refused() -> None:
    """Lists nested too deep are a RecordError, not a RecursionError."""
    kind: dict[str, Any] = {"$type": "ac.foundation.dataset.schemaType#primitive", "primitive": "a"}
    for _ in range(5_000):
        kind = {"$type": "ac.foundation.dataset.schemaType#array", "items": kind}
    with pytest.raises(RecordError, match="nested more than"):
        validate({**SCHEMA, "fields": [{"name": "a", "fieldType": kind}]})


def test_nothing_wrong_is_sent(client: AtmosphereClient) -> None:
    """A record that violates its lexicon is refused before it is sent."""
    with pytest.raises(RecordError, match=r"\$\.fields\[0\]\.name: expected a str"):
        client.put_record(
            SCHEMA["$type"],
            "bad",
            {**SCHEMA, "fields": [{**SCHEMA["fields"][0], "name": 1}]},
            replaces=None,
        )
    assert list(client.list_records(client.did, SCHEMA["$type"])) == []


def test_what_others_sent_wrong_is_refused(client: AtmosphereClient) -> None:
    """A published record that violates its lexicon is an error with the path."""
    bad = write_raw(client, SCHEMA["$type"], "bad", {**SCHEMA, "version": 1})
    with pytest.raises(SchemaError, match=r"/bad: \$\.version: expected a str, found 1"):
        AtmosphereIndex(client).get_schema(str(bad.uri))
    old = write_raw(client, DATASET["$type"], "bad", {**DATASET, "tags": ["t"] * 31})
    with pytest.raises(RecordError, match=r"/bad is not .*\$\.tags: expected at most 30"):
        AtmosphereIndex(client).get_dataset(str(old.uri))
