"""One function a format: takes any bytes, and fails only where a promise is broken."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

import atdata
from atdata import AtdataError, DictSample
from atdata._digest import cid_sha256
from atdata._refs import (
    AtUri,
    check_name,
    parse_at_uri,
    parse_blob_ref,
    parse_name_ref,
    parse_schema_ref,
)
from atdata._secrets import redacted
from atdata._shardlist import expand_braces, fold_urls
from atdata.atmosphere.manifest import _read as manifest_shards
from atdata.atmosphere.parsing import read_entry
from atdata.atproto.commits import changes_of
from atdata.atproto.reader import Record
from atdata.errors import NotFoundError
from atdata.net.policy import Policy, is_public
from atdata.samples.ndarray import decode_array
from atdata.samples.packable import same_value
from atdata.schema.alt_record import from_alt_record
from atdata.schema.build import build_type
from atdata.schema.evolve import compare
from atdata.schema.record import from_record, to_record
from atdata.schema.reflect import schema_of
from atdata.schema.stubs import stub
from atdata.shards.reader import read_blocks
from atdata.shards.tar.table import HEAD_BYTES, SampleTable
from atdata.sources.s3_access import S3Access
from fuzz import values
from fuzz.values import DID, Bytes, edited
from tests.hostile import commits

_BLOCK = 512
warnings.simplefilter("ignore")


@atdata.packable
class Thing:
    """A sample with a field of most sorts."""

    x: int | None = None
    y: float | None = None
    text: str | None = None
    image: NDArray[np.float32] | None = None
    words: list[str] | None = None
    more: dict[str, int] | None = None


def _outcome(act: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "read", act()
    except AtdataError as error:
        return type(error).__name__, None


def tar(data: bytes) -> None:
    """A shard reads the same as a file, as a stream, and one sample at a time."""
    if data[:1] and data[0] & 1:
        data = _with_checksums(data[1:])
    found = [_outcome(partial(_samples, io.BytesIO(data), size)) for size in (None, 1)]
    with tempfile.NamedTemporaryFile(dir=_MEMORY) as file:
        file.write(data)
        file.flush()
        found.append(_outcome(lambda: _samples(Path(file.name), None)))
    assert all(other == found[0] for other in found[1:]), [end for end, _ in found]


_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _samples(source: Any, rows: int | None) -> list[tuple[str, bytes]]:
    codec = DictSample.__atdata_codec__
    blocks = read_blocks(source, shard="fuzz", codec=codec, rows=rows)
    return [
        (key, bytes(payload))
        for block in blocks
        for key, payload in zip(block.keys, block.stored(), strict=True)
    ]


def _with_checksums(data: bytes) -> bytes:
    """The checksum of every block that looks like a header put right: few mutations keep it."""
    out = bytearray(data)
    for at in range(0, len(out) - _BLOCK + 1, _BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + _BLOCK])
    return bytes(out)


def msgpack(data: bytes) -> None:
    """Samples decoded many at once are those decoded one by one."""
    from tests.hostile.shards import member

    payloads = data.split(b"\xc1SPLIT") if b"\xc1SPLIT" in data else [data] * 9
    shard = b"".join(member(b"%06d.msgpack" % i, p) for i, p in enumerate(payloads))
    for sample_type in (DictSample, Thing):
        codec: Any = sample_type.__atdata_codec__  # type: ignore[union-attr]
        one_by_one = _outcome(partial(_one_by_one, payloads, codec))
        at_once = _outcome(partial(_decoded, shard, codec))
        assert one_by_one[0] == at_once[0], (one_by_one, at_once)
        if one_by_one[0] == "read":
            assert same_value(one_by_one[1], at_once[1])
        _outcome(partial(_columns, shard, codec))


def _one_by_one(payloads: list[bytes], codec: Any) -> list[Any]:
    return [codec.unpack(payload) for payload in payloads]


def _decoded(shard: bytes, codec: Any) -> list[Any]:
    blocks = read_blocks(io.BytesIO(shard + bytes(1024)), shard="fuzz", codec=codec)
    return [sample for block in blocks for sample in block.samples()]


def _columns(shard: bytes, codec: Any) -> list[Any]:
    blocks = read_blocks(io.BytesIO(shard + bytes(1024)), shard="fuzz", codec=codec)
    return [block.columns() for block in blocks]


def array(data: bytes) -> None:
    """An array that is read has the bytes that are there, and is the one that NumPy reads."""
    end, found = _outcome(lambda: decode_array(data))
    if end != "read":
        return
    assert found.nbytes <= len(data)
    assert not found.dtype.hasobject
    if data[:6] == npy.MAGIC_PREFIX:
        try:
            theirs = npy.read_array(io.BytesIO(data), allow_pickle=False)
        except (ValueError, TypeError, SyntaxError):
            return
        # Of str without characters NumPy makes str of one, where there is none to be.
        assert theirs.dtype == found.dtype or not found.size
        assert theirs.tobytes() == found.tobytes()


def record(data: bytes) -> None:
    """A dataset's record gives an entry whose URLs are gated, or an error of ours."""
    source = Bytes(data)
    templates = (values.RECORD, values.BLOBS, values.NEWER_ENTRY)
    value = edited(templates[source.number(3)], source)
    if not isinstance(value, dict):
        return
    uri = AtUri(DID, str(values.RECORD["$type"]), "a")
    end, entry = _outcome(lambda: read_entry(Record(uri, "cid", value)))
    if end == "read":
        repr(entry)
        for url in [*entry.data_urls, *(shard.url for shard in entry.shards)]:
            assert url.stranger
        if entry.shards:
            assert expand_braces(entry.data_urls[0]) == [shard.url for shard in entry.shards]


