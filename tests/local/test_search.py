"""Full-text search: the same answers from every backend, right after every change."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atdata
from atdata.errors import BackendError, OptionError
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.local.search_terms import entry_terms, query_words, word_terms, words
from tests.local.conftest import Digit, MakeDigits
from tests.services.redis import RedisServer
from tests.services.redis import start as start_redis


@atdata.packable
class Photo:
    """Another small sample."""

    text: str


def names(found: list[LocalDatasetEntry]) -> list[str]:
    return [entry.name for entry in found]


@pytest.fixture
def filled(index: LocalIndex, digits: MakeDigits, tmp_path: Path) -> LocalIndex:
    """Five datasets that share words, tags, licences and schemas."""
    fill(index, digits, tmp_path)
    return index


def fill(index: LocalIndex, digits: MakeDigits, folder: Path) -> None:
    """Insert those five, and label one."""
    said: list[tuple[str, dict[str, Any]]] = [
        ("mnist-train", {"description": "Handwritten digits.", "tags": ["vision", "small"]}),
        ("street_numbers", {"description": "Digits on houses in Århus", "license": "MIT"}),
        ("digits", {"tags": ["vision"], "license": "CC-BY-4.0"}),
        ("手書き数字", {"description": "日本の手書き数字", "license": "mit"}),
    ]
    for label, (name, details) in enumerate(said):
        index.insert_dataset(digits(label), name=name, **details)
    photos = atdata.write_samples([Photo("x")], folder / "photos.tar")
    index.insert_dataset(photos, name="PhotoAlbum2024", tags=["Vision"])
    index.label("digits", "1.0.0", index.get_dataset("digits"))


def test_words_are_found_wherever_they_were_said(filled: LocalIndex) -> None:
    """Names, descriptions, tags and classes are searched, in capitals or not, accents or not."""
    assert names(filled.search("HANDWRITTEN")) == ["mnist-train"]
    assert names(filled.search("arhus")) == ["street_numbers"]
    assert names(filled.search("ÅRHUS")) == ["street_numbers"]
    assert names(filled.search("train mnist")) == ["mnist-train"]
    assert names(filled.search("album")) == ["PhotoAlbum2024"]
    assert names(filled.search("photoalbum2024")) == ["PhotoAlbum2024"]
    assert names(filled.search("数字")) == ["手書き数字"]
    assert names(filled.search("houses vision")) == []


def test_the_best_come_first(filled: LocalIndex) -> None:
    """A word that is the name comes before one that is the class, and before its beginning."""
    assert names(filled.search("digits"))[0] == "digits"
    assert sorted(names(filled.search("digit"))) == sorted(
        ["mnist-train", "street_numbers", "digits", "手書き数字"]
    )
    assert names(filled.search("digit", limit=1)) == ["digits"]


def test_labels_are_exact(filled: LocalIndex) -> None:
    """Tags, licences and schemas are found whole, capitals apart, alone or with words."""
    assert names(filled.search(tags=["vision"])) == ["PhotoAlbum2024", "digits", "mnist-train"]
    assert names(filled.search(tags=["vision", "small"])) == ["mnist-train"]
    assert names(filled.search(tags=["vis"])) == []
    assert names(filled.search(license="MIT")) == ["street_numbers", "手書き数字"]
    assert names(filled.search("digits", license="CC-BY-4.0")) == ["digits"]
    assert names(filled.search(schema="Photo")) == ["PhotoAlbum2024"]
    assert names(filled.search(schema=Photo)) == ["PhotoAlbum2024"]
    ref = filled.get_dataset("digits").schema_ref
    assert len(filled.search(schema=ref)) == 4
    assert filled.search(schema="atdata://local/sampleSchema/Photo@2.0.0") == []
    assert len(filled.search("digits", schema=Digit, tags=["small"])) == 1


def test_everything_without_a_question(filled: LocalIndex) -> None:
    """No text and no label finds every dataset; marks alone find none."""
    assert len(filled.search()) == 5
    assert len(filled.search(limit=2)) == 2
    assert filled.search("?!") == []


def test_a_revision_is_found_by_what_it_says(filled: LocalIndex, digits: MakeDigits) -> None:
    """After a revision the old words find nothing, and after a deletion none do."""
    filled.insert_dataset(digits(9), name="digits", description="Arabic", tags=["new"])
    assert names(filled.search(tags=["new"])) == ["digits"]
    assert "digits" not in names(filled.search(tags=["vision"]))
    assert names(filled.search("arabic")) == ["digits"]
    assert len(filled.history("digits")) == 2
    filled.delete_dataset("digits")
    assert filled.search("arabic") == []
    assert filled.search(tags=["new"]) == []


def test_bad_questions_are_refused(index: LocalIndex) -> None:
    """A question that cannot be meant so is an error, not an empty answer."""
    with pytest.raises(OptionError, match=r"Write \['vision'\]"):
        index.search(tags="vision")
    with pytest.raises(OptionError, match="limit"):
        index.search("a", limit=0)
    with pytest.raises(OptionError, match="not for int"):
        index.search(1)  # type: ignore[arg-type]


def test_an_index_of_the_first_version_is_searched(
    place: str, request: pytest.FixtureRequest, digits: MakeDigits
) -> None:
    """A database that an older version wrote is brought up to date when it is opened."""
    with LocalIndex(place) as index:
        index.insert_dataset(digits(1), name="a", description="old words")
        index.insert_dataset(digits(2), name="a", description="first words")
        index.insert_dataset(digits(3), name="b", description="other words")
        before = list(index.list_datasets())
    make_first_version(place)
    for _ in range(2):
        with LocalIndex(place) as index:
            assert names(index.search("words")) == ["a", "b"]
            assert names(index.search("first")) == ["a"]
            assert index.search("old") == []
            assert list(index.list_datasets()) == before
    with LocalIndex(place) as index:
        index.insert_dataset(digits(4), name="a", description="second")
        assert index.search("first") == []
        assert names(index.search("second")) == ["a"]


def make_first_version(place: str) -> None:
    """Take from a database what the second version added."""
    if place.startswith("redis://"):
        import redis

        client = redis.Redis.from_url(place)
        for pattern in ("term*", "unindexed", "note*"):
            for key in client.scan_iter(f"atdata:{pattern}"):
                client.delete(key)
        client.set("atdata:format", "1")
        client.close()
    elif place.startswith("postgresql://"):
        import psycopg

        with psycopg.connect(place) as connection:
            connection.execute("ALTER TABLE atdata_entries DROP COLUMN terms")
            connection.execute("DROP TABLE atdata_notes")
            connection.execute("UPDATE atdata_format SET version = 1")
    else:
        database = sqlite3.connect(place)
        database.executescript(
            "DROP TABLE found_by; DROP TABLE notes; DROP INDEX entries_unindexed; "
            "ALTER TABLE entries DROP COLUMN indexed; PRAGMA user_version = 1;"
        )
        database.close()


def test_an_index_of_the_second_version_is_searched(place: str, digits: MakeDigits) -> None:
    """A database that keeps terms as the second version did is brought up to date when opened."""
    with LocalIndex(place) as index:
        index.insert_dataset(digits(1), name="a", description="old words")
        index.insert_dataset(digits(2), name="a", description="first words")
        entry = index.insert_dataset(digits(3), name="b", description="other words")
        index.label("b", "1.0.0", entry)
        before = list(index.list_datasets())
    make_first_version(place)
    make_second_version(place)
    for _ in range(2):
        with LocalIndex(place) as index:
            assert names(index.search("words")) == ["a", "b"]
            assert names(index.search("first")) == ["a"]
            assert index.search("old") == []
            assert list(index.list_datasets()) == before
    if place.startswith("redis://"):
        import redis

        with redis.Redis.from_url(place) as client:
            assert not list(client.scan_iter("atdata:term:*"))
            assert not list(client.scan_iter("atdata:terms:*"))


def make_second_version(place: str) -> None:
    """Make of a database of the first version one of the second."""
    if place.startswith("redis://"):
        import redis

        client = redis.Redis.from_url(place)
        for name in ("a", "b"):
            client.sadd("atdata:term:wwords", name)
            client.sadd(f"atdata:terms:{name}", "wwords")
        client.zadd("atdata:term-keys", {"wwords": 0})
        client.sadd("atdata:unindexed", "b")
        client.set("atdata:format", "2")
        client.close()
    elif place.startswith("postgresql://"):
        import psycopg

        with psycopg.connect(place) as connection:
            connection.execute("ALTER TABLE atdata_entries ADD COLUMN terms tsvector")
            connection.execute("UPDATE atdata_entries SET terms = 'wwords'::tsvector WHERE newest")
            connection.execute(
                "CREATE INDEX atdata_entries_terms ON atdata_entries USING gin (terms) WHERE newest"
            )
            connection.execute(
                "CREATE INDEX atdata_entries_unindexed ON atdata_entries (id) "
                "WHERE newest AND terms IS NULL"
            )
            connection.execute(
                'CREATE TABLE atdata_notes (key text COLLATE "C" PRIMARY KEY, value text NOT NULL)'
            )
            connection.execute("UPDATE atdata_format SET version = 2")
    else:
        database = sqlite3.connect(place)
        database.executescript(
            "ALTER TABLE entries ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;"
            "CREATE INDEX entries_unindexed ON entries (id) WHERE newest AND NOT indexed;"
            "CREATE VIRTUAL TABLE found_by USING fts5(terms, tokenize = 'ascii', detail = 'none');"
            "INSERT INTO found_by (rowid, terms) SELECT id, 'wwords' FROM entries WHERE newest;"
            "UPDATE entries SET indexed = newest;"
            "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
            "PRAGMA user_version = 2;"
        )
        database.close()


def everything(index: LocalIndex) -> list[Any]:
    """Every way of reading an index."""
    return [
        names(index.search("digits")),
        names(index.search("d", tags=["vision"])),
        names(index.search("nothing")),
        names(index.search()),
        [entry.name for entry in index.list_datasets()],
        index.get_dataset("@local/digits@1.0.0").name,
        len(index.history("digits")),
        len(list(index.list_schemas())),
    ]


def test_reading_writes_nothing(
    digits: MakeDigits, tmp_path: Path, postgres_url: str, redis_url: str, redis_server: RedisServer
) -> None:
    """An index is opened, read and searched where nothing can be written, on every backend."""
    path = tmp_path / "index.db"
    for place in (str(path), postgres_url, redis_url):
        with LocalIndex(place) as index:
            fill(index, digits, tmp_path)
            expected = everything(index)
    before = path.read_bytes()
    with LocalIndex(path) as index:
        assert everything(index) == expected
        with index._backend._pool.use() as connection:  # type: ignore[attr-defined]
            assert connection.total_changes == 0
    assert path.read_bytes() == before
    with LocalIndex(f"{postgres_url}?options=-c%20default_transaction_read_only%3Don") as index:
        assert everything(index) == expected
        with pytest.raises(BackendError, match="read-only"):
            index.delete_dataset("digits")
    import redis

    with start_redis(replica_of=redis_server.port) as replica:
        with redis.Redis.from_url(redis_url) as master:
            assert master.wait(1, 60_000) == 1
        number = int(redis_url.rpartition("/")[2])
        with LocalIndex(replica.database(number)) as index:
            assert everything(index) == expected
            with pytest.raises(BackendError, match="read only"):
                index.delete_dataset("digits")


@given(st.text())
def test_every_word_finds_its_text(text: str) -> None:
    """Whatever the text, the words made of it for a question are among its terms."""
    terms = set(word_terms(text))
    for word in query_words(text):
        assert any(term.startswith(f"w{word}") for term in terms)
    assert all(1 < len(term) <= 65 and term.isalnum() and term == term.lower() for term in terms)


@given(text=st.text(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_description_is_found(index: LocalIndex, digits: MakeDigits, text: str) -> None:
    """Any text at all can be a description, and is found by its words on every backend."""
    if not hasattr(index, "made"):
        index.made = digits()  # type: ignore[attr-defined]
    index.insert_dataset(index.made, name="n", description=text or "-")  # type: ignore[attr-defined]
    assert names(index.search(text)) == (["n"] if words(text) or not text.strip() else [])


def test_a_long_description_is_cut() -> None:
    """An entry of very many words keeps a bounded number of terms, its name's among them."""
    long = " ".join(f"word{number}" for number in range(50_000))
    entry = LocalDatasetEntry("named", "atdata://local/sampleSchema/A@1.0.0", description=long)
    terms = entry_terms(entry)
    assert len(terms) == 2_000
    assert "wnamed" in terms
