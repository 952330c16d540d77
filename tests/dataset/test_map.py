"""What functions given to map() return: all of it, in every way of reading, checked if declared."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DictSample, mix, write_samples
from atdata.errors import (
    AtdataError,
    DecodeError,
    EncodeError,
    OptionError,
    SampleTypeError,
    SkippedSamplesWarning,
)


@atdata.packable
class Photo:
    pixels: NDArray[np.float32]
    label: int
    note: str | None = None


@pytest.fixture
def photos(tmp_path: Path) -> Dataset[Photo]:
    samples = [Photo(np.full(2, i, np.float32), i) for i in range(7)]
    return write_samples(samples, tmp_path / "photos.tar", maxcount=3)


WAYS: dict[str, Callable[[Dataset[Any]], Iterator[Any]]] = {
    "one by one": lambda d: d.ordered(),
    "shuffled": lambda d: d.shuffled(seed=0),
    "in batches": lambda d: (s for batch in d.ordered(3) for s in batch),
    "shuffled batches": lambda d: (s for batch in d.shuffled(3, seed=0) for s in batch),
    "by position": lambda d: (d[i] for i in range(7)),
    "by positions": lambda d: iter(d[:].samples),
    "split": lambda d: d.split(0, 1).shuffled(seed=1),
    "mixed": lambda d: mix([d]).shuffled(),
}


def untyped(photo: Photo) -> dict[str, Any]:
    return {"label": photo.label, "half": photo.label / 2, "more": f"n{photo.label}"}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_nothing_is_declared_of_keeps_its_fields(
    photos: Dataset[Photo], way: Callable[[Dataset[Any]], Iterator[Any]]
) -> None:
    """A dict with fields that the dataset's type has not comes out as it went in."""
    found = sorted(way(photos.map(untyped)), key=lambda made: made["label"])
    assert found == [{"label": i, "half": i / 2, "more": f"n{i}"} for i in range(7)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_their_columns_have_all_fields(photos: Dataset[Photo], shuffle: bool) -> None:
    """Batches of such dicts have a column for every key, filtered or mixed as well."""
    for dataset in (photos.map(untyped), photos.map(untyped).filter(bool)):
        for batch in dataset.batches(3, shuffle=shuffle, seed=0):
            assert set(batch) == {"label", "half", "more"}
            assert batch["more"] == [f"n{label}" for label in batch["label"].tolist()]
            assert batch["half"].dtype == np.float64
    taken = photos.map(untyped)[2:4]
    assert (taken.fields, taken.more, taken.half) == (
        ("label", "half", "more"),
        ["n2", "n3"],
        [1.0, 1.5],
    )


def test_numbers_of_numpy_keep_their_dtype(photos: Dataset[Photo]) -> None:
    """A function's np.float32 is a column of float32, its np.float64 that of a float."""
    mapped = photos.map(
        lambda photo: {
            "a": np.float32(photo.label),
            "b": np.float64(photo.label) if photo.label % 2 else 0.5,
            "c": np.uint8(photo.label),
            "d": np.bool_(photo.label),
            "e": photo.pixels.sum(dtype=np.longdouble),
        }
    )
    columns = next(mapped.batches(7))
    dtypes = [columns[name].dtype for name in "abcde"]
    assert dtypes == [np.float32, np.float64, np.uint8, np.bool_, np.longdouble]
    assert columns["c"].tolist() == list(range(7))
    assert mapped[:2].a == [0, 1]


def test_fields_of_some_results_are_kept(photos: Dataset[Photo]) -> None:
    """A key that only some dicts have is a field of the batches that have one of those."""
    mapped = photos.map(lambda photo: {"label": 1, "odd": "x"} if photo.label % 2 else {"label": 0})
    assert mapped[:3].odd == [None, "x", None]
    assert next(mapped.batches(7))["odd"].count("x") == 3
    assert mapped[[0]].fields == ("label",)


@atdata.packable
class Score:
    label: int
    score: float
    note: str | None = None


def test_another_type_is_found_out(photos: Dataset[Photo]) -> None:
    """Samples of a type that was not declared are batched as that type."""
    mapped = photos.map(lambda photo: Score(photo.label, 0.5, "x"))
    batch = mapped[:]
    assert (batch.sample_type, batch.note) == (Score, ["x"] * 7)
    assert set(next(mapped.batches(7))) == {"label", "score", "note"}
    assert mapped.batches(2, ragged={"score": "list"}).__next__()["score"] == [0.5, 0.5]
    with pytest.raises(OptionError, match="pixels"):
        next(mapped.batches(2, ragged={"pixels": "pad"}))
    for other in (lambda photo: photo.label, lambda photo: photo if photo.label else {}):
        with pytest.raises(SampleTypeError, match="always the same"):
            photos.map(other)[:]


def good(photo: Photo) -> Score:
    return {"label": np.int64(photo.label), "score": 1}  # type: ignore[return-value]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dict_with_the_declared_fields_becomes_a_sample(
    photos: Dataset[Photo], way: Callable[[Dataset[Any]], Iterator[Any]]
) -> None:
    """Where a type is declared, by annotation or argument, a dict is made a sample of it."""
    for mapped in (photos.map(good), photos.map(lambda photo: good(photo), Score)):
        found = sorted(way(mapped), key=lambda made: made.label)
        assert found == [Score(i, 1.0) for i in range(7)]
        assert type(found[0].label) is int


