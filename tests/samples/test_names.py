"""A field is what its attribute gives, whatever it is called."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata import DictSample, SampleBatch, write_samples
from atdata.errors import SampleTypeError

OF_OURS = [
    name
    for cls in (DictSample, SampleBatch, atdata.Dataset, dict)
    for name in dir(cls)
    if not name.startswith("__")
]
TAKEN = {"packed", "as_wds", "from_bytes", "from_data"}
"""What every sample of a type has; the class refuses a field of that name."""
NAMES = sorted(
    {*OF_OURS, "keys", "values", "samples", "fields", "column", "as_numpy", "sample_type", "_x"}
    | {"self", "cls", "data", "name", "field", "_columns", "_fields", "_keys", "_data", "_asdict"}
    | {"replace", "init", "default", "shape", "dtype", "to", "pin_memory", "sizes", "lengths"}
)


@pytest.mark.parametrize("name", sorted(set(NAMES) - TAKEN))
def test_a_field_of_a_batch_is_its_attribute(tmp_path: Path, name: str) -> None:
    """A type with a field of any name: read in batches, made of samples, copied, as columns."""
    cls = _type_with(name)
    samples = [cls(**{name: i, "other": "x"}) for i in range(3)]
    dataset = write_samples(samples, tmp_path / "s.tar", maxcount=2, fsync=False)
    read = dataset[:]
    made = SampleBatch(cls, ["a", "b", "c"], samples=samples)
    for batch in (read, made, copy.copy(read)):
        assert getattr(batch, name) == [0, 1, 2]
        assert SampleBatch.column(batch, name).tolist() == [0, 1, 2]
        assert SampleBatch.values(batch, name) == [0, 1, 2]
        assert set(SampleBatch.as_numpy(batch)) == {name, "other"}
        assert SampleBatch.fields(batch) == (name, "other")
        assert SampleBatch.samples(batch) == list(batch) == samples
        assert SampleBatch.sample_type(batch) is cls
        assert len(SampleBatch.keys(batch)) == 3
    assert next(dataset.batches(3))[name].tolist() == [0, 1, 2]


def _type_with(name: str) -> Any:
    fields = [(name, int), ("other", str)]
    return atdata.packable(
        dataclasses.make_dataclass("Named", fields, namespace={"__module__": __name__})
    )


@pytest.mark.parametrize("name", [*sorted(TAKEN), "__eq__", "__len__", "__dataclass_fields__"])
def test_names_that_no_field_can_have_are_refused_at_the_class(name: str) -> None:
    """What a sample or Python itself has under a name is not a field's."""
    with pytest.raises(SampleTypeError, match=rf"{name}.*Rename"):
        atdata.packable(type("Named", (), {"__annotations__": {name: int}, "__module__": __name__}))


FIELDS = st.dictionaries(
    st.sampled_from(NAMES) | st.text("abc_.", min_size=1, max_size=3),
    st.integers(-9, 9) | st.text(max_size=3),
    min_size=1,
    max_size=6,
)


@given(FIELDS)
def test_a_field_of_a_sample_without_a_type_is_its_attribute(fields: dict[str, Any]) -> None:
    """Whatever it hides: the class gives that, and what reads a sample is not misled."""
    sample = DictSample(fields)
    for name, value in fields.items():
        if not name.startswith("__"):
            assert getattr(sample, name) == value
        assert sample[name] == value
    assert dict(DictSample.items(sample)) == DictSample.to_dict(sample) == fields
    assert list(DictSample.keys(sample)) == list(sample) == list(fields)
    assert list(DictSample.values(sample)) == list(fields.values())
    assert DictSample.get(sample, "none of these") is None
    packed = DictSample.packed(sample)
    assert DictSample.as_wds(sample)["msgpack"] == packed
    assert DictSample.from_bytes(packed) == sample == DictSample(sample)
    assert pickle.loads(pickle.dumps(sample)) == copy.deepcopy(sample) == sample
    assert repr(sample).startswith("DictSample(")
    batch = SampleBatch(DictSample, ["a", "b"], samples=[sample, sample])
    for name, value in fields.items():
        if not name.startswith("__"):
            assert getattr(batch, name) == [value, value]


def test_samples_with_such_names_are_stored(tmp_path: Path) -> None:
    """Written, read one by one and in batches, they are the same."""
    samples = [DictSample(dict.fromkeys(NAMES, i)) for i in range(3)]
    dataset = write_samples(samples, tmp_path / "s.tar", fsync=False)
    assert list(dataset) == samples == list(dataset[:])
    columns = next(dataset.batches(3))
    assert all(columns[name].tolist() == [0, 1, 2] for name in NAMES)
