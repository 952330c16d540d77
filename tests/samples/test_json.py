"""Fields that hold any JSON value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.errors import DecodeError, EncodeError, RaggedFieldError
from atdata.samples.kinds import JsonValue, ListOf, MapOf
from atdata.testing.strategies import json_values


class Page(atdata.PackableSample):
    meta: atdata.Json
    number: int


class Spellings(atdata.PackableSample):
    one: Any
    two: dict[str, Any]
    three: list[Any]
    four: atdata.Json | None = None


@given(st.lists(json_values(), min_size=1, max_size=4))
def test_every_json_value_comes_back(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    """One by one and in batches, a value comes back equal and of the same types."""
    folder = tmp_path_factory.mktemp("json")
    pages = [Page(value, number) for number, value in enumerate(values)]
    dataset = atdata.write_samples(pages, folder / "pages.tar")
    [batch] = dataset.ordered(batch_size=len(pages))
    for found in ([page.meta for page in dataset.ordered()], batch.meta):
        assert repr(found) == repr(values)
    assert batch.number == list(range(len(values)))
    columns = {"meta": values, "number": np.arange(len(values))}
    atdata.write_columns(columns, folder / "columns.tar", sample_type=Page)
    assert (folder / "columns.tar").read_bytes() == (folder / "pages.tar").read_bytes()


def test_any_is_json() -> None:
    """Any, and dict and list of Any, are the spellings of people who do not look it up."""
    fields = {field.name: field for field in atdata.schema_of(Spellings).fields}
    assert fields["one"].kind == JsonValue()
    assert fields["two"].kind == MapOf(JsonValue())
    assert fields["three"].kind == ListOf(JsonValue())
    assert fields["four"].kind == JsonValue()
    assert fields["four"].optional


def test_values_that_equal_json_are_written() -> None:
    """Tuples and NumPy's numbers are written as the JSON values that they equal."""
    page = Page({"a": (1, np.int64(2)), "b": np.float32(0.5), "c": np.bool_(True)}, 1)
    read = Page.from_bytes(page.packed)
    assert repr(read.meta) == "{'a': [1, 2], 'b': 0.5, 'c': True}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, math.nan]}, r"\$\.meta\['a'\]\[1\]: expected a JSON value, found nan.*None"),
        ([math.inf], r"\$\.meta\[0\].*found inf"),
        ({"a": {1: 2}}, r"\$\.meta\['a'\]: expected str as a key, found int"),
        ({"raw": b"x"}, r"\$\.meta\['raw'\].*found bytes. JSON has no bytes"),
        ([np.zeros(3)], r"\$\.meta\[0\].*found ndarray. .*tolist"),
        ([{1, 2}], r"found set. .*sorted"),
        (2**64, r"\$\.meta: expected int, found .*64 bits"),
        (["\ud800"], r"\$\.meta\[0\].*lone surrogates"),
        ({"\ud800": 1}, r"lone surrogates"),
    ],
)
def test_what_is_no_json_is_refused(value: Any, message: str) -> None:
    """A value that JSON does not have is refused when it is written, with its path."""
    with pytest.raises(EncodeError, match=message):
        _ = Page(value, 1).packed


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def test_depth_has_a_limit() -> None:
    """A value is nested as deep as samples without a type are, and no deeper."""
    most = atdata.limits.sample_nesting
    page = Page(deep(most - 1), 1)
    assert Page.from_bytes(page.packed) == page
    assert atdata.DictSample.from_bytes(page.packed)["meta"] == page.meta
    with pytest.raises(EncodeError, match=r"limits\.sample_nesting"):
        _ = Page(deep(most), 1).packed
    hostile = b"\x82\xa4meta" + b"\x91" * 900 + b"\xc0\xa6number\x01"
    with pytest.raises(DecodeError, match=r"levels|deep"):
        Page.from_bytes(hostile)


@pytest.mark.parametrize(
    "wire",
    [
        msgpack.packb({"meta": [b"x"], "number": 1}),
        msgpack.packb({"meta": {"a": math.nan}, "number": 1}),
        msgpack.packb({"meta": {b"a": 1}, "number": 1}),
        msgpack.packb({"meta": msgpack.Timestamp(1, 0), "number": 1}),
        b"\x82\xa4meta\x82\xa1a\x01\xa1a\x02\xa6number\x01",
    ],
    ids=["bytes", "NaN", "key of bytes", "time", "key twice"],
)
def test_hostile_values_are_refused(wire: bytes, tmp_path: Path) -> None:
    """What no writer of ours writes is an error, one by one and in batches."""
    with pytest.raises(DecodeError):
        Page.from_bytes(wire)
    _tar(tmp_path / "x.tar", wire)
    with pytest.raises(DecodeError, match=r"x\.tar"):
        list(atdata.Dataset[Page](str(tmp_path / "x.tar")).ordered(batch_size=2))


def test_json_makes_no_column() -> None:
    """Asked for as an array, a field of JSON says how to get a list."""
    batch = atdata.SampleBatch(Page, ["a"], samples=[Page([1], 2)])
    with pytest.raises(RaggedFieldError, match=r"values\('meta'\)"):
        batch.column("meta")


def _tar(path: Path, wire: bytes) -> None:
    import io
    import tarfile

    with tarfile.open(path, "w") as tar:
        for name in ("a", "b"):
            info = tarfile.TarInfo(f"{name}.msgpack")
            info.size = len(wire)
            tar.addfile(info, io.BytesIO(wire))