def test_samples_without_a_type_can_be_declared(photos: Dataset[Photo], tmp_path: Path) -> None:
    """As DictSample, dicts with any fields are samples, which can be written."""
    mapped = photos.map(untyped, DictSample)  # type: ignore[arg-type]
    assert mapped[3] == DictSample(label=3, half=1.5, more="n3")
    assert next(mapped.batches(2))["more"] == ["n0", "n1"]
    assert list(write_samples(mapped, tmp_path / "d.tar")) == list(mapped)
    with pytest.raises(SampleTypeError, match="expected DictSample, found int"):
        list(photos.map(lambda photo: photo.label, DictSample))  # type: ignore[arg-type, return-value]


def misspelt(photo: Photo) -> Score:
    return {"lable": photo.label, "score": 0.5}  # type: ignore[return-value]


def incomplete(photo: Photo) -> Score:
    return {"label": photo.label}  # type: ignore[return-value]


def of_another_sort(photo: Photo) -> Score:
    return Score(photo.label, "0.5")  # type: ignore[arg-type]


def of_another_type(photo: Photo) -> Score:
    return photo  # type: ignore[return-value]


WRONG: list[tuple[Any, str, type[AtdataError]]] = [
    (misspelt, "lable", EncodeError),
    (incomplete, "score", EncodeError),
    (of_another_sort, "score", EncodeError),
    (of_another_type, "found Photo", SampleTypeError),
]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("function", "named", "error"), WRONG)
def test_results_are_checked_against_the_declared_type(
    photos: Dataset[Photo],
    function: Any,
    named: str,
    error: type[AtdataError],
    way: Callable[[Dataset[Any]], Iterator[Any]],
) -> None:
    """A field that is misspelt, missing or of another type names function, sample and field."""
    with pytest.raises(error, match=rf"map\({function.__name__}\), sample '00000.*{named}"):
        list(way(photos.map(function)))
    with pytest.raises(error, match=rf"map\({function.__name__}\).*{named}"):
        next(photos.map(function).batches(2))


def test_a_declared_class_of_pythons_is_checked(photos: Dataset[Photo]) -> None:
    """map(f, int) gives ints."""
    assert list(photos.map(lambda photo: photo.label, int)) == list(range(7))
    with pytest.raises(SampleTypeError, match="expected int, found str"):
        list(photos.map(lambda photo: str(photo.label), int))  # type: ignore[arg-type,return-value]


@atdata.packable
class Scan:
    image: atdata.Image
    label: int


def mean(scan: Scan) -> float:
    return float(scan.image.decode().mean())


def picture() -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (2, 2)).save(out, "png")
    return out.getvalue()


DECODING: dict[str, Callable[[Dataset[Scan]], Dataset[Any]]] = {
    "map": lambda d: d.map(lambda scan: {"label": scan.label, "mean": mean(scan)}),
    "filter": lambda d: d.filter(lambda scan: mean(scan) >= 0),
    "with_column": lambda d: d.with_column("mean", mean, float),
    "after another": lambda d: d.filter(lambda scan: scan.label > 0).with_column("m", mean, float),
}


@pytest.mark.parametrize("verb", DECODING)
def test_broken_picture_in_a_function_is_found_and_skipped(tmp_path: Path, verb: str) -> None:
    """A function that cannot decode a sample: the error says which, on_error="skip" skips it."""
    data = [picture(), picture(), b"no picture", picture()]
    samples = [Scan(atdata.Image(image), i) for i, image in enumerate(data)]
    path = tmp_path / "scans.tar"
    whole = write_samples(samples, path)
    key = whole[2:3].keys[0]
    with pytest.raises(DecodeError, match="no picture of a known format") as caught:
        list(DECODING[verb](whole).ordered())
    assert (caught.value.key, caught.value.shard) == (key, str(path))
    assert caught.value.offset is not None

    left = DECODING[verb](Dataset[Scan](path, on_error="skip"))
    with pytest.warns(SkippedSamplesWarning, match=f"^1 of .*{key}"):
        assert {s["label"] if isinstance(s, dict) else s.label for s in left} - {0} == {1, 3}
    with pytest.warns(SkippedSamplesWarning):
        assert sum(len(batch) for batch in left.ordered(3)) == (2 if "after" in verb else 3)


def test_broken_picture_in_a_function_of_flat_map_is_found(tmp_path: Path) -> None:
    path = tmp_path / "scans.tar"
    whole = write_samples([Scan(atdata.Image(b"no picture"), 0)], path)
    with pytest.raises(DecodeError) as caught:
        list(whole.flat_map(lambda scan: [mean(scan)]))
    assert (caught.value.key, caught.value.shard) == (whole[:].keys[0], str(path))
