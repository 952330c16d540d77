"""How deep a document of the network may nest is our limit, the same on every Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import libipld
import msgpack
import pytest

from atdata import limits
from atdata._json_checks import in_schema
from atdata._nesting import text_is_deeper, value_is_deeper
from atdata._shardlist import expand_braces
from atdata.atmosphere.metadata import unpack_metadata
from atdata.atproto.dag import cid_of, decoded
from atdata.atproto.data_model import bytes_to_json, check_record
from atdata.atproto.session import _expiry
from atdata.errors import AtdataError, RecordError
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.net.documents import parse_json
from atdata.samples.dict_sample import DictSample
from atdata.samples.ndarray import read_header


def lists(depth: int) -> Any:
    """Lists in one another."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def maps(depth: int) -> Any:
    """Maps in one another."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def npy(depth: int) -> bytes:
    """The header of an array whose dtype is nested so deep, its own two brackets counted."""
    descr = "[('a', " * (depth // 2) + "'<i4'" + ")]" * (depth // 2)
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (), }}\n".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


Parser = Callable[[int], Any]
PARSERS: dict[str, tuple[Parser, int]] = {
    "JSON lists": (lambda n: parse_json(b"[" * n + b"]" * n), limits.json_nesting),
    "JSON objects": (lambda n: parse_json(json.dumps(maps(n)).encode()), limits.json_nesting),
    "DAG-CBOR": (lambda n: decoded(libipld.encode_dag_cbor(lists(n))), limits.record_nesting),
    "CID": (lambda n: cid_of(maps(n)), limits.record_nesting),
    "a record": (lambda n: check_record({"a": lists(n - 1)}), limits.record_nesting),
    "metadata": (
        lambda n: unpack_metadata(bytes_to_json(msgpack.packb(maps(n))), "$"),
        limits.record_nesting,
    ),
    "a description": (
        lambda n: DatasetSpec("a", metadata={"a": lists(n - 1)}).checked(),
        limits.record_nesting,
    ),
    "a schema's metadata": (lambda n: in_schema.json(lists(n), "$", 10**6), limits.record_nesting),
    "a sample": (
        lambda n: DictSample.from_bytes(msgpack.packb({"a": lists(n - 1)})),
        limits.sample_nesting,
    ),
    "a sample to be written": (lambda n: DictSample(a=lists(n - 1)).packed, limits.sample_nesting),
    "braces": (lambda n: expand_braces("{" * n + "a,b" + "}" * n), limits.brace_nesting),
    "the header of an array": (lambda n: read_header(npy(n - 1)), limits.sample_nesting),
}


@pytest.mark.parametrize(("parse", "most"), PARSERS.values(), ids=PARSERS)
def test_nesting_ends_at_the_limit(parse: Parser, most: int) -> None:
    """Up to the limit it is read; anything beyond is refused with an error of ours."""
    parse(most - 2)
    for depth in (most + 4, 300, 500):
        with pytest.raises((AtdataError, ValueError)) as caught:
            parse(depth)
        assert not isinstance(caught.value, RecursionError)


@pytest.mark.parametrize("depth", [950, 1_500, 5_000, 20_000, 1_000_000])
def test_what_interpreters_differ_in(depth: int) -> None:
    """Each gives up at a depth of its own; all of these are far beyond ours."""
    with pytest.raises(ValueError, match="nested"):
        parse_json(b"[" * depth + b"]" * depth)
    with pytest.raises(ValueError):
        parse_json(('{"a":' * min(depth, 100_000) + "1").encode("utf-16"))
    with pytest.raises(RecordError):
        decoded(b"\x81" * depth + b"\x01")
    token = b"[" * depth + b"]" * depth
    assert _expiry(f"a.{token.hex()}.c") == float("inf")


def test_brackets_in_text_do_not_count() -> None:
    """Strings may hold as many as they like, after quotes and backslashes too."""
    for text in ("[" * 500, '"' + "[" * 500, "\\" + "{" * 500, '\\"' + "[" * 500, "'[[" * 200):
        value = [text, {text: [text]}]
        assert parse_json(json.dumps(value).encode()) == value
    assert not text_is_deeper(b"[]" * 1000, 1)
    assert text_is_deeper(b"[[]]", 1)


def test_values_are_measured_without_recursion() -> None:
    """Lists and maps count, texts do not; empty ones count as others do."""
    for depth in (0, 1, 7):
        for value in (lists(depth), maps(depth), [lists(depth - 1), 1] if depth else "x"):
            assert not value_is_deeper(value, depth)
            assert depth == 0 or value_is_deeper(value, depth - 1)
    assert value_is_deeper([[]], 1)
    assert not value_is_deeper([[], {}], 2)
    assert value_is_deeper(lists(100_000), 64)
