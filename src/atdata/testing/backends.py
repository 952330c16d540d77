"""Conformance of an index backend.

For a backend of your own, subclass `BackendSuite` in a test module and override ``url``::

    class TestMyBackend(BackendSuite):
        @pytest.fixture
        def url(self, tmp_path):
            return f"mydb://{tmp_path}"

The scheme of the URL must be registered with an entry point in the group ``atdata.index``.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from atdata._limits import limits
from atdata._registry import INDEX_BACKENDS
from atdata.local.backends._terms import Terms
from atdata.local.backends.base import Backend, EntryRow, SchemaRow

__all__ = ["BackendSuite"]

OpenBackend = Callable[[], Backend]

# Names whose order by bytes differs from alphabetical order, or that a query may misread.
NAMES = sorted(
    ["a", "A", "Z", "a-b", "a b", "ab", "é", "e\u0301", "ß", "%", "_", "'; --", "日本", "😀", "\\"],
    key=lambda name: name.encode(),
)


class BackendSuite:
    """What every backend does, errors included."""

    @pytest.fixture
    def url(self) -> str:
        """URL of an empty database for this test alone."""
        pytest.fail("Override the fixture 'url'.", pytrace=False)

    @pytest.fixture
    def open_backend(self, url: str) -> Iterator[OpenBackend]:
        """Opens the database, as often as it is called; every handle is closed at the end."""
        opened: list[Backend] = []

        def open_one() -> Backend:
            opened.append(_open(url))
            return opened[-1]

        yield open_one
        for backend in opened:
            backend.close()

    @pytest.fixture
    def backend(self, open_backend: OpenBackend) -> Backend:
        """The database, opened once."""
        return open_backend()

    def test_empty(self, backend: Backend) -> None:
        """A new database has nothing to find."""
        assert backend.schema("A 1") is None
        assert backend.schemas("", None, 10) == []
        assert backend.newest("a") is None
        assert backend.entry("c") is None
        assert backend.history("a") == []
        assert backend.entries("", 10) == []
        assert backend.names("", 10) == []
        assert backend.remove("a") == 0

    def test_what_is_added_is_there_for_others(self, open_backend: OpenBackend) -> None:
        """Another handle reads what one handle adds, every character of it."""
        one, other = open_backend(), open_backend()
        document = '{"a": "\\u0000 \\ud83d\\ude00 %s \' \\" ;"}' + " " * 100_000 + "."
        one.add_schema(SchemaRow("A 1", document))
        one.add_entry(EntryRow("a", 1, "cid-1", document))
        assert other.schema("A 1") == SchemaRow("A 1", document)
        assert other.newest("a") == EntryRow("a", 1, "cid-1", document)
        assert other.entry("cid-1") == EntryRow("a", 1, "cid-1", document)

    def test_a_schema_is_written_once(self, backend: Backend) -> None:
        """Adding under a taken key changes nothing and returns the existing row."""
        first = SchemaRow("A 1", "first")
        assert backend.add_schema(first) == first
        assert backend.add_schema(SchemaRow("A 1", "second")) == first
        assert backend.schema("A 1") == first

    def test_schemas_between_two_keys(self, backend: Backend) -> None:
        """A range of schemas excludes both ends, respects the limit, and is in order of bytes."""
        keys = sorted(["A 1", "A 2", "AB 1", "a 1", "É 1", "_ 1"], key=lambda key: key.encode())
        for key in reversed(keys):
            backend.add_schema(SchemaRow(key, key))
        assert [row.key for row in backend.schemas("", None, 10)] == keys
        assert [row.key for row in backend.schemas("A ", "A!", 10)] == ["A 1", "A 2"]
        assert [row.key for row in backend.schemas("A 1", None, 2)] == ["A 2", "AB 1"]

    def test_revisions_follow_one_another(self, backend: Backend) -> None:
        """Only the revision after the newest is added; others are refused."""
        assert not backend.add_entry(EntryRow("a", 2, "x", "2"))
        assert backend.add_entry(EntryRow("a", 1, "x", "1"))
        assert not backend.add_entry(EntryRow("a", 1, "y", "1 again"))
        assert backend.add_entry(EntryRow("a", 2, "y", "2"))
        assert not backend.add_entry(EntryRow("a", 4, "z", "4"))
        assert backend.history("a") == [EntryRow("a", 1, "x", "1"), EntryRow("a", 2, "y", "2")]
        assert backend.newest("a") == EntryRow("a", 2, "y", "2")

    def test_a_cid_finds_what_was_added_last(self, backend: Backend) -> None:
        """Of several rows with one CID the last added is found, also when others are removed."""
        rows = [EntryRow("b", 1, "x", "0"), EntryRow("a", 1, "x", "1"), EntryRow("a", 2, "x", "2")]
        for row in rows:
            backend.add_entry(row)
            assert backend.entry("x") == row
        backend.remove("a")
        assert backend.entry("x") == rows[0]
        backend.remove("b")
        assert backend.entry("x") is None

    def test_many_revisions_of_one_content(self, backend: Backend) -> None:
        """Rows with one CID keep the order in which they were added past ten and a hundred."""
        for revision in range(1, 121):
            backend.add_entry(EntryRow("a", revision, "x", str(revision)))
        found = backend.entry("x")
        assert found is not None
        assert found.revision == 120

    def test_names_are_bytes_in_order(self, backend: Backend) -> None:
        """Names that differ in any byte are different, and are listed in order of UTF-8 bytes."""
        for name in reversed(NAMES):
            assert backend.add_entry(EntryRow(name, 1, f"cid-{NAMES.index(name)}", name))
        assert backend.names("", 100) == NAMES
        assert [row.document for row in backend.entries("", 100)] == NAMES
        for name in NAMES:
            row = backend.newest(name)
            assert row is not None
            assert row.name == name
            assert backend.entry(row.cid) == row

    def test_pages(self, backend: Backend) -> None:
        """Over all pages, every name comes once, with its newest revision."""
        for number in range(25):
            backend.add_entry(EntryRow(f"n{number:02d}", 1, "x", "old"))
            backend.add_entry(EntryRow(f"n{number:02d}", 2, "x", "new"))
        seen: list[EntryRow] = []
        while page := backend.entries(seen[-1].name if seen else "", 10):
            seen += page
        assert [row.name for row in seen] == [f"n{number:02d}" for number in range(25)]
        assert {(row.revision, row.document) for row in seen} == {(2, "new")}
        assert backend.names("n04", 3) == ["n05", "n06", "n07"]

    def test_pages_are_bounded_in_bytes(self, backend: Backend) -> None:
        """Pages of large entries, by name or by revision, are short; each entry comes once."""
        with limits.set(page_bytes=10_000):
            for number in range(10):
                backend.add_entry(EntryRow(f"n{number}", 1, "x", str(number) * 4_000))
                backend.add_entry(EntryRow("many", number + 1, "x", str(number) * 4_000))
            backend.add_entry(EntryRow("n8x", 1, "x", "8" * 50_000))
            names: list[str] = []
            while page := backend.entries(names[-1] if names else "", 100):
                assert len(page) == 1 or sum(len(row.document) for row in page[:-1]) < 10_000
                names += [row.name for row in page]
            assert names == sorted(["many", "n8x", *(f"n{number}" for number in range(10))])
            assert len(backend.revisions("many", 0, 100)) == 3
            assert [row.document[0] for row in backend.history("many")] == list("0123456789")
            assert backend.revisions("many", 10, 100) == backend.revisions("none", 0, 100) == []

    def test_pages_while_others_write(self, open_backend: OpenBackend) -> None:
        """Names that stay come once each while others are added and removed between pages."""
        reader, writer = open_backend(), open_backend()
        for number in range(20):
            writer.add_entry(EntryRow(f"keep{number:02d}", 1, "x", "1"))
            writer.add_entry(EntryRow(f"gone{number:02d}", 1, "x", "1"))
        seen: list[str] = []
        last = ""
        for number in range(100):
            page = reader.entries(last, 3)
            if not page:
                break
            seen += [row.name for row in page]
            last = seen[-1]
            writer.remove(f"gone{number % 20:02d}")
            writer.add_entry(EntryRow(f"a{number:03d}", 1, "y", "1"))
            writer.add_entry(EntryRow(f"keep{number % 20:02d}", 2, "y", "2"))
        assert len(seen) == len(set(seen))
        assert [name for name in seen if name.startswith("keep")] == [
            f"keep{number:02d}" for number in range(20)
        ]

    def test_removal_leaves_nothing(self, backend: Backend) -> None:
        """Removing returns how many revisions there were; the name then starts at 1 again."""
        for revision in (1, 2, 3):
            backend.add_entry(EntryRow("a", revision, f"x{revision}", "a"))
        backend.add_entry(EntryRow("b", 1, "y", "b"))
        assert backend.remove("a") == 3
        assert backend.remove("a") == 0
        assert backend.newest("a") is None
        assert backend.entry("x2") is None
        assert backend.names("", 10) == ["b"]
        assert backend.add_entry(EntryRow("a", 1, "z", "a"))

    def test_terms_find_the_newest_revision(self, open_backend: OpenBackend) -> None:
        """A name is found by the terms of its newest revision together, not by older ones."""
        backend, other = open_backend(), open_backend()
        backend.add_entry(EntryRow("b", 1, "x", "1"), {"wcat": 0, "wdog": 0, "xt1": 0})
        backend.add_entry(EntryRow("a", 1, "y", "2"), {"wcattle": 0, "wé日": 0, "xt1": 0})
        backend.add_entry(EntryRow("none", 1, "y", "3"))

        def names(words: str, *labels: str) -> list[str]:
            return [row.name for row in other.search(words.split(), labels, 10)]

        assert names("cat") == ["b", "a"]
        assert names("cat dog", "xt1") == ["b"]
        assert names("é", "xt1") == ["a"]
        assert names("", "xt1") == ["a", "b"]
        assert names("ca") == ["a", "b"]
        assert names("at") == names("dog cattle") == names("", "xt") == []
        backend.add_entry(EntryRow("b", 2, "z", "4"), {"wbird": 0})
        assert not backend.add_entry(EntryRow("b", 2, "z", "5"), {"wfish": 0})
        assert names("cat") == ["a"]
        assert names("fish") == []
        assert other.search(["bird"], [], 10) == [EntryRow("b", 2, "z", "4")]
        backend.remove("b")
        assert names("bird") == []
        assert names("", "xt1") == ["a"]

    def test_the_best_come_first(self, backend: Backend) -> None:
        """Results are in order of level, then whole words before prefixes, then names."""
        levels = {"d": 0, "c": 3, "b": 3, "a": 1}
        for name, level in levels.items():
            backend.add_entry(EntryRow(name, 1, "x", name), {"wsame": level, "wone": 3 - level})
        backend.add_entry(EntryRow("e", 1, "x", "e"), {"wsamest": 3, "wone": 2})

        def names(words: list[str], limit: int) -> list[str]:
            return [row.name for row in backend.search(words, [], limit)]

        assert names(["same"], 10) == ["b", "c", "e", "a", "d"]
        assert names(["same"], 2) == ["b", "c"]
        assert names(["same", "one"], 10) == ["b", "c", "d", "e", "a"]
        backend.replace(EntryRow("d", 1, "x", "d"), {"wsame": 3})
        assert names(["same"], 10) == ["b", "c", "d", "e", "a"]

    def test_names_of_a_search_in_order(self, backend: Backend) -> None:
        """Names that match equally well come in order of their bytes."""
        for name in reversed(NAMES):
            backend.add_entry(
                EntryRow(name, 1, "x", name), {"wsame": 0, f"w{name.encode().hex()}": 0}
            )
        for limit in (3, 100):
            assert [row.name for row in backend.search(["same"], [], limit)] == NAMES[:limit]
        for name in NAMES:
            (row,) = backend.search([name.encode().hex(), "s"], [], 10)[:1]
            assert row.name == name

    def test_searches_as_a_model_does(self, backend: Backend) -> None:
        """After many changes, every search finds what a plain list of all terms gives."""
        random = Random(7)
        model: dict[str, Terms] = {}
        for _ in range(12):
            rows: list[tuple[str, Terms]] = []
            for _ in range(30):
                name = f"n{random.randrange(200):03d}"
                rows.append((name, _some_terms(random)))
            for name, terms in rows:
                if random.random() < 0.2:
                    backend.remove(name)
                    model.pop(name, None)
                else:
                    backend.replace(EntryRow(name, 1, "x", name), terms)
                    model[name] = terms
        for _ in range(60):
            words = [f"{random.choice(['', 'a', 'ab', 'b'])}{random.choice('ab1')}"]
            words += [f"{random.randrange(30):02d}"] if random.random() < 0.5 else []
            labels = [f"xt{random.randrange(3)}"] if random.random() < 0.5 else []
            limit = random.choice([1, 5, 1_000])
            found = [row.name for row in backend.search(words, labels, limit)]
            assert found == ranked(model, words, labels)[:limit], (words, labels)

    def test_replacing(self, backend: Backend) -> None:
        """A row that replaces all revisions is the only one, found by its terms alone."""
        for revision in (1, 2, 3):
            backend.add_entry(EntryRow("a", revision, f"x{revision}", "old"), {"wold": 0})
        for document in ("new", "newer"):
            backend.replace(EntryRow("a", 1, "y", document), {f"w{document}": 0})
        assert backend.history("a") == [EntryRow("a", 1, "y", "newer")]
        assert backend.entry("x3") is None
        assert backend.entry("y") == backend.newest("a")
        assert backend.search(["old"], [], 10) == []
        assert [row.document for row in backend.search(["new"], [], 10)] == ["newer"]
        assert backend.names("", 10) == ["a"]

    def test_nothing_written_now_lacks_terms(self, backend: Backend) -> None:
        """Entries of this version count as indexed, those without a single term as well."""
        backend.add_entry(EntryRow("a", 1, "x", "1"))
        backend.replace(EntryRow("b", 1, "x", "1"))
        assert backend.unindexed(10) == []

    def test_notes(self, open_backend: OpenBackend) -> None:
        """A note stays until it is written again or removed; ranges exclude both ends."""
        one, other = open_backend(), open_backend()
        for name in reversed(NAMES):
            one.set_note(name, name.encode().hex())
        assert [key for key, _ in other.notes("", "\U0010ffff", 100)] == NAMES
        assert other.notes(NAMES[2], NAMES[5], 100) == [
            (name, name.encode().hex()) for name in NAMES[3:5]
        ]
        assert len(other.notes("", "\U0010ffff", 3)) == 3
        one.set_note("a", "again")
        assert other.note("a") == "again"
        one.set_note("a", None)
        one.set_note("a", None)
        assert other.note("a") is None
        assert "a" not in [key for key, _ in other.notes("", "\U0010ffff", 100)]

    def test_threads_on_one_handle(self, backend: Backend) -> None:
        """Of eight threads that add one revision through one handle, exactly one succeeds."""
        with ThreadPoolExecutor(8) as pool:
            for revision in range(1, 6):
                rows = [EntryRow("a", revision, f"x{n}", str(n)) for n in range(8)]
                assert sum(pool.map(backend.add_entry, rows)) == 1
                schemas = [SchemaRow(f"A {revision}", str(n)) for n in range(8)]
                assert len(set(pool.map(backend.add_schema, schemas))) == 1
        assert [row.revision for row in backend.history("a")] == [1, 2, 3, 4, 5]

    def test_processes_that_open_at_once(self, url: str) -> None:
        """Four processes set up one empty database and write to it at once; nothing is lost."""
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(4)
        workers = [
            context.Process(target=_write_revisions, args=(url, barrier, n)) for n in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
        backend = _open(url)
        history = backend.history("shared")
        assert [row.revision for row in history] == list(range(1, 41))
        assert sorted(row.document for row in history) == sorted(
            f"{process}-{number}" for process in range(4) for number in range(10)
        )
        assert len(backend.names("", 100)) == 41
        backend.close()

    @pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
    )
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_uses_the_handle(self, backend: Backend) -> None:
        """A handle made before a fork works in the child, and still in the parent."""
        backend.add_entry(EntryRow("a", 1, "x", "parent"))
        child = multiprocessing.get_context("fork").Process(target=_add_second, args=(backend,))
        child.start()
        assert backend.newest("a") is not None
        child.join()
        assert child.exitcode == 0
        assert backend.add_entry(EntryRow("a", 3, "z", "parent"))
        assert [row.document for row in backend.history("a")] == ["parent", "child", "parent"]

    def test_the_address_shows_no_password(self, backend: Backend, url: str) -> None:
        """The address of a backend shows no user and no password."""
        user, at, _ = url.partition("://")[2].rpartition("@")
        if at:
            assert user.rpartition(":")[2] not in backend.address
        assert backend.address


def _some_terms(random: Random) -> Terms:
    words = [f"{random.choice('ab')}{random.choice('ab1')}{random.randrange(40)}" for _ in "123"]
    words.append(f"{random.randrange(30):02d}")
    terms = {f"w{word}": random.randrange(4) for word in words}
    return {**terms, f"xt{random.randrange(3)}": 0}


def ranked(model: Mapping[str, Terms], words: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The names that a search must find, best first, by looking at all terms of all names."""
    scored = []
    for name, terms in model.items():
        best = [
            max(
                (
                    2**level * (2 if term == f"w{word}" else 1)
                    for term, level in terms.items()
                    if term.startswith(f"w{word}")
                ),
                default=0,
            )
            for word in words
        ]
        if all(best) and all(label in terms for label in labels):
            scored.append((-sum(best), name.encode()))
    return [name.decode() for _, name in sorted(scored)]


def _open(url: str) -> Backend:
    backend: Backend = INDEX_BACKENDS.load(url.partition(":")[0]).open(url)
    return backend


def _write_revisions(url: str, barrier: object, process: int) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    backend = _open(url)
    for number in range(10):
        assert backend.add_entry(EntryRow(f"own-{process}-{number}", 1, "x", "."))
        added = False
        while not added:
            newest = backend.newest("shared")
            revision = newest.revision + 1 if newest else 1
            added = backend.add_entry(EntryRow("shared", revision, "x", f"{process}-{number}"))
    backend.close()


def _add_second(backend: Backend) -> None:
    assert backend.add_entry(EntryRow("a", 2, "y", "child"))
