"""The members of samples in a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.inside import WITH_MTIME, Group, Inside
from atdata.shards.tar.stored_members import StoredMembers, stored

FIELDS = st.lists(
    st.sampled_from(["jpg", "json", "txt", "left.png", "0"]), min_size=1, unique=True
).map(tuple)
MEMBER = st.tuples(st.sampled_from([BLOCK, WITH_MTIME]), st.integers(0, 3000))


@st.composite
def insides(draw: st.DrawFn) -> tuple[Inside, np.ndarray]:
    """Samples with members, some of them unknown, and the bytes of each."""
    count = draw(st.integers(0, 12))
    groups, ends = [], np.full(count, BLOCK)
    for row in range(count):
        if draw(st.integers(0, 4)) == 0:
            continue
        fields, at = draw(FIELDS), 0
        starts, stops = [], []
        for _ in fields:
            head, size = draw(MEMBER)
            starts.append(at + head)
            stops.append(at + head + size)
            at = -(-stops[-1] // BLOCK) * BLOCK
        ends[row] = stops[-1]
        groups.append(Group(np.array([row]), fields, np.array([starts]), np.array([stops])))
    return Inside.of_groups(groups, count), ends


def listed(inside: Inside) -> list[object]:
    return [inside.of_row(row) for row in range(len(inside))]


@settings(deadline=None)
@given(insides(), st.data())
def test_members_come_back_from_a_table(
    made: tuple[Inside, np.ndarray], data: st.DataObject
) -> None:
    """All of them, or those of any samples in any order."""
    inside, sizes = made
    found = StoredMembers(memoryview(stored(inside)), len(inside))
    assert listed(found.of_rows(np.arange(len(inside)), sizes)) == listed(inside)
    rows = np.array(data.draw(st.permutations(range(len(inside)))), np.int64)
    assert listed(found.of_rows(rows, sizes[rows])) == [inside.of_row(row) for row in rows]
    parts = np.array_split(rows, 3)
    assert listed(Inside.joined([inside.take(part) for part in parts])) == listed(inside.take(rows))


@settings(deadline=None)
@given(insides(), st.data())
def test_damaged_members_are_an_error_or_lie_in_their_samples(
    made: tuple[Inside, np.ndarray], data: st.DataObject
) -> None:
    """Whatever the bytes are, nothing outside of a sample is taken for a member of it."""
    inside, sizes = made
    raw = bytearray(stored(inside))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = StoredMembers(memoryview(bytes(raw)), len(inside)).of_rows(
            np.arange(len(inside)), sizes
        )
    except ShardError:
        return
    for row, size in enumerate(sizes.tolist()):
        known = found.of_row(row)
        if known is not None:
            spans = known[1]
            assert [start for start, _ in spans] == sorted(start for start, _ in spans)
            assert all(BLOCK <= start <= end <= size for start, end in spans)


@pytest.mark.parametrize("cut", [1, 8, 15])
def test_members_that_are_cut_short_are_an_error(cut: int) -> None:
    """Of a table that ends too early, nothing is used."""
    group = Group(np.array([0]), ("txt",), np.array([[512]]), np.array([[600]]))
    raw = stored(Inside.of_groups([group], 1))
    with pytest.raises(ShardError):
        StoredMembers(memoryview(raw[:-cut]), 1)


def test_samples_may_all_have_other_members() -> None:
    """Thousands of lists of names are stored, each of one sample."""
    count = 5_000
    places = np.full((1, 1), 512), np.full((1, 1), 600)
    groups = [Group(np.array([n]), (f"f{n}",), *places) for n in range(count)]
    found = StoredMembers(memoryview(stored(Inside.of_groups(groups, count))), count)
    inside = found.of_rows(np.arange(count), np.full(count, 600))
    assert inside.of_row(4_999) == (("f4999",), [(512, 600)])
    assert len(list(inside.groups())) == count
