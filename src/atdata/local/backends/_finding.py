"""Finding names by their terms, best first, from the pages of _terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atdata._arrays import AnyArray, Bytes, Integers, Mask, distinct
from atdata._secrets import redacted_repr
from atdata.local.backends._terms import (
    CHUNK,
    MAX_WORDS,
    META,
    PLANE,
    Pages,
    Terms,
    after,
    chunk_key,
    count_of,
    doc_key,
    parse_doc,
    parse_list,
    planes_of,
)

WORTH: Final = (1, 2, 4, 8)
"""What a word counts for, by its level; twice that where it is whole."""
_SORTED: Final = 512
"""Names that are sorted; more are looked for in the order that is kept."""
_ORDER_PAGES: Final = (4, 16, 64, 128)

Found = tuple[str, Terms]


@redacted_repr
@dataclass
class _List:
    """Where a term is."""

    key: bytes
    value: bytes
    weights: tuple[int, ...]

    @property
    def is_chunked(self) -> bool:
        return self.value == b"b"


_Asked = list[_List]
"""A word or label: the lists that have it."""


def _is_rare(asked: _Asked) -> bool:
    return not any(each.is_chunked for each in asked)


def find(pages: Pages, words: Sequence[str], labels: Sequence[str]) -> Iterator[Found]:
    """Names that have every label and, for every word, one that begins so; with their terms.

    Reads what a first few names cost, whatever there is: some bits for each name in all, and
    these names.

    Args:
        pages: What is kept.
        words: Beginnings of words.
        labels: Terms that are found whole.

    Yields:
        The best first; else in order of names.
    """
    asked, count = _asked(pages, words, labels)
    if not count or not all(asked):
        return
    asked.sort(key=_is_rare, reverse=True)
    chunks: Integers = np.arange(-(-count // CHUNK))
    total = np.zeros(count, np.uint16)
    mask = np.ones(count, np.bool_)
    for position, each in enumerate(asked):
        if _is_rare(each):
            weight = _weigh(each, count, {})
        else:
            left = asked[position:]
            read = _chunks(pages, left, chunks)
            for later in left:
                weight = _weigh(later, count, read)
                mask &= weight > 0
                total += weight
            break
        mask &= weight > 0
        total += weight
        chunks = distinct(np.flatnonzero(mask) // CHUNK)
    yield from _ranked(pages, mask, total - len(labels), words, labels)


def fits(terms: Terms, words: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a name with these terms is found."""
    own = [term[1:] for term in terms if term[0] == "w"]
    return all(label in terms for label in labels) and all(
        any(one.startswith(word) for one in own) for word in words
    )


def _asked(pages: Pages, words: Sequence[str], labels: Sequence[str]) -> tuple[list[_Asked], int]:
    whole = [f"tw{word}".encode() for word in words]
    begun = [f"p{word}".encode() for word in words]
    exact = [f"t{label}".encode() for label in labels]
    values = pages.some([META, *whole, *begun, *exact])
    double = tuple(2 * worth for worth in WORTH)
    asked = []
    for key, beginning in zip(whole, begun, strict=True):
        each = [_List(key, values[key], double)] if key in values else []
        for other, value in _beginning(pages, key, beginning, values.get(beginning)):
            each.append(_List(other, value, WORTH))
        if not each:
            return [], 0
        asked.append(each)
    for key in exact:
        asked.append([_List(key, values[key], (1, 1, 1, 1))] if key in values else [])
    return asked, count_of(values.get(META))


def _beginning(
    pages: Pages, key: bytes, beginning: bytes, value: bytes | None
) -> list[tuple[bytes, bytes]]:
    """The lists of a beginning: its own, or those of the few words that begin so."""
    while value is None:
        words = pages.range(key, key + b"\xff", 2 * MAX_WORDS)
        if len(words) < 2 * MAX_WORDS:
            return [(word, listed) for word, listed in words if word != key]
        # It was given its own list in between.
        value = pages.some([beginning]).get(beginning)
    return [(beginning, value)]


