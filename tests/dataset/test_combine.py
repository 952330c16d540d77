"""Verbs that combine datasets, or make several samples of one: what lists give, however read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, TokenRow, write_samples
from atdata.errors import (
    EncodeError,
    LengthError,
    NotSendableError,
    OptionError,
    SampleTypeError,
    SkippedSamplesWarning,
)
from tests.dataset.verb_model import Row, check, numbers, resumed, rows, ways

A, B, C = rows(7, 3), rows(4, first=20), rows(5, 1, first=40)
LISTS = {"a": [*range(10)], "b": [*range(20, 24)], "c": [*range(40, 46)]}
PARTS = {"a": A, "b": B, "c": C}


def not_third(row: Row) -> bool:
    return row.number % 3 != 0


@st.composite
def parts(draw: st.DrawFn) -> tuple[list[Dataset[Row]], list[list[int]]]:
    """Datasets, some of them filtered or cut, and lists of their numbers."""
    datasets, lists = [], []
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3)):
        how = draw(st.sampled_from(["whole", "filtered", "some"]))
        dataset, found = PARTS[name], LISTS[name]
        if how == "filtered":
            dataset, found = dataset.filter(not_third), [n for n in found if n % 3]
        elif how == "some":
            dataset, found = dataset.choose(slice(None, None, -2)), found[::-2]
        datasets.append(dataset)
        lists.append(found)
    return datasets, lists


@settings(max_examples=25)
@given(parts(), ways())
def test_concat_is_one_after_the_other(made: Any, way: dict[str, Any]) -> None:
    """All samples of all datasets, in the order of the datasets."""
    (first, *others), lists = made
    check(first.concat(*others), [*chain(*lists)], way)


@settings(max_examples=25)
@given(parts(), st.sampled_from(["all", "first"]), ways())
def test_interleave_takes_turns(made: Any, stop: Any, way: dict[str, Any]) -> None:
    """One of each in turn, until the first ends, or until all have."""
    (first, *others), lists = made
    expected = []
    for turn in range(max(map(len, lists))):
        for found in lists:
            if turn < len(found):
                expected.append(found[turn])
            elif stop == "first":
                break
        else:
            continue
        break
    check(first.interleave(*others, stop=stop), expected, way)


def pair(left: Row, right: Row) -> Row:
    return Row(100 * left.number + right.number, left.name + right.name)


@settings(max_examples=25)
@given(ways(), st.booleans())
def test_zip_pairs_samples_by_position(way: dict[str, Any], filtered: bool) -> None:
    """The first with the first, the second with the second; filters count what they keep."""
    left, right = A.take(6), C
    lists = [*range(6)], LISTS["c"]
    if filtered:
        left, right = left.filter(not_third), right.filter(not_third)
        lists = [1, 2, 4, 5], [40, 41, 43, 44]
    zipped = left.zip(right, pair)
    assert zipped.sample_type is Row
    check(zipped, [100 * a + b for a, b in zip(*lists, strict=True)], way)


def test_datasets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Other types and lengths, and what is no dataset, are named."""

    @atdata.packable
    class Other:
        number: int

    other: Any = write_samples([Other(1)], tmp_path / "other.tar")
    for verb in (A.concat, A.interleave):
        with pytest.raises(SampleTypeError, match="Other, Row"):
            verb(other)
        with pytest.raises(OptionError, match="expected a dataset"):
            verb([1])  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="whole datasets"):
            verb(B.split(0, 2))
    with pytest.raises(TypeError):
        _ = A + "b"  # type: ignore[operator]
    with pytest.raises(OptionError, match="'first' or 'all'"):
        A.interleave(B, stop="last")  # type: ignore[arg-type]
    with pytest.raises(LengthError, match=r"10, 4 samples.*take\(4\)"):
        list(A.zip(B, pair))
    with pytest.raises(EncodeError, match=r"zip\(.*bad.*\).*number"):
        list(A.zip(A, bad, Row))


def bad(left: Row, right: Row) -> Any:
    return {"number": None, "name": left.name}


def several(row: Row) -> Iterator[Row]:
    for number in range(row.number % 4):
        yield Row(10 * row.number + number, row.name)


