"""The published lexicons say what our records say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from atdata._refs import is_rkey
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.dataset.dataset import Dataset
from atdata.testing.indexes import Scene
from tests.atmosphere.conftest import Digit

FOLDER = files("atdata.atmosphere") / "lexicons"
LEXICONS = {path.name: json.loads(path.read_text()) for path in FOLDER.iterdir()}


def definition(ref: str, home: str) -> dict[str, Any]:
    nsid, _, name = ref.partition("#")
    found: dict[str, Any] = LEXICONS[f"{nsid or home}.json"]["defs"][name or "main"]
    return found.get("record", found)


def faults(value: Any, said: dict[str, Any], home: str, path: str = "$") -> Iterator[str]:
    """Where a value is not what its lexicon says."""
    kind = said["type"]
    if kind == "ref":
        home = said["ref"].partition("#")[0] or home
        yield from faults(value, definition(said["ref"], home), home, path)
    elif kind == "union":
        if value["$type"] not in said["refs"]:
            yield f"{path}: {value['$type']}"
            return
        home = value["$type"].partition("#")[0]
        yield from faults(value, definition(value["$type"], home), home, path)
    elif kind == "object":
        known = said["properties"]
        yield from (f"{path}: lacks {key}" for key in said["required"] if key not in value)
        for key, item in value.items():
            if key in known:
                yield from faults(item, known[key], home, f"{path}.{key}")
            elif key != "$type":
                yield f"{path}.{key} is not in the lexicon"
    elif kind == "array":
        for i, item in enumerate(value):
            yield from faults(item, said["items"], home, f"{path}[{i}]")
    else:
        types: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "bytes": dict}
        if not isinstance(value, types.get(kind, object)):
            yield f"{path}: {value!r} is no {kind}"


@pytest.mark.parametrize("name", sorted(LEXICONS))
def test_each_file_is_a_lexicon(name: str) -> None:
    """A file is named after its lexicon, and every reference in it leads somewhere."""
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


def test_our_records_follow_them(
    index: AtmosphereIndex, digits: Dataset[Digit], public_digits: Dataset[Digit]
) -> None:
    """Schemas of every kind of field, and datasets of both storages, are as published."""
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
    for uri in uris:
        value = client.get_record(uri).value
        home = value["$type"]
        assert list(faults(value, definition(home, home), home)) == []