def schema(data: bytes) -> None:
    """A schema's record makes a type whose schema is the same, or an error of ours."""
    source = Bytes(data)
    newer = source.number(2)
    value = edited(values.NEWER_SCHEMA if newer else values.SCHEMA, source)
    inner = edited(values.SCHEMA, source)

    def resolve(ref: str) -> Any:
        if ref.endswith("a"):
            return from_record(inner, resolve)
        raise NotFoundError(ref)

    end, found = _outcome(lambda: from_alt_record(value) if newer else from_record(value, resolve))
    if end != "read":
        return
    str(found)
    to_record(found, lambda nested: f"at://{DID}/{values.SCHEMA['$type']}/a")
    end, made = _outcome(lambda: build_type(found))
    if end == "read":
        assert not compare(schema_of(made), found)
        compile(stub(found), "<stub>", "exec")
        _outcome(lambda: made.from_bytes(b"\x80"))


def ref(data: bytes) -> None:
    """What is parsed as a reference prints as one that means the same; folded braces unfold."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_at_uri, parse_blob_ref, parse_name_ref):
        end, found = _outcome(partial(parse, text))
        # Unseen marks that were pasted along are dropped: what is printed is read as it is.
        assert end != "read" or str(parse(str(found))) == str(found)
    _outcome(lambda: parse_schema_ref(text))
    _outcome(lambda: check_name(text))
    _outcome(lambda: cid_sha256(text))
    _outcome(lambda: expand_braces(text, characters=100_000))
    urls = [url for url in text.split("\n") if url]
    if urls:
        assert expand_braces(fold_urls(urls)) == urls


def url(data: bytes) -> None:
    """An untrusted URL that passes has one of three schemes and a plain host."""
    text = data.decode("utf-8", "surrogateescape")
    end, _ = _outcome(lambda: Policy(allow_private=False).check_url(text))
    assert end != "read" or text.lower().startswith(("https://", "s3://", "at://"))
    redacted(text)
    _outcome(lambda: S3Access(text))
    if len(data) in (4, 16):
        import ipaddress

        address = ipaddress.ip_address(data)
        assert not is_public(str(address)) or not (address.is_private or address.is_loopback)


def table(data: bytes) -> None:
    """A table of samples whose checksums are right says what can be, or is refused."""
    raw = bytearray(data)
    if len(raw) >= HEAD_BYTES:
        raw[:12] = b"ATDTABLE\x01\0\0\0"
        raw[HEAD_BYTES - 8 : HEAD_BYTES - 4] = zlib.crc32(raw[HEAD_BYTES:]).to_bytes(4, "little")
        raw[HEAD_BYTES - 4 : HEAD_BYTES] = zlib.crc32(raw[: HEAD_BYTES - 4]).to_bytes(4, "little")
    end, found = _outcome(lambda: SampleTable.parse(bytes(raw)))
    if end == "read":
        for row in range(len(found)):
            end, key = _outcome(partial(found.key, row))
            assert end != "read" or found.find(key) is not None
            assert 0 <= found.offsets[row] <= found.head.shard_bytes
            assert 0 <= found.offsets[row] + found.sizes[row] <= found.head.shard_bytes


def manifest(data: bytes) -> None:
    """A manifest names shards, or is refused."""
    source = Bytes(data)
    value = edited(values.MANIFEST, source)
    _outcome(lambda: manifest_shards(DID, json.dumps(value).encode()))
    _outcome(lambda: manifest_shards(DID, data))


def commit(data: bytes) -> None:
    """What an account has signed is a record, or refused; so are blocks as they come."""
    _outcome(lambda: changes_of({"blocks": data, "repo": DID, "ops": []}, b"", ()))
    if not data:
        return
    kind = str(values.RECORD["$type"])
    body = commits.message(DID, kind, data[1:], level=data[0] % 3)
    end, changes = _outcome(lambda: changes_of(body, commits.KEY, (kind,)))
    for change in changes if end == "read" else ():
        assert isinstance(change.value, dict)
        _outcome(lambda: read_entry(Record(change.uri, change.cid, change.value)))  # noqa: B023


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (tar, msgpack, array, record, schema, ref, url, table, manifest, commit)
}


def seeds() -> dict[str, list[bytes]]:
    """Target → bytes to begin with: the hostile files, and good ones."""
    from tests.hostile.make import items

    kinds = {"shards": "tar", "payloads": "msgpack", "arrays": "array", "tables": "table"}
    found: dict[str, list[bytes]] = {name: [] for name in TARGETS}
    for item in items():
        if target := kinds.get(item.path.partition("/")[0]):
            found[target].append(item.data[:4096])
        elif item.path.startswith("refs/"):
            found["ref"].append(str(json.loads(item.data)).encode("utf-8", "replace")[:500])
        elif item.path.startswith("urls/"):
            found["url"].append(json.loads(item.data)["url"].encode("utf-8", "replace")[:500])
    good = Thing(x=1, y=0.5, text="a", image=np.ones((2, 3), np.float32), words=["b"], more={})
    found["msgpack"].append(good.packed)  # type: ignore[attr-defined]
    for word in values.WORDS:
        found["ref"].append(word.encode("utf-8", "replace"))
    car = bytes.fromhex("3aa265726f6f747381d82a58250001711220") + bytes(32)
    found["commit"].append(car + b"gversion\x01")
    made = commits.encode(values.RECORD)
    tree = commits.node(f"{values.RECORD['$type']}/{commits.RKEY}", made)
    found["commit"] += [b"\0" + made, b"\1" + tree, b"\2" + commits.commit(DID, tree, "a")]
    found["manifest"].append(bytes(8))
    return found
