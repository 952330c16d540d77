"""The pages for searching: as a plain list of all terms says, at a cost that does not follow it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.local.backends._finding import find, fits
from atdata.local.backends._terms import Pages, Terms, plan
from atdata.testing.backends import ranked


class Kept(Pages):
    """Pages in a dict, which counts what is read."""

    def __init__(self) -> None:
        self.pages: dict[bytes, bytes] = {}
        self.order: list[bytes] = []
        self.read = 0

    def some(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {key: self.pages[key] for key in keys if key in self.pages}
        self.read += len(found)
        return found

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        first = bisect_left(self.order, start)
        keys = self.order[first : min(first + limit, bisect_left(self.order, end))]
        self.read += len(keys)
        return [(key, self.pages[key]) for key in keys]

    def last(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        at = bisect_right(self.order, end)
        key = self.order[at - 1] if at else b""
        return (key, self.pages[key]) if key >= start and at else None

    def change(self, *changes: tuple[str, Terms | None]) -> None:
        for key, value in plan(self, changes).items():
            if value is None:
                del self.pages[key]
            else:
                self.pages[key] = value
        self.order = sorted(key for key in self.pages if key[:1] in b"to")


def names(pages: Pages, words: str, *labels: str, limit: int = 10) -> list[str]:
    return [name for name, _ in islice(find(pages, words.split(), labels), limit)]


def some_terms(random: Random) -> Terms:
    """Terms of an entry: common and rare words, some that begin alike, and labels."""
    rare = random.randrange(3_000)
    chosen = {"wall", f"wr{rare:04d}", f"wr{rare % 90:02d}x{rare}", f"xt{random.randrange(4)}"}
    chosen |= {f"w{random.choice('abc')}{random.randrange(12)}" for _ in range(2)}
    return {term: random.randrange(4) if term[0] == "w" else 0 for term in sorted(chosen)}


@pytest.mark.parametrize("seed", range(2))
def test_searches_as_a_model_does(seed: int) -> None:
    """Through thousands of additions, changes and removals every search finds what a list does."""
    random = Random(seed)
    pages, model = Kept(), dict[str, Terms]()
    for size in (1, 3, 700, 40, 2_500, 300):
        changes: dict[str, Terms | None] = {}
        for _ in range(size):
            name = (
                f"n{random.randrange(4_500):04d}" if seed else f"n{len(model) + len(changes):04d}"
            )
            changes[name] = None if seed and random.random() < 0.2 else some_terms(random)
        pages.change(*changes.items())
        for name, terms in changes.items():
            model.pop(name, None)
            if terms is not None:
                model[name] = terms
        for words, labels in (
            ("all", []),
            ("a", []),
            ("a1 b", ["xt1"]),
            ("r", ["xt2"]),
            ("r00", []),
            (f"r{random.randrange(90):02d}", []),
            (f"all r{random.randrange(3_000):04d}", []),
            ("a1 a2 a3", []),
            ("all nothing", []),
            ("c11", ["xt0", "xt1"]),
        ):
            expected = ranked(model, words.split(), labels)
            for limit in (1, 10, 10_000):
                assert names(pages, words, *labels, limit=limit) == expected[:limit]
    everything = [(name, None) for name in model]
    pages.change(*everything)
    assert names(pages, "all") == names(pages, "r") == names(pages, "", "xt1") == []
    assert not [key for key in pages.pages if key[:1] in b"dnc"]


@given(
    st.lists(
        st.dictionaries(
            st.text("ab日", min_size=1, max_size=4).map("w".__add__), st.integers(0, 3), max_size=4
        ),
        max_size=12,
    ),
    st.text("ab日", min_size=1, max_size=3),
)
@settings(max_examples=150)
def test_any_words(entries: list[dict[str, int]], word: str) -> None:
    """Whatever the words of a few entries, each is found by every beginning, best first."""
    pages = Kept()
    model: dict[str, Terms] = {}
    for number, terms in enumerate(entries):
        name = f"n{number % 5}"
        pages.change((name, terms))
        model[name] = terms
    assert names(pages, word) == ranked(model, [word], [])
    for name, held in model.items():
        assert fits(held, [word], []) == (name in ranked(model, [word], []))


def test_a_search_reads_what_it_shows() -> None:
    """With 20 times the entries, a search for ten reads hardly more pages, found or not."""

    def costs(entries: int) -> list[int]:
        pages = Kept()
        for start in range(0, entries, 1_000):
            pages.change(
                *(
                    (
                        f"n{n:06d}",
                        {"wall": 0, f"wone{n:06d}": 1, f"x{n % 2}": 0, f"whalf{n % 2}": 2},
                    )
                    for n in range(start, min(start + 1_000, entries))
                )
            )
        found = []
        for words, *labels in (
            ("all",),
            ("o",),
            ("one",),
            ("one0000",),
            ("all half0", "x0"),
            ("half0 half1",),
            ("", "x0", "x1"),
            ("all one000007",),
            ("nothing",),
        ):
            pages.read = 0
            names(pages, words, *labels)
            found.append(pages.read)
        return found

    few, many = costs(1_000), costs(20_000)
    chunks = 20_000 // 4_096 + 1
    for before, after in zip(few, many, strict=True):
        # A few chunks of bits for each word, a page of the order, and the names in it.
        assert after <= before + 3 * chunks + 600
