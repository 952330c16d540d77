"""Entries: kept and read back, to the last detail."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata._digest import cid_sha256
from atdata._shardlist import LocatedUrl, ShardInfo, expand_braces
from atdata.errors import BackendError, NoDataUrlsError, OptionError, SchemaNotFoundError
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.local.backends.base import EntryRow
from atdata.local.entry import content_cid, from_row, to_row
from tests.local.conftest import Digit, MakeDigits

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
SHARDS = st.builds(
    ShardInfo,
    url=TEXT,
    samples=st.none() | st.integers(0, 2**53),
    bytes=st.none() | st.integers(0, 2**53),
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
)
TIMES = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
ENTRIES = st.builds(
    LocalDatasetEntry,
    name=TEXT,
    schema_ref=TEXT,
    shards=st.lists(SHARDS, min_size=1, max_size=4).map(tuple),
    metadata=METADATA,
    description=st.none() | TEXT,
    tags=st.lists(TEXT, max_size=3).map(tuple),
    license=st.none() | TEXT,
    endpoint=st.none() | TEXT,
    region=st.none() | TEXT,
    stranger=st.booleans(),
    created_at=TIMES,
    revision=st.integers(1, 2**31 - 1),
)


@given(ENTRIES)
def test_an_entry_is_read_as_it_was_kept(entry: LocalDatasetEntry) -> None:
    """Every entry comes back from its row, equal in every field, and the row is ASCII."""
    row = to_row(entry)
    assert row.document.isascii()
    assert "\0" not in row.document
    again = from_row(row)
    assert again == entry
    assert again.created_at.utcoffset() == entry.created_at.utcoffset()


def test_the_cid_is_of_the_content_alone() -> None:
    """Name, time and place do not change the CID; schema, hashes and their order do."""
    one, two = (ShardInfo(f"/{n}.tar", sha256=n * 64) for n in "ab")
    ref = "atdata://local/sampleSchema/Digit@1.0.0"
    cid = content_cid(ref, [one, two])
    assert cid_sha256(cid)
    assert content_cid(ref, [one.at("s3://b/x.tar"), two]) == cid
    assert LocalDatasetEntry("any", ref, (one, two), description="D").cid == cid
    assert content_cid(ref, [two, one]) != cid
    assert content_cid(ref.replace("1.0.0", "1.0.1"), [one, two]) != cid
    unknown = ShardInfo("/a.tar")
    assert content_cid(ref, [unknown]) != content_cid(ref, [unknown.at("/b.tar")])


@given(st.lists(TEXT.filter(bool), min_size=1, max_size=5, unique=True))
def test_one_url_says_all_shards(urls: list[str]) -> None:
    """The one data URL expands to the URL of every shard, and remembers where they are."""
    shards = tuple(map(ShardInfo, urls))
    entry = LocalDatasetEntry("n", "ref", shards, endpoint="http://s3", region="r", stranger=True)
    (url,) = entry.data_urls
    assert expand_braces(url) == urls
    assert isinstance(url, LocatedUrl)
    assert (url.endpoint, url.region, url.stranger) == ("http://s3", "r", True)


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"schema": 1}', '{"schema":"a","shards":[3]}']
)
def test_a_damaged_row_is_told(document: str) -> None:
    """A row that makes no sense names the dataset and what to do."""
    with pytest.raises(BackendError, match="'digits'"):
        from_row(EntryRow("digits", 1, "cid", document))


def test_entries_can_be_sent_to_other_processes() -> None:
    """An entry is equal and hashable after pickling."""
    entry = LocalDatasetEntry("n", "ref", (ShardInfo("/a.tar"),), {"a": [datetime.now(UTC).year]})
    again = pickle.loads(pickle.dumps(entry))
    assert again == entry
    assert hash(again) == hash(entry)
    assert isinstance(again, atdata.IndexEntry)


REF = "atdata://local/sampleSchema/Digit@1.0.0"


def test_an_entry_is_made_of_urls() -> None:
    """Name, schema and URLs make an entry; the same ones make an equal one with the same CID."""
    urls = ["https://example.org/a-{000..002}.tar", "https://example.org/b.tar"]
    one = LocalDatasetEntry(name="digits", schema_ref=REF, data_urls=urls)
    other = LocalDatasetEntry("digits", REF, urls)
    assert one == other
    assert hash(one) == hash(other)
    assert one.cid == other.cid == content_cid(REF, one.shards)
    assert [shard.url for shard in one.shards] == [
        *(f"https://example.org/a-00{n}.tar" for n in range(3)),
        "https://example.org/b.tar",
    ]
    assert expand_braces(one.data_urls[0]) == [shard.url for shard in one.shards]
    single = LocalDatasetEntry(name="digits", schema_ref=REF, data_urls=["s3://b/c.tar"])
    assert single.data_urls == ["s3://b/c.tar"]
    assert single != one
    assert single.cid != one.cid
    assert pickle.loads(pickle.dumps(one)) == one
    for wrong in ({"data_urls": "a.tar"}, {"data_urls": ["a"], "shards": ["b"]}, {"shards": [1]}):
        with pytest.raises(OptionError):
            LocalDatasetEntry(name="digits", schema_ref=REF, **wrong)


@given(ENTRIES)
def test_the_urls_of_an_entry_make_its_shards_again(entry: LocalDatasetEntry) -> None:
    """What is known of shards, their place and their mark goes with the URLs of an entry."""
    made = LocalDatasetEntry(entry.name, entry.schema_ref, data_urls=entry.data_urls)
    assert (made.shards, made.cid) == (entry.shards, entry.cid)
    assert made.stranger == entry.stranger
    assert made.endpoint == (entry.endpoint or None)


def test_an_entry_made_by_hand_is_inserted(index: LocalIndex, digits: MakeDigits) -> None:
    """add_entry takes an entry: what it says is recorded, checked as a dataset is."""
    dataset = digits()
    ref = index.publish_schema(Digit)
    made = LocalDatasetEntry(
        name="mine",
        schema_ref=ref,
        data_urls=["https://example.org/{0..3}.tar"],
        metadata={"a": 1},
        tags=["t"],
    )
    added = index.add_entry(made)
    assert added == made == index.get_dataset("mine")
    local = LocalDatasetEntry("local", ref, data_urls=dataset.shard_list)
    again = index.add_entry(local, name="other", license="MIT")
    assert (again.name, again.license) == ("other", "MIT")
    assert list(atdata.Dataset[Digit](again)) == list(dataset)
    assert all(shard.sha256 for shard in again.shards)
    with pytest.raises(NoDataUrlsError):
        index.add_entry(LocalDatasetEntry("empty", ref))
    with pytest.raises(SchemaNotFoundError):
        index.add_entry(LocalDatasetEntry("none", REF.replace("Digit", "None"), ["a.tar"]))
    with pytest.raises(OptionError, match="name="):
        index.add_entry(dataset)
