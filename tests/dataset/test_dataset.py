"""A dataset reads what was written, and its steps compose in every order."""

from __future__ import annotations

import copy
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DictSample, write_samples
from atdata.errors import (
    EncodeError,
    LengthError,
    NoDataUrlsError,
    OptionError,
    RaggedFieldError,
    SampleTypeError,
    ShardError,
    ShardNotFoundError,
    StoreError,
    UrlError,
)


@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    note: str | None = None


@atdata.packable
class Label:
    label: int


def digits(count: int) -> list[Digit]:
    return [
        Digit(np.full((2, 3), i % 256, np.uint8), i, None if i % 2 else f"n{i}")
        for i in range(count)
    ]


def write(folder: Path, count: int = 25, maxcount: int = 4) -> Dataset[Digit]:
    return write_samples(digits(count), folder / "digits.tar", maxcount=maxcount)


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    """Samples come back equal and in order from the dataset and from its path, braces included."""
    written = write(tmp_path)
    assert list(written) == digits(25)
    assert len(written.shard_list) == 7
    again = Dataset[Digit](str(tmp_path / "digits-{000000..000006}.tar"))
    assert list(again) == digits(25)
    assert list(Dataset[Digit](tmp_path)) == digits(25)
    assert list(Dataset[Digit](written.shard_list)) == digits(25)
    assert len(written) == len(again) == 25


def test_sizes_and_hashes_of_written_shards_are_known(tmp_path: Path) -> None:
    """Every shard has its samples, bytes and SHA-256, and they agree with the files."""
    written = write(tmp_path)
    known = written.known_shards()
    assert [shard.samples for shard in known] == [4, 4, 4, 4, 4, 4, 1]
    found = Dataset[Digit](tmp_path).describe_shards()
    assert found == known
    assert known[0].bytes == Path(known[0].url).stat().st_size


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    """Writing is deterministic: two runs give the same hashes."""
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    assert [s.sha256 for s in a.known_shards()] == [s.sha256 for s in b.known_shards()]


