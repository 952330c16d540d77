"""What each field becomes for PyTorch: a tensor, or a list where torch has no such thing."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, write_samples
from atdata.errors import AtdataError, RaggedFieldError

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch installs it and runs these tests"
)


class Part(Enum):
    TRAIN = "train"
    TEST = "test"


@atdata.packable
class Inner:
    x: int


@atdata.packable
class Sorts:
    """Every sort of field that is no array."""

    text: str
    raw: bytes
    when: datetime
    part: Part
    word: Literal["a", "b"]
    names: list[str]
    counts: dict[str, int]
    inner: Inner
    maybe: float | None
    number: int
    ratio: float
    flag: bool


def sorts(count: int) -> list[Sorts]:
    when = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        Sorts(
            *(f"t{i}", bytes([i, 0]), when.replace(day=i + 1), Part.TEST, "a", ["x"] * i),
            *({"n": i}, Inner(i), None if i % 2 else i / 2, i, i / 4, i % 3 == 0),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_every_sort_of_field_has_one_form(tmp_path: Path, workers: int) -> None:
    """Numbers are tensors, everything else a list of the values, in every batch."""
    samples = sorts(7)
    dataset = write_samples(samples, tmp_path / "s.tar", maxcount=2)
    place = 0
    for batch in dataset.to_torch(3, num_workers=workers):
        for name in ("number", "ratio", "flag"):
            assert isinstance(batch[name], torch.Tensor)
        assert [batch[n].dtype for n in ("number", "ratio", "flag")] == [
            torch.int64,
            torch.float64,
            torch.bool,
        ]
        for row in range(len(batch["text"])):
            for name, column in batch.items():
                value = column[row].item() if isinstance(column, torch.Tensor) else column[row]
                assert value == getattr(samples[place], name)
            place += 1
    assert place == 7
    for batch in dataset.to_torch(3, fill={"maybe": -1.0}, num_workers=workers):
        assert batch["maybe"].dtype == torch.float64
        assert batch["maybe"][~batch["maybe.mask"]].tolist() == [-1.0] * int(
            (~batch["maybe.mask"]).sum()
        )


@pytest.mark.parametrize("options", [{}, {"fill": {"maybe": 0.0}}])
def test_batches_of_any_size_have_the_same_forms(tmp_path: Path, options: Any) -> None:
    """Whatever is None in them, shuffled or not, with workers or without."""
    dataset = write_samples(sorts(7), tmp_path / "s.tar", maxcount=2)
    loaders = [dataset.to_torch(size, shuffle=size > 1, **options) for size in (1, 2, 3, 7)]
    loaders.append(dataset.filter(lambda s: s.number > 0).to_torch(1, num_workers=2, **options))
    found = [
        {name: getattr(column, "dtype", type(column)) for name, column in batch.items()}
        for loader in loaders
        for batch in loader
    ]
    assert all(one == found[0] for one in found)
    assert found[0]["maybe"] == (torch.float64 if options else list)


@atdata.packable
class Any_:  # noqa: N801
    """An array of any dtype."""

    x: NDArray[Any]
    n: int


TENSORS = {
    **{name: getattr(torch, name) for name in ("bool", "int8", "uint8", "int16", "int32", "int64")},
    **{name: getattr(torch, name) for name in ("float16", "float32", "float64", "complex64")},
    **{name: getattr(torch, name) for name in ("uint16", "uint32", "uint64", "complex128")},
    **{name: getattr(torch, name) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")},
    ">f4": torch.float32,
    ">u8": torch.uint64,
    "Q": torch.uint64,
}
OTHERS = ["longdouble", "clongdouble", "datetime64[s]", "timedelta64[ms]", "U4", "S4", "V3"]
OTHERS += ["i4,f8", "float8_e3m4"]


def dtype_of(name: str) -> Any:
    return np.dtype(getattr(ml_dtypes, name, name))


def arrays(name: str, count: int, *, ragged: bool) -> list[Any]:
    dtype = dtype_of(name)
    found = []
    for i in range(count):
        size = i % 3 + 1 if ragged else 3
        if dtype.names or (dtype.kind == "V" and name.startswith("V")):
            found.append(np.zeros((size, 2), dtype))
        else:
            found.append(np.full((size, 2), i, np.int8).astype(dtype))
    return found


def same(tensor: Any, array: Any, dtype: Any) -> bool:
    made: Any = tensor.to(torch.float64) if dtype.is_floating_point else tensor
    expected = array.astype(np.float64) if dtype.is_floating_point else array
    return bool(tensor.dtype == dtype and np.array_equal(made.numpy(), expected))


@pytest.mark.parametrize("name", [*TENSORS, *OTHERS])
def test_every_dtype_is_a_tensor_or_an_array_in_a_list(tmp_path: Path, name: str) -> None:
    """What torch has is a tensor of the values; what it has not stays NumPy's, in a list."""
    values = arrays(name, 5, ragged=False)
    dataset = write(tmp_path, values)
    for batch in (next(iter(dataset.to_torch(5))), next(iter(dataset.to_torch(5, num_workers=1)))):
        if name in TENSORS:
            assert same(batch["x"], np.stack(values), TENSORS[name])
        else:
            assert isinstance(batch["x"], list)
            for found, value in zip(batch["x"], values, strict=True):
                assert isinstance(found, np.ndarray)
                assert found.dtype == value.dtype
                assert np.array_equal(found, value)


