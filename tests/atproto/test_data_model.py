"""What a record may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.data_model import (
    MAX_RECORD,
    bytes_from_json,
    bytes_to_json,
    check_record,
    pack_metadata,
    unpack_metadata,
)
from atdata.errors import RecordError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), plain))
def test_plain_values_pass(record: dict[str, Any]) -> None:
    """Every record of text, booleans, integers of 53 bits, lists and dicts may be sent."""
    check_record(record)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "no floats"),
        (float("nan"), "no floats"),
        (2**53, "53 bits"),
        (-(2**53), "53 bits"),
        (b"raw", "cannot hold bytes"),
        ({1: "a"}, "str as a key"),
        ("\ud800", "surrogates"),
        (object(), "cannot hold object"),
        ({"a", "b"}, "cannot hold set"),
    ],
)
def test_what_servers_would_change_in_silence(value: object, said: str) -> None:
    """What a server would refuse, or store as something else, is refused with its path."""
    with pytest.raises(RecordError, match=said) as caught:
        check_record({"deep": [{"inside": value}]})
    assert str(caught.value).startswith("$.deep[0].inside")


def test_too_deep() -> None:
    """A record nested without end is refused, not followed."""
    value: Any = "x"
    for _ in range(100):
        value = [value]
    with pytest.raises(RecordError, match="nested more than"):
        check_record({"a": value})


def test_too_large() -> None:
    """A record over the limit says how large it is and what to do."""
    check_record({"a": "x" * (MAX_RECORD - 100)})
    with pytest.raises(RecordError, match="maxsize="):
        check_record({"a": "é" * (MAX_RECORD // 2)})


@given(st.binary(max_size=50))
def test_bytes(data: bytes) -> None:
    """Bytes come back from their JSON form."""
    assert bytes_from_json(bytes_to_json(data), "$") == data


@pytest.mark.parametrize(
    "value", [None, "abc", {}, {"$bytes": 1}, {"$bytes": "?"}, {"$bytes": "a"}]
)
def test_what_is_no_bytes(value: object) -> None:
    """What is not the JSON form of bytes is refused with its path."""
    with pytest.raises(RecordError, match=r"^\$\.metadata"):
        bytes_from_json(value, "$.metadata")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=5),
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.binary(max_size=5)
        | st.lists(st.floats(allow_nan=False), max_size=3),
    )
)
def test_metadata(metadata: dict[str, Any]) -> None:
    """Metadata come back as they were, floats and bytes included, though records have neither."""
    assert unpack_metadata(bytes_to_json(pack_metadata(metadata)), "$.metadata") == metadata


def test_metadata_too_large() -> None:
    """Metadata over the limit are refused, written or read."""
    with pytest.raises(RecordError, match="100,000"):
        pack_metadata({"a": "x" * 100_001})
    with pytest.raises(RecordError, match="100,000"):
        unpack_metadata(bytes_to_json(b"x" * 100_001), "$.metadata")


@pytest.mark.parametrize(
    "packed", [b"", b"\x01", b"\x81\x01\x02", b"\xc1", b"\x93\x01", b"\x91" * 9999]
)
def test_metadata_that_make_no_sense(packed: bytes) -> None:
    """A stranger's bytes that are no msgpack map with str keys are refused with their path."""
    with pytest.raises(RecordError, match=r"^\$\.metadata"):
        unpack_metadata(bytes_to_json(packed), "$.metadata")