def test_batches_stack_arrays_and_list_the_rest(tmp_path: Path) -> None:
    """A batch has one array of shape (B, *S) a field of arrays, and lists for other fields."""
    batches = list(write(tmp_path).ordered(batch_size=10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert batches[0].image.shape == (10, 2, 3)
    assert batches[0].image.dtype == np.uint8
    assert batches[1].label == list(range(10, 20))
    assert batches[0].note[:2] == ["n0", None]
    assert [s for batch in batches for s in batch.samples] == digits(25)
    assert batches[0][3] == digits(4)[3]
    with pytest.raises(AttributeError, match="image, label, note"):
        _ = batches[0].pixels


def test_ragged_arrays_are_named_and_can_be_had_as_a_list(tmp_path: Path) -> None:
    """Arrays of several shapes cannot be stacked: the error names the samples, values() helps."""
    samples = [Digit(np.zeros(n, np.uint8), n) for n in (1, 2)]
    (batch,) = write_samples(samples, tmp_path / "r.tar").ordered(batch_size=8)
    with pytest.raises(RaggedFieldError, match=r"uint8 \(1,\).*uint8 \(2,\).*values\('image'\)"):
        _ = batch.image
    assert [len(v) for v in batch.values("image")] == [1, 2]
    assert batch.label == [1, 2]


STEPS: dict[
    str, tuple[Callable[[Dataset[Any]], Dataset[Any]], Callable[[list[Any]], list[Any]]]
] = {
    "filter": (
        lambda ds: ds.filter(lambda s: s.label % 3 != 0),
        lambda xs: [x for x in xs if x.label % 3 != 0],
    ),
    "map": (
        lambda ds: ds.map(_plus_one),
        lambda xs: [_plus_one(x) for x in xs],
    ),
    "as_type": (
        lambda ds: ds.as_type(Label),
        lambda xs: [Label(x.label) for x in xs],
    ),
}


def _plus_one(sample: Any) -> Any:
    changed = copy.copy(sample)
    changed.label = sample.label + 1
    return changed


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(0, 5),
)
def test_batching_never_changes_content(
    tmp_path: Path, names: list[str], batch_size: int | None, seed: int | None
) -> None:
    """Flattening batches equals reading one by one, for every chain of steps and every order."""
    dataset: Dataset[Any] = write(tmp_path)
    expected: list[Any] = digits(25)
    for name in names:
        dataset, expected = STEPS[name][0](dataset), STEPS[name][1](expected)
    if seed is None:
        read: Any = dataset.ordered(batch_size)
    else:
        read = dataset.shuffled(batch_size, seed=seed, buffer_samples=8, buffer_shards=3)
    found = list(read) if batch_size is None else [s for batch in read for s in batch.samples]
    if seed is not None:
        found.sort(key=lambda s: s.label)
        expected.sort(key=lambda s: s.label)
    assert found == expected
    assert dataset.sample_type is (Label if "as_type" in names else Digit)


def test_shuffling_repeats_with_its_seed(tmp_path: Path) -> None:
    """One seed is one order, another seed another; every sample comes once."""
    dataset = write(tmp_path)
    orders = [[s.label for s in dataset.shuffled(seed=seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(25))
    assert orders[0] != sorted(orders[0])


def test_a_filtered_dataset_has_no_length_but_lists(tmp_path: Path) -> None:
    """len() of a filtered dataset says why not; list() and truth do not need it."""
    kept = write(tmp_path).filter(lambda s: s.label < 3)
    with pytest.raises(LengthError, match="sum"):
        len(kept)
    assert kept
    assert [s.label for s in list(kept)] == [0, 1, 2]


def test_without_a_type_samples_are_dicts(tmp_path: Path) -> None:
    """A dataset without a type reads DictSamples, arrays decoded, and batches them too."""
    write(tmp_path)
    dataset = Dataset(tmp_path)
    assert dataset.sample_type is DictSample
    first = next(iter(dataset))
    assert first.image.shape == (2, 3)
    batch = next(dataset.ordered(batch_size=5))
    assert batch.image.shape == (5, 2, 3)
    assert batch.label == [0, 1, 2, 3, 4]


class InMemory:
    """A source with just the three members that the protocol asks for."""

    def __init__(self, shards: dict[str, bytes]) -> None:
        self._shards = shards

    @property
    def shard_list(self) -> list[str]:
        return list(self._shards)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for name in self._shards:
            yield name, self.open_shard(name)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return io.BytesIO(self._shards[shard_id])


def test_a_class_with_three_members_is_a_source(tmp_path: Path) -> None:
    """Dataset reads, shuffles, batches and counts over a user's own source."""
    files = {Path(p).name: Path(p).read_bytes() for p in write(tmp_path).shard_list}
    dataset = Dataset[Digit](InMemory(files))
    assert list(dataset) == digits(25)
    assert dataset.count() == 25
    assert sum(len(b) for b in dataset.shuffled(batch_size=4, seed=0)) == 25
    assert dataset.shard_list == list(files)


class Listed(InMemory):
    """A source that counts how often its shards are listed."""

    lists = 0

    @property
    def shard_list(self) -> list[str]:
        self.lists += 1
        return super().shard_list


def test_making_a_dataset_lists_no_shards(tmp_path: Path) -> None:
    """Not even to see that it is a source: listing a bucket takes requests."""
    source = Listed({"a.tar": Path(write(tmp_path).shard_list[0]).read_bytes()})
    dataset = Dataset[Digit](source).filter(bool)
    assert source.lists == 0
    assert len(list(dataset)) > 0
    assert source.lists > 0


@pytest.mark.parametrize("wrong", [int, "Digit", Digit(np.zeros(1, np.uint8), 1), None, 3])
def test_what_is_no_sample_type_is_refused(wrong: Any) -> None:
    """Dataset[…] with anything but a sample type says what to pass."""
    with pytest.raises(SampleTypeError):
        Dataset[wrong]


def test_annotations_may_say_any(tmp_path: Path) -> None:
    """``Dataset[Any]`` in an annotation that is evaluated is no error, and means no type."""
    write(tmp_path)
    assert next(iter(Dataset[Any](tmp_path))).label == 0


def test_a_cut_shard_is_an_error_and_not_an_early_end(tmp_path: Path) -> None:
    """A shard that was cut, even between two samples, raises with its name and offset."""
    shard = Path(write(tmp_path, 6, 6).shard_list[0])
    whole = shard.read_bytes()
    with tarfile.open(shard) as tar:
        third = tar.getmembers()[2].offset
    for cut in (third, third + 700, len(whole) - 1024):
        shard.write_bytes(whole[:cut])
        with pytest.raises(ShardError) as caught:
            list(Dataset[Digit](shard))
        assert str(shard) in str(caught.value)
        assert caught.value.offset is not None


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_below_one_is_refused(tmp_path: Path, size: Any) -> None:
    """batch_size is an int of 1 or more, and the error comes before anything is read."""
    with pytest.raises(OptionError, match="batch_size"):
        write(tmp_path).ordered(batch_size=size)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    """A path where nothing is, an empty folder and a command are each their own error."""
    with pytest.raises(ShardNotFoundError, match="no-such"):
        list(Dataset[Digit](str(tmp_path / "no-such.tar")))
    with pytest.raises(NoDataUrlsError):
        list(Dataset[Digit](tmp_path))
    with pytest.raises(NoDataUrlsError):
        Dataset[Digit]([])
    with pytest.raises(UrlError, match="never run"):
        Dataset[Digit]("pipe:cat x.tar")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """When a sample cannot be written, the error names it and no shard appears."""
    samples = digits(9)
    samples[7].label = "seven"  # type: ignore[assignment]
    with pytest.raises(EncodeError, match=r"sample 7: .*\$\.label"):
        write_samples(samples, tmp_path / "x.tar", maxcount=2)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoDataUrlsError):
        write_samples([], tmp_path / "x.tar")
    with pytest.raises(SampleTypeError, match="one type"):
        write_samples([*digits(1), Label(1)], tmp_path / "x.tar")
    with pytest.raises(SampleTypeError, match="packable"):
        write_samples([{"label": 1}], tmp_path / "x.tar")
    assert list(tmp_path.iterdir()) == []


def test_an_old_failure_keeps_the_old_shards(tmp_path: Path) -> None:
    """A failed write over an existing dataset leaves the existing one whole."""
    write(tmp_path)
    bad = [*digits(20), Label(1)]
    with pytest.raises(SampleTypeError):
        write_samples(bad, tmp_path / "digits.tar", maxcount=4)
    assert list(Dataset[Digit](tmp_path)) == digits(25)


def test_fewer_shards_than_before_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left-over shards of an earlier dataset would be read with the new ones: an error, which
    names their folder even if it is the current one."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=f"^{re.escape(str(tmp_path))} holds"):
        write(Path(), 10)
    with pytest.raises(StoreError, match=r"digits-000003\.tar"):
        write(tmp_path, 10)
    assert list(Dataset[Digit](tmp_path)) == digits(25)


def test_map_to_another_type_batches(tmp_path: Path) -> None:
    """map() takes the new type from its function's annotation."""

    def label_of(sample: Digit) -> Label:
        return Label(sample.label)

    mapped = write(tmp_path).map(label_of)
    assert mapped.sample_type is Label
    assert next(mapped.ordered(batch_size=3)).label == [0, 1, 2]
    assert [p.key for p in mapped.packed()][:2] == ["000000000", "000000001"]


def test_batches_share_no_values(tmp_path: Path) -> None:
    """What is done to one batch changes no other, kept or still to come."""
    samples = [Digit(np.full((20, 1000), i % 100, np.uint8), i) for i in range(700)]
    dataset = write_samples(samples, tmp_path / "x.tar", maxcount=300)
    for read in (dataset.ordered(batch_size=64), dataset.shuffled(batch_size=64)):
        kept = []
        for batch in read:
            assert (batch.image[:, 0, 0] == np.array(batch.label) % 100).all()
            batch.image[...] *= 2
            kept.append(batch)
        assert sum(map(len, kept)) == 700
        for batch in kept:
            assert (batch.image == 2 * (np.array(batch.label) % 100)[:, None, None]).all()