@settings(max_examples=20)
@given(parts(), st.booleans(), ways())
def test_flat_map_loses_and_repeats_nothing(made: Any, typed: bool, way: dict[str, Any]) -> None:
    """None, one or several of each sample, in their order, however read and resumed."""
    (first, *others), lists = made
    dataset = first.concat(*others).flat_map(several, Row if typed else None)
    check(dataset, [10 * n + i for n in [*chain(*lists)] for i in range(n % 4)], way)


@pytest.mark.parametrize("wrong", [None, "text", b"bytes", {"number": 1}, Row(1, ""), 3])
def test_flat_map_takes_lists_only(wrong: Any) -> None:
    """What is no list of samples is an error that names the function and the sample."""

    def function(row: Row) -> Any:
        return wrong

    for read in (lambda d: list(d), lambda d: list(d.shuffled(seed=0)), lambda d: d.count()):
        with pytest.raises(SampleTypeError, match=r"flat_map\(.*function\), sample '0.*found"):
            read(A.flat_map(function))


def test_flat_map_checks_fields_and_functions() -> None:
    """A missing field is named; a count that changes is an error; a lambda is not sendable."""
    with pytest.raises(EncodeError, match=r"flat_map\(.*\), sample .*name"):
        list(A.flat_map(lambda row: [{"number": 1}], Row))  # type: ignore[list-item]
    calls: list[int] = []

    def more_each_time(row: Row) -> list[Row]:
        calls.append(1)
        return [row] * len(calls)

    with pytest.raises(LengthError, match="same each time"):
        list(A.flat_map(more_each_time).shuffled(seed=0))
    with pytest.raises(NotSendableError, match="flat_map"):
        A.flat_map(lambda row: [row]).__reduce__()


@atdata.packable
class Text:
    tokens: NDArray[np.uint16]
    number: int = 0


