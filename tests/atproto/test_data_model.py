"""What a record may hold, and its size."""

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
    """A record of text, booleans, 53-bit integers, lists and dicts can be sent."""
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
def test_values_that_servers_would_change(value: object, said: str) -> None:
    """A value that a server would refuse, or store as another, is refused with its path."""
    with pytest.raises(RecordError, match=said) as caught:
        check_record({"deep": [{"inside": value}]})
    assert str(caught.value).startswith("$.deep[0].inside")


def test_too_deep() -> None:
    """A record that is nested too deep is refused."""
    value: Any = "x"
    for _ in range(100):
        value = [value]
    with pytest.raises(RecordError, match="nested more than"):
        check_record({"a": value})


def test_too_large() -> None:
    """A record over the limit says how large it is and what to do."""
    check_record({"a": "x" * (MAX_RECORD - 100)})
    with pytest.raises(RecordError, match="at most 100,000"):
        check_record({"a": "é" * (MAX_RECORD // 2)})


@given(st.binary(max_size=50))
def test_bytes(data: bytes) -> None:
    """Bytes survive their JSON form."""
    assert bytes_from_json(bytes_to_json(data), "$") == data


@pytest.mark.parametrize(
    "value", [None, "abc", {}, {"$bytes": 1}, {"$bytes": "?"}, {"$bytes": "a"}]
)
def test_invalid_bytes(value: object) -> None:
    """A value that is not the JSON form of bytes is refused with its path."""
    with pytest.raises(RecordError, match=r"^\$\.metadata"):
        bytes_from_json(value, "$.metadata")
