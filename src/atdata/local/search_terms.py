"""Search terms: text → words, and an entry → the terms stored for it.

The words are made here, not by the databases, so that all of them answer alike. A word is a run
of letters and digits, in lower case and without accents; scripts that do not part words by
spaces give one word a character. ``imageSample_v2`` is found by its parts as well.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from atdata.local.entry import LocalDatasetEntry

MAX_TERMS: Final = 2_000
"""Most terms of one entry; a longer description is found by its beginning."""
_MAX_WORD_CHARACTERS: Final = 64
_RUN: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Ideographs, kana, Thai, Lao, Myanmar, Khmer.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)


def words(text: str) -> list[str]:
    """The words of a text, in order, repeated ones again."""
    return [word for run in _RUN.findall(_plain(text)) for word in _parted(run.casefold())]


def word_terms(text: str) -> Iterator[str]:
    """The terms that an entry with this text gets: its words, and the parts of names."""
    for word in words(text):
        yield f"w{word}"
    for run in _RUN.findall(_plain(text)):
        parts = _HUMP.split(run)
        if len(parts) > 1:
            yield from (f"w{word}" for part in parts for word in _parted(part.casefold()))


def query_words(text: str) -> list[str]:
    """The words of a text, each once."""
    return list(dict.fromkeys(words(text)))


@lru_cache(4_096)
def label(kind: str, value: str) -> str:
    """The term of a tag, licence or schema, which is found whole or not at all."""
    folded = unicodedata.normalize("NFKC", value).casefold()
    return f"x{kind}{hashlib.sha256(folded.encode()).hexdigest()[:32]}"


def entry_terms(entry: LocalDatasetEntry) -> dict[str, int]:
    """Every term of an entry, the first `MAX_TERMS`, each with its level: where it stands."""
    terms: dict[str, int] = {}
    for term, level in _terms(entry):
        if terms.setdefault(term, level) == level and len(terms) == MAX_TERMS:
            break
    return terms


def _terms(entry: LocalDatasetEntry) -> Iterator[tuple[str, int]]:
    yield label("schema", entry.schema_ref), 0
    yield label("class", class_name(entry.schema_ref)), 0
    if entry.license:
        yield label("license", entry.license), 0
    for tag in entry.tags:
        yield label("tag", tag), 0
    for level, text in _texts(entry):
        for term in _terms_of_label(text) if level in (1, 2) else word_terms(text):
            yield term, level


@lru_cache(4_096)
def _terms_of_label(text: str) -> tuple[str, ...]:
    # Thousands of entries share a class, a licence and tags.
    return tuple(word_terms(text))


def _texts(entry: LocalDatasetEntry) -> Iterator[tuple[int, str]]:
    """The texts of an entry, each with the level of its words, the highest first."""
    yield 3, entry.title or entry.name
    for tag in entry.tags:
        yield 2, tag
    yield 1, class_name(entry.schema_ref)
    yield 1, entry.license or ""
    yield 0, entry.description or ""


def class_name(schema_ref: str) -> str:
    """The class that a reference names, without its version; the whole reference if it has none."""
    named = re.split("[@:]", schema_ref.rpartition("/")[2])[0]
    return named.rpartition(".")[2].lstrip("~") or schema_ref


def _plain(text: str) -> str:
    """Compatible characters as one, accents left out."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in apart if not unicodedata.combining(c))
    return unicodedata.normalize("NFKC", bare)


def _parted(run: str) -> Iterator[str]:
    if run.isascii():
        yield run[:_MAX_WORD_CHARACTERS]
        return
    # Folding may bring back what is no letter or digit, and parts of a run that is too long.
    for piece in _RUN.findall(_UNSPACED.sub(r" \g<0> ", run)):
        yield piece[:_MAX_WORD_CHARACTERS]
