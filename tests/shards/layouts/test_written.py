"""What is written as members is read back equal, whatever the fields name; else it is refused."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import AtdataError, ShardError

ENDINGS = ["txt", "text", "json", "json.gz", "cls", "bin", "txt.gz", "mp", "msgpack.gz", "npy", "x"]
MEMBERS = st.sampled_from(ENDINGS) | st.builds(
    "{}.{}".format, st.sampled_from("xyz"), st.sampled_from(ENDINGS)
)
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, st.text(max_size=5)),
    (str | None, st.none() | st.just("caption")),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=5)),
    (dict[str, int], st.dictionaries(st.text(max_size=2), st.integers(0, 9), max_size=2)),
    (list[float], st.lists(st.floats(allow_nan=False), max_size=3)),
    (atdata.Json, st.none() | st.booleans() | st.lists(st.text(max_size=2), max_size=2)),
]


@given(st.data())
def test_what_is_written_is_read_equal_or_refused(data: st.DataObject) -> None:
    """Several names, the same name twice, packed members, optional fields."""
    fields, values = {}, {}
    for name in "xyz"[: data.draw(st.integers(1, 3))]:
        kind, value = data.draw(st.sampled_from(KINDS))
        names = data.draw(st.lists(MEMBERS, max_size=2))
        fields[name] = Annotated[kind, atdata.Member(*names)] if names else kind
        values[name] = data.draw(value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tar")
        try:
            made: Any = atdata.packable(type("Drawn", (), {"__annotations__": fields}))
            atdata.write_samples([made(**values)], path, layout="members")
        except AtdataError:
            assert not path.exists()
            return
        [read] = atdata.Dataset[made](path)
        assert {name: getattr(read, name) for name in fields} == values


@given(
    st.dictionaries(
        MEMBERS,
        st.integers(-9, 9)
        | st.text(max_size=3)
        | st.binary(max_size=3)
        | st.booleans()
        | st.none(),
        min_size=1,
        max_size=3,
    )
)
def test_fields_without_a_type_keep_their_values(fields: dict[str, Any]) -> None:
    """A name that does not say what its value is gets the ending that does."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder, "x.tar")
        try:
            atdata.write_samples([atdata.DictSample(fields)], path, layout="members")
        except AtdataError:
            assert not path.exists()
            return
        [read] = atdata.Dataset(path)
        got = dict(read.items())
        assert len(got) == len(fields)
        for name, value in fields.items():
            longer = [key for key in got.keys() - fields if key.rpartition(".")[0] == name]
            [found] = [name] if name in got else longer
            assert got[found] == value
            assert type(got[found]) is type(value)


def test_a_packed_member_stays_one() -> None:
    """Read without a type and written again: the same fields, and the same bytes each time."""
    sample = atdata.DictSample({"json.gz": {"a": 1}, "txt.gz": "caption", "npy.gz": np.arange(3)})
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("a.tar", "b.tar")]
        atdata.write_samples([sample], paths[0], layout="members")
        [read] = atdata.Dataset(paths[0])
        assert list(read) == list(sample)
        atdata.write_samples([read], paths[1], layout="members")
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("key", ["__meta__/1", "__x__/y/z"])
def test_keys_that_webdataset_leaves_out_are_refused(key: str, tmp_path: Path) -> None:
    """A reader would take them for notes about the shard, and the sample would be lost."""

    @atdata.packable
    class Keyed:
        __key__: str
        txt: str
        array: NDArray[np.uint8]

    sample = Keyed(key, "caption", np.zeros(2, np.uint8))
    with pytest.raises(ShardError, match="metadata"):
        atdata.write_samples([sample], tmp_path / "x.tar", layout="members")
    assert not list(tmp_path.iterdir())
