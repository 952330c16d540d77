"""Metadata of datasets in records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atmosphere.metadata import pack_metadata, unpack_metadata
from atdata.atproto.data_model import bytes_to_json
from atdata.errors import RecordError


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
    """Metadata reads back equal, floats and bytes included, though records have no floats."""
    assert unpack_metadata(bytes_to_json(pack_metadata(metadata)), "$.metadata") == metadata


def test_metadata_too_large() -> None:
    """Metadata over the limit is refused, written or read."""
    with pytest.raises(RecordError, match="100,000"):
        pack_metadata({"a": "x" * 100_001})
    with pytest.raises(RecordError, match="100,000"):
        unpack_metadata(bytes_to_json(b"x" * 100_001), "$.metadata")


@pytest.mark.parametrize(
    "packed", [b"", b"\x01", b"\x81\x01\x02", b"\xc1", b"\x93\x01", b"\x91" * 9999]
)
def test_malformed_metadata(packed: bytes) -> None:
    """Bytes that are not a msgpack map with str keys are refused with their path."""
    with pytest.raises(RecordError, match=r"^\$\.metadata"):
        unpack_metadata(bytes_to_json(packed), "$.metadata")