def texts(lengths: list[int]) -> Dataset[Text]:
    """Documents whose tokens are all different, from 1 on."""
    from tempfile import mkdtemp

    ends = np.cumsum(lengths)
    made = [
        Text(np.arange(end - n + 1, end + 1).astype(np.uint16))
        for n, end in zip(lengths, ends.tolist(), strict=True)
    ]
    path = Path(mkdtemp(prefix="atdata-test-")) / "texts.tar"
    return write_samples(made, path, maxcount=4, fsync=False)


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.integers(1, 8),
    st.booleans(),
    st.none() | st.just(60_000),
    ways(),
)
def test_packing_loses_no_token(
    lengths: list[int], length: int, split: bool, eos: int | None, way: dict[str, Any]
) -> None:
    """Every token of every document is in one row, in its place in its document, and its row has
    the number of the document; all else is padding."""
    packed = texts(lengths).pack(length=length, pad=-1, eos=eos, split=split)
    added = 0 if eos is None else 1
    ends = np.cumsum(lengths).tolist()
    expected = sorted(
        (token if token <= end else eos, token - (end - n) - 1)
        for n, end in zip(lengths, ends, strict=True)
        for token in range(end - n + 1, end + 1 + added)
    )

    def content(row: TokenRow) -> list[tuple[int, int]]:
        assert row.tokens.shape == row.segments.shape == row.positions.shape == (length,)
        used = row.segments > 0
        assert (row.tokens[~used] == -1).all()
        assert (row.positions[~used] == 0).all()
        assert not (np.diff(used.astype(int)) > 0).any()
        numbered = row.segments[used]
        assert numbered[0] == 1
        assert (np.diff(numbered) >= 0).all()
        # Within a document, tokens and places follow each other.
        same = np.diff(numbered) == 0
        assert (np.diff(row.positions[used])[same] == 1).all()
        return list(zip(row.tokens[used].tolist(), row.positions[used].tolist(), strict=True))

    found = [content(row) for row in packed]
    assert sorted(pair for row in found for pair in row) == expected
    if split:
        assert all(len(row) == length for row in found[:-1])
    else:
        # Only documents longer than a row are cut.
        begun = sum(int((row.positions[row.segments > 0] == 0).sum()) for row in packed)
        assert begun == sum(1 for n in lengths if n + added)
        ended = [row.positions[np.flatnonzero(row.segments)[-1]] for row in packed]
        assert all(isinstance(int(place), int) for place in ended)
        assert len(found) <= sum(-(-(n + added) // length) for n in lengths)
    assert packed.count() == len(packed) == len(found)
    both = [content(row) for row in packed.shuffled(seed=1, window=3)]
    assert sorted(both) == sorted(found)
    assert sorted(map(content, _resumed(packed, way))) == sorted(found)
    for batch in packed.batches(1000):
        assert batch["tokens"].shape == (len(found), length)


def _resumed(dataset: Dataset[TokenRow], way: dict[str, Any]) -> list[TokenRow]:
    return resumed(dataset, way, items=list)


def test_documents_that_cannot_be_packed_are_named() -> None:
    """Bad lengths and tokens are errors that say which sample has them."""
    documents = texts([3, 4])
    for options in ({"length": 0}, {"length": 2.5}, {"length": 4, "pad": "x"}, {"length": True}):
        with pytest.raises(OptionError, match="pack"):
            documents.pack(**options)
    with pytest.raises(OptionError, match="no field 'words'"):
        documents.pack("words", length=3)
    for given_tokens in ([0.5], "text", [[1]], None, 3, [None], [2**70]):

        def function(text: Text, tokens: Any = given_tokens) -> Any:
            return tokens

        with pytest.raises(EncodeError, match=r"pack\(.*\), sample '000000000'"):
            list(documents.pack(function, length=3))
    assert numbers(documents.pack(lambda text: [7], length=2).map(len_of, int)) == [2]


def len_of(row: TokenRow) -> int:
    return len(row.tokens)


def test_no_tokens_are_no_rows() -> None:
    """Documents without tokens give no rows."""
    assert list(texts([0, 0]).pack(length=4)) == []
    assert len(texts([0, 0]).pack(length=4, split=False)) == 0


def fails_for_some(row: Row) -> Row:
    if row.number % 4 == 1:
        raise ValueError(f"no {row.number}")
    return {"name": row.name} if row.number % 4 == 2 else row  # type: ignore[return-value]


def fails_in_lists(row: Row) -> list[Row]:
    return [fails_for_some(row)] * 2


@settings(max_examples=10)
@given(ways())
def test_functions_that_fail_are_skipped_and_counted(way: dict[str, Any]) -> None:
    """With on_error="skip", errors and missing fields leave samples out, and all others stay."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", SkippedSamplesWarning)
        check(A.map(fails_for_some, Row, on_error="skip"), [0, 3, 4, 7, 8], way)
        twice = A.flat_map(fails_in_lists, Row, on_error="skip")
        check(twice, [0, 0, 3, 3, 4, 4, 7, 7, 8, 8], way)
    texts = {str(one.message) for one in warned}
    assert any("map(fails_for_some): 4 of 7 samples" in text for text in texts)
    assert any("sample '000000001' of " in t and "0.tar, at byte" in t for t in texts)
    assert any("ValueError: no 1" in text for text in texts)
    assert any("flat_map(fails_in_lists): " in text for text in texts)


def test_errors_are_raised_unless_they_are_skipped() -> None:
    """An error of the function itself is not ours; another word than skip is refused."""
    with pytest.raises(ValueError, match="no 1"):
        list(A.map(fails_for_some))
    with pytest.raises(ValueError, match="no 1"):
        list(A.flat_map(fails_in_lists))
    wrong: Any = "ignore"
    with pytest.raises(OptionError, match='"raise" or "skip"'):
        A.map(fails_for_some, on_error=wrong)
    with pytest.raises(OptionError, match='"raise" or "skip"'):
        A.flat_map(fails_in_lists, on_error=wrong)


@pytest.mark.parametrize("wanted", [slice(2, 2), [], slice(100, 200)])
def test_no_samples_of_several_datasets_are_an_empty_batch(wanted: Any) -> None:
    """As of one dataset: a batch of the type, without samples."""
    for several in (A + B, A.interleave(B)):
        batch = several[wanted]
        assert (len(batch), batch.sample_type) == (0, Row)
