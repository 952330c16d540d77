"""A dataset's description is copied unchanged, or refused with the path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import EncodeError, OptionError
from atdata.indexing.dataset_spec import DatasetSpec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
METADATA = st.none() | st.dictionaries(TEXT, VALUES, max_size=4)


@given(METADATA)
def test_checked_metadata_are_what_was_given(metadata: dict[str, Any] | None) -> None:
    """What msgpack can hold passes the check unchanged, as a copy."""
    checked = DatasetSpec("a", metadata=metadata).checked()
    assert checked.metadata == metadata
    assert metadata is None or checked.metadata is not metadata


def test_numpy_scalars_and_tuples_become_python() -> None:
    """Metadata of NumPy scalars and tuples are kept as the Python values that come back."""
    given_ = {"f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "t": (1, (2,))}
    checked = DatasetSpec("a", metadata=given_).checked()
    assert checked.metadata == {"f": 0.5, "i": 3, "b": True, "t": [1, [2]]}
    assert [type(value) for value in checked.metadata.values()] == [float, int, bool, list]


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"a": {"b": [1, object()]}}, r"metadata \$\.a\.b\[1\]: expected"),
        ({"a": {1: 2}}, r"\$\.a: expected str as a key"),
        ({"a": 2**64}, r"\$\.a: an integer has at most 64 bits"),
        ({"a": "\ud800"}, "surrogates"),
        ({"\ud800": 1}, "surrogates"),
        ({"a": np.zeros(3)}, "ndarray"),
        ({"a": {1, 2}}, "found set"),
    ],
    ids=["object", "key", "int", "str", "name", "array", "set"],
)
def test_metadata_that_cannot_be_kept(metadata: Any, path: str) -> None:
    """Metadata that would not come back are refused with the path of the value."""
    with pytest.raises(EncodeError, match=path):
        DatasetSpec("a", metadata=metadata).checked()


def test_metadata_nested_too_deep() -> None:
    """A structure without an end is refused, not followed."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(EncodeError, match="64 deep"):
        DatasetSpec("a", metadata=endless).checked()


@pytest.mark.parametrize(
    "bad",
    [
        {"tags": ["a", " "]},
        {"tags": ["x" * 129]},
        {"tags": ["a\nb"]},
        {"tags": 3},
        {"license": "x" * 257},
        {"license": "MIT\n"},
        {"description": "\udc00"},
        {"description": b"bytes"},
    ],
    ids=repr,
)
def test_words_that_cannot_be_kept(bad: dict[str, Any]) -> None:
    """Tags, licence and description that are not text of the right size are refused by name."""
    with pytest.raises(OptionError, match=next(iter(bad))):
        DatasetSpec("a", **bad).checked()