@pytest.mark.parametrize("name", [*TENSORS, *OTHERS])
def test_every_dtype_of_arrays_that_differ(tmp_path: Path, name: str) -> None:
    """As a list each is one, padded and joined too, or an error that names the field."""
    values = arrays(name, 5, ragged=True)
    dataset = write(tmp_path, values)
    for workers in (0, 1):
        batch = next(iter(dataset.to_torch(5, ragged="list", num_workers=workers)))
        for found, value in zip(batch["x"], values, strict=True):
            if name in TENSORS:
                assert same(found, value, TENSORS[name])
            else:
                assert found.dtype == value.dtype
                assert np.array_equal(found, value)
    for way in ("pad", "flat"):
        loader = dataset.to_torch(5, ragged=way)
        if name not in TENSORS:
            with pytest.raises(RaggedFieldError, match=r"x: .*dtype.*'list'"):
                next(iter(loader))
        elif way == "flat":
            assert same(next(iter(loader))["x"], np.concatenate(values), TENSORS[name])
        else:
            assert same(next(iter(loader))["x"][4][:2], values[4], TENSORS[name])


def test_an_error_of_a_worker_is_ours(tmp_path: Path) -> None:
    """Padded strings: the worker's error comes to the loop and names the field."""
    dataset = write(tmp_path, arrays("U4", 5, ragged=True))
    with pytest.raises(AtdataError, match="x: torch has no dtype"):
        next(iter(dataset.to_torch(5, ragged="pad", num_workers=1)))


def test_arrays_that_torch_does_not_take_as_they_are(tmp_path: Path) -> None:
    """Turned round, read-only, of every second item, or without dimensions: the same values."""
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    kinds = [base[::-1], base[:, ::2], frozen, base.T, np.array(3, np.float32), base[:0]]
    kinds.append(np.array([1, 2], np.int8))
    dataset = write(tmp_path, [np.zeros(1)] * len(kinds))
    mapped = dataset.map(lambda sample: {"x": kinds[sample.n]})
    for batch in (*mapped.to_torch(7, ragged="list"), *mapped.to_torch(4, ragged="list")):
        assert all(isinstance(x, torch.Tensor) for x in batch["x"])
    (batch,) = mapped.to_torch(7, ragged="list")
    for found, value in zip(batch["x"], kinds, strict=True):
        np.testing.assert_array_equal(found.numpy(), value)


def write(folder: Path, values: list[Any]) -> Dataset[Any_]:
    """A dataset of these arrays; of dtypes that are not stored, made from others as it is read."""
    stored = [v if not hasattr(ml_dtypes, v.dtype.name) else np.zeros(1) for v in values]
    samples = [Any_(value, i) for i, value in enumerate(stored)]
    dataset = write_samples(samples, folder / "x.tar")
    if all(a is b for a, b in zip(stored, values, strict=True)):
        return dataset
    return dataset.map(lambda sample: Any_(values[sample.n], sample.n), Any_)
