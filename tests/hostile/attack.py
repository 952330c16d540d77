"""Feeds a file of the corpus to whatever reads such files, all of it in one process."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata import AtdataError, Dataset, DictSample
from atdata._refs import AtUri, parse_at_uri, parse_blob_ref, parse_name_ref, parse_schema_ref
from atdata._shardlist import LocatedUrl, expand_braces
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atmosphere.lenses import read_lens
from atdata.atmosphere.manifest import _read as manifest_shards
from atdata.atmosphere.manifest import followed
from atdata.atmosphere.parsing import read_entry
from atdata.atproto.reader import Record
from atdata.errors import SchemaNotFoundError
from atdata.net.http import get_json, open_url
from atdata.net.policy import STRANGER
from atdata.samples.ndarray import decode_array, looks_like_array
from atdata.schema.alt_record import from_alt_record
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.record import from_record
from atdata.schema.stubs import stub
from atdata.shards.reader import count_samples, read_blocks
from atdata.shards.tar.table import SampleTable
from tests.hostile.items import DID, LENS, RECORD, SCHEMA

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
URL = "https://public.example/a.tar"


@atdata.packable
class Thing:
    """A sample as a program would have it."""

    x: int | None = None
    image: NDArray[np.float32] | None = None
    words: list[str] | None = None


def attack(path: str, data: bytes, folder: Path) -> list[str]:
    """Read a file in every way that there is.

    Args:
        path: Below the corpus; its folder says what it is.
        data: Its bytes.
        folder: For a shard, which has to be a file.

    Returns:
        For each way, how it ended: the name of our error, or ``read``.

    Raises:
        Exception: Another error than ours, which is a fault.
    """
    warnings.simplefilter("ignore")
    ways: Iterable[Callable[[], object]] = _WAYS[path.partition("/")[0]](data, folder)
    ends = []
    for way in ways:
        try:
            way()
        except AtdataError as error:
            ends.append(type(error).__name__)
        else:
            ends.append("read")
    return ends


def _records(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    value = json.loads(data)
    uri = AtUri(DID, RECORD, "thing")
    yield lambda: _read(Dataset(read_entry(Record(uri, CID, value))))
    yield lambda: _read(Dataset(list(read_entry(Record(uri, CID, value)).data_urls[:1])))
    yield lambda: followed(read_entry(Record(uri, CID, value)))
    yield lambda: _read(Dataset([s.url for s in read_entry(Record(uri, CID, value)).shards[:3]]))


def _read(dataset: Any) -> None:
    list(islice(dataset.ordered(), 3))
    list(islice(dataset.shuffled(batch_size=2), 3))


def _schemas(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    value = json.loads(data)
    main = f"at://{DID}/{SCHEMA}/main"
    schemas = value if main in value else {main: value}

    def resolve(ref: str) -> Schema:
        if ref not in schemas:
            raise SchemaNotFoundError(f"There is no schema {ref}.")
        return schema_of(schemas[ref])

    def schema_of(record: Any) -> Schema:
        newer = record.get("$type", "").startswith("science.")
        return from_alt_record(record) if newer else from_record(record, resolve)

    yield lambda: str(schema_of(schemas[main]))
    yield lambda: _use(build_type(schema_of(schemas[main])))
    yield lambda: stub(schema_of(schemas[main]))


def _use(made: Any) -> None:
    repr(made)
    made.from_bytes(b"\x80")


def _urls(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    url = json.loads(data)["url"]
    yield lambda: _read(Dataset(LocatedUrl(url, stranger=True)))
    yield lambda: open_url(url, policy=STRANGER).read()
    yield lambda: get_json(url, policy=STRANGER)


def _refs(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    ref = json.loads(data)
    for parse in (parse_at_uri, parse_blob_ref, parse_name_ref, parse_schema_ref):
        yield lambda parse=parse: parse(ref)  # type: ignore[misc]
    yield lambda: len(expand_braces(ref)) and parse_at_uri(ref)


def _network(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: _read(Dataset(f"at://{DID}/blob/{CID}"))
    yield lambda: AtmosphereClient().get_record(f"at://{DID}/{RECORD}/thing")
    yield lambda: AtmosphereIndex(AtmosphereClient()).get_dataset(f"at://{DID}/{RECORD}/thing")
    yield lambda: AtmosphereIndex(AtmosphereClient()).decode_schema(f"at://{DID}/{SCHEMA}/thing")
    yield lambda: list(AtmosphereIndex(AtmosphereClient()).list_datasets(DID))


def _answers(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: _read(Dataset(LocatedUrl(URL, stranger=True)))
    yield lambda: get_json(URL, policy=STRANGER)
    yield from _network(data, folder)


def _shards(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    place = folder / "hostile.tar"
    place.write_bytes(data)
    for sample_type in (DictSample, Thing):
        yield lambda t=sample_type: list(Dataset.of(t, place).ordered())  # type: ignore[misc]
        yield lambda t=sample_type: list(Dataset.of(t, place).ordered(batch_size=4))  # type: ignore[misc]
        codec = sample_type.__atdata_codec__  # type: ignore[union-attr]
        yield lambda c=codec: [  # type: ignore[misc]
            (block.columns(), block.samples(), block.keys)
            for block in read_blocks(io.BytesIO(data), shard="hostile", codec=c)
        ]
    yield lambda: count_samples(place, shard="hostile")


def _payloads(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: DictSample.from_bytes(data)
    yield lambda: Thing.from_bytes(data)  # type: ignore[attr-defined]
    yield from _in_columns(data)


def _in_columns(payload: bytes) -> Iterable[Callable[[], object]]:
    """As many samples of one shard, which are decoded all at once."""
    from tests.hostile.shards import member

    good = b"\x81\xa1x\x01"
    tar = b"".join(member(b"%06d.msgpack" % i, payload if i % 10 == 9 else good) for i in range(20))
    for sample_type in (DictSample, Thing):
        codec = sample_type.__atdata_codec__  # type: ignore[union-attr]
        for member_of in ("columns", "samples"):
            yield lambda c=codec, m=member_of: [  # type: ignore[misc]
                getattr(block, m)()
                for block in read_blocks(io.BytesIO(tar + bytes(1024)), shard="h", codec=c)
            ]


def _arrays(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: decode_array(data)
    looks_like_array(data)
    payload = b"\x81\xa5image\xc6" + len(data).to_bytes(4, "big") + data
    yield lambda: Thing.from_bytes(payload)  # type: ignore[attr-defined]
    # To a sample without a type, bytes that are no array are bytes.
    DictSample.from_bytes(payload)
    yield from list(_in_columns(payload))[2:]


def _tables(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: _look_up(SampleTable.parse(data))


def _look_up(table: SampleTable) -> None:
    for row in range(min(len(table), 100)):
        table.find(table.key(row))


def _manifests(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    yield lambda: manifest_shards(DID, data)


def _lenses(data: bytes, folder: Path) -> Iterable[Callable[[], object]]:
    value = json.loads(data)
    yield lambda: str(read_lens(Record(AtUri(DID, LENS, "a"), CID, value)).getter)


_WAYS: dict[str, Callable[[bytes, Path], Iterable[Callable[[], object]]]] = {
    "records": _records,
    "schemas": _schemas,
    "urls": _urls,
    "refs": _refs,
    "identities": _network,
    "listings": _network,
    "answers": _answers,
    "shards": _shards,
    "payloads": _payloads,
    "arrays": _arrays,
    "tables": _tables,
    "manifests": _manifests,
    "lenses": _lenses,
}