def _chunks(
    pages: Pages, asked: Sequence[_Asked], chunks: Integers
) -> dict[bytes, list[tuple[int, bytes]]]:
    keys = {
        chunk_key(each.key, chunk): (each.key, chunk)
        for one in asked
        for each in one
        if each.is_chunked
        for chunk in chunks.tolist()
    }
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for page, value in pages.some(list(keys)).items():
        key, chunk = keys[page]
        found.setdefault(key, []).append((chunk, value))
    return found


def _weigh(asked: _Asked, count: int, read: dict[bytes, list[tuple[int, bytes]]]) -> Bytes:
    """How well each name fits, by its number; 0 where it does not."""
    size = -(-count // CHUNK) * CHUNK
    weight = np.zeros(size, np.uint8)
    for each in asked:
        weights = np.array(each.weights, np.uint8)
        if not each.is_chunked:
            packed = np.array(parse_list(each.value), np.int64)
            _raise(weight, packed >> 2, weights[packed & 3])
            continue
        planes: dict[int, bytearray] = {}
        sparse: list[Integers] = []
        for chunk, value in read.get(each.key, ()):
            if len(value) % 2:
                for level, plane in planes_of(value).items():
                    bits = planes.setdefault(level, bytearray(size // 8))
                    bits[chunk * PLANE : (chunk + 1) * PLANE] = plane
            else:
                listed = np.frombuffer(value, "<u2").astype(np.int64)
                sparse.append((listed & 0xFFF) + chunk * CHUNK + ((listed >> 12) << 32))
        if sparse:
            joined = np.concatenate(sparse)
            _raise(weight, joined & 0xFFFFFFFF, weights[joined >> 32])
        for level, bits in planes.items():
            at = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
            np.maximum(weight, at * weights[level], out=weight)
    return weight[:count]


def _raise(weight: Bytes, numbers: Integers, values: Bytes) -> None:
    # Names that came since the count was read are left to the next search.
    is_known = numbers < len(weight)
    numbers, values = numbers[is_known], values[is_known]
    weight[numbers] = np.maximum(weight[numbers], values)


def _ranked(
    pages: Pages,
    mask: Mask,
    total: NDArray[np.uint16],
    words: Sequence[str],
    labels: Sequence[str],
) -> Iterator[Found]:
    numbers = np.flatnonzero(mask)
    if not len(numbers):
        return
    scores = total[numbers]
    for score in np.flatnonzero(np.bincount(scores))[::-1]:
        group = numbers[scores == score]
        named = _sorted(pages, group) if len(group) <= _SORTED else _walked(pages, group, mask.size)
        # A number may have been given to another name since the lists were read.
        yield from (found for found in named if fits(found[1], words, labels))


def _sorted(pages: Pages, numbers: AnyArray) -> Iterator[Found]:
    found = pages.some([doc_key(number) for number in numbers.tolist()])
    # As bytes: of many names the first few are wanted.
    yield from map(parse_doc, sorted(found.values(), key=lambda doc: doc.partition(b"\0")[0]))


def _walked(pages: Pages, numbers: Integers, count: int) -> Iterator[Found]:
    """Many names in order: those of the first pages of the order, then of the next."""
    wanted = np.zeros(count, np.bool_)
    wanted[numbers] = True
    start, step = b"o", 0
    while found := pages.range(start, b"p", _ORDER_PAGES[min(step, len(_ORDER_PAGES) - 1)]):
        start, step = after(start, found), step + 1
        values = [value for _, value in found]
        # Names that are looked for may all be far down the order: most pages have none.
        hits = _hits(b"".join(values), wanted)
        if not len(hits):
            continue
        if len(hits) <= _SORTED:
            yield from _sorted(pages, hits)
        else:
            for value in values:
                yield from _sorted(pages, _hits(value, wanted))


def _hits(value: bytes, wanted: Mask) -> AnyArray:
    listed: AnyArray = np.frombuffer(value, "<u4")
    known: AnyArray = listed[listed < len(wanted)]
    hits: AnyArray = known[wanted[known]]
    return hits
