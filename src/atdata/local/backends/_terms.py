"""The search index: pages of terms, with where each occurs and how well it matches.

A page is a key and a value, both bytes. Every backend keeps the same pages, and all of them
change with the entry in one transaction, so that every backend answers alike.

======================  ==========================================================
key                     value
======================  ==========================================================
``m``                   the number of the next name, and numbers that are free again
``n{name}``             the number of a name
``d{number}``           the name, and its terms, each after its level
``o{name}``             numbers of names from this one on to the next such page
``t{term}``             where a term is: a list, or ``b`` where there are chunks
``p{beginning}``        where words are that begin so: the same
``q{beginning}``        how many words there are with each next character
``c{key}\\0{number}``    a chunk of the list of ``t…`` or ``p…``: 4,096 names
======================  ==========================================================

Names have numbers so that a term that all of a million names have is 125 kB of bits. A beginning
of words has a list of its own as soon as many words begin so: the words of all others are few.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from atdata.errors import BackendError

Terms = Mapping[str, int]
"""What a name is found by: each term with its level, 0 to 3; a higher one fits better."""
Change = tuple[str, Terms | None]
"""A name and its terms from now on; None: it is removed."""

MAX_NAMES: Final = 100_000_000
"""Most names of an index; more are a sign of damage."""
CHUNK: Final = 4_096
"""Names of one chunk."""
PLANE: Final = CHUNK // 8
MAX_LISTED: Final = 128
"""Most names of a term whose list is one page."""
MAX_SPARSE: Final = 256
"""Most names in a chunk that is a list; more are bits."""
MAX_WORDS: Final = 64
"""Most words that begin alike, those in chunks counted 16 times, without a list of their own."""
CHUNKED: Final = 16
ORDER: Final = 512
"""Most names of a page of the order."""
_FREE: Final = 256
META: Final = b"m"
"""The key of the page that is read before any other."""
_ID: Final = struct.Struct(">I")


class Pages(Protocol):
    """How pages are read."""

    def some(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of these pages that exist."""

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first ``limit`` pages with ``start <= key < end`` of the kinds ``t`` and ``o``."""

    def last(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        """The last page with ``start <= key <= end`` of the kinds ``t`` and ``o``."""


def doc_key(number: int) -> bytes:
    """The key of a name by its number."""
    return b"d" + _ID.pack(number)


def chunk_key(key: bytes, chunk: int) -> bytes:
    """The key of a chunk of a list."""
    return b"c" + key + b"\0" + _ID.pack(chunk)


def count_of(meta: bytes | None) -> int:
    """One more than the greatest number that a name has."""
    return 0 if meta is None else _checked_count(struct.unpack_from("<I", meta)[0])


def _checked_count(count: int) -> int:
    if count > MAX_NAMES:
        raise ValueError(f"{count} names")
    return count


def parse_doc(value: bytes) -> tuple[str, dict[str, int]]:
    """A name and its terms."""
    name, _, terms = value.partition(b"\0")
    return name.decode(), {term[1:]: int(term[0]) for term in terms.decode().split()}


def parse_list(value: bytes) -> list[int]:
    """A list of one page: numbers times four, plus the level."""
    return list(struct.unpack(f"<{len(value) // 4}I", value[1:]))


@contextmanager
def sensible(where: str) -> Iterator[None]:
    """Turn what comes of pages that make no sense into an error that says so."""
    try:
        yield
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendError(
            f"{where} is damaged: its search terms cannot be read "
            f"({type(error).__name__}). Restore it from a copy."
        ) from error


def plan(pages: Pages, changes: Iterable[Change]) -> dict[bytes, bytes | None]:
    """Which pages change, and to what, when names get other terms; None: the page is removed.

    The pages must not change until all of this is written.

    Raises:
        BackendError: Pages that make no sense.
    """
    with sensible("The index"):
        return _Plan(pages).made(dict(changes))


class _Plan:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._known: dict[bytes, bytes | None] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._new_order: list[bytes] = []
        self._next = 0
        self._free: list[int] = []
        self._costs: dict[bytes, int] = {}

    def made(self, changes: Mapping[str, Terms | None]) -> dict[bytes, bytes | None]:
        self._load([META, *(_name_key(name) for name in changes)])
        meta = self._known[META] or b"\0\0\0\0"
        count, *self._free = struct.unpack(f"<{len(meta) // 4}I", meta)
        self._next = _checked_count(count)
        numbered = {name: self._known[_name_key(name)] for name in changes}
        self._load([doc_key(_ID.unpack(value)[0]) for value in numbered.values() if value])
        changed: list[tuple[int, dict[str, int], Terms]] = []
        came, went = [], []
        for name, terms in changes.items():
            number, old = self._number(name), {}
            if number is None:
                if terms is None:
                    continue
                number = self._allocate(name)
                came.append((name, number))
            else:
                old = parse_doc(self._get(doc_key(number)) or b"\0")[1]
            if terms is None:
                self._put(_name_key(name), None)
                self._put(doc_key(number), None)
                self._free.append(number)
                went.append((name, number))
            elif old != terms or (name, number) in came[-1:]:
                keyed = " ".join(f"{level}{term}" for term, level in terms.items())
                self._put(doc_key(number), f"{name}\0{keyed}".encode())
            changed.append((number, old, terms or {}))
        if came or went:
            self._put(META, _pack([self._next, *self._free[-_FREE:]]))
        self._leave(went)
        self._enter(sorted(came, key=lambda pair: pair[0].encode()))
        self._list(changed)
        return {key: new for key, new in self._changed.items() if new != self._known.get(key)}

    def _number(self, name: str) -> int | None:
        value = self._get(_name_key(name))
        return None if value is None else int(_ID.unpack(value)[0])

    def _allocate(self, name: str) -> int:
        if self._free:
            number = self._free.pop()
        else:
            number, self._next = self._next, self._next + 1
        self._put(_name_key(name), _ID.pack(number))
        return number

    # The order of names.

    def _enter(self, came: Sequence[tuple[str, int]]) -> None:
        at = 0
        while at < len(came):
            key = self._order_page(came[at][0])
            stop = self._pages.range(key + b"\0", b"p", 1)
            bounds = [bound for bound, _ in stop]
            later = bisect_right(self._new_order, key)
            bounds += self._new_order[later : later + 1]
            first = at
            while at < len(came) and all(b"o" + came[at][0].encode() < b for b in bounds):
                at += 1
            self._extend(key, came[first:at], is_last=not bounds)

    def _order_page(self, name: str) -> bytes:
        found = self._pages.last(b"o", b"o" + name.encode())
        key, value = found or (b"o", b"")
        later = bisect_right(self._new_order, b"o" + name.encode())
        if later and self._new_order[later - 1] > key:
            return self._new_order[later - 1]
        self._known.setdefault(key, None if found is None else value)
        return key

    def _extend(self, key: bytes, came: Sequence[tuple[str, int]], *, is_last: bool) -> None:
        listed = _numbers(self._get(key) or b"")
        if len(listed) + len(came) <= ORDER:
            self._put(key, _pack([*listed, *(number for _, number in came)]))
            return
        self._load([doc_key(number) for number in listed])
        names = [(parse_doc(self._get(doc_key(n)) or b"\0")[0].encode(), n) for n in listed]
        names += [(name.encode(), number) for name, number in came]
        appended = is_last and max(names[: len(listed)], default=(b"", 0)) <= names[-len(came)]
        names.sort()
        # Names that come in order fill their pages; others leave room for more.
        size = ORDER if appended else -(-len(names) // -(-len(names) * 4 // (ORDER * 3)))
        for start in range(0, len(names), size):
            part = names[start : start + size]
            page = key if start == 0 else b"o" + part[0][0]
            self._put(page, _pack([number for _, number in part]))
            if start:
                insort(self._new_order, page)

    def _leave(self, went: Sequence[tuple[str, int]]) -> None:
        for name, number in went:
            key = self._order_page(name)
            self._put(key, _pack([n for n in _numbers(self._get(key) or b"") if n != number]))

    # Where terms are.

    def _list(self, changed: Sequence[tuple[int, dict[str, int], Terms]]) -> None:
        words = {
            term[1:] for _, *sides in changed for side in sides for term in side if term[0] == "w"
        }
        lists = self._beginnings(words)
        updates: dict[bytes, dict[int, int | None]] = defaultdict(dict)
        for number, old, new in changed:
            before, after = _expanded(old, lists), _expanded(new, lists)
            for key in before.keys() | after.keys():
                if before.get(key) != after.get(key):
                    updates[key][number] = after.get(key)
        self._load(list(updates))
        self._load(
            [
                chunk_key(key, chunk)
                for key, of_key in updates.items()
                if self._get(key) == b"b"
                for chunk in {number // CHUNK for number in of_key}
            ]
        )
        for key, of_key in updates.items():
            self._update(key, of_key)
        self._count(lists)

    def _beginnings(self, words: Iterable[str]) -> dict[str, list[bytes]]:
        """For each word the keys of the lists of its beginnings, shortest first."""
        lists: dict[str, list[bytes]] = {word: [] for word in words}
        firsts = {word[0] for word in lists}
        keys = {word[:size] for word in lists for size in range(1, min(4, len(word)) + 1)}
        self._load([_beginning_key(key) for key in keys])
        for first in firsts:
            if self._get(_beginning_key(first)) is None:
                self._put(_beginning_key(first), b"s")
        open_words, size = list(lists), 1
        while open_words:
            self._load([_beginning_key(word[:size]) for word in open_words])
            open_words = [
                word for word in open_words if self._get(_beginning_key(word[:size])) is not None
            ]
            for word in open_words:
                lists[word].append(_beginning_key(word[:size]))
            size += 1
            open_words = [word for word in open_words if len(word) >= size]
        return lists

    def _update(self, key: bytes, of_key: Mapping[int, int | None]) -> None:
        value = self._get(key)
        if value == b"b":
            for chunk, of_chunk in _by_chunk(of_key).items():
                page = chunk_key(key, chunk)
                self._put(page, _changed_chunk(self._get(page), of_chunk))
            return
        listed = {packed >> 2: packed & 3 for packed in parse_list(value or b"s")}
        for number, level in of_key.items():
            if level is None:
                listed.pop(number, None)
            else:
                listed[number] = level
        self._write(key, listed, was=value)

    def _write(self, key: bytes, listed: Mapping[int, int], *, was: bytes | None) -> None:
        if len(listed) <= MAX_LISTED:
            packed = sorted(number << 2 | level for number, level in listed.items())
            value = b"s" + struct.pack(f"<{len(packed)}I", *packed)
            self._put(key, None if key[:1] == b"t" and not listed else value)
            cost = 1 if listed else 0
        else:
            self._put(key, b"b")
            for chunk, of_chunk in _by_chunk(listed).items():
                self._put(chunk_key(key, chunk), _changed_chunk(None, of_chunk))
            cost = CHUNKED
        if key[:2] == b"tw" and cost != (was is not None):
            self._costs[key] = cost - (was is not None)

    def _count(self, lists: Mapping[str, Sequence[bytes]]) -> None:
        """Count words under the longest beginning that has a list, and give lists to others."""
        deltas: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for key, cost in self._costs.items():
            word = key[2:].decode()
            longest = lists[word][-1][1:].decode()
            if len(word) > len(longest):
                deltas[longest][word[len(longest)]] += cost
        self._load([_counts_key(beginning) for beginning in deltas])
        for beginning, of_beginning in deltas.items():
            counts: dict[str, int] = json.loads(self._get(_counts_key(beginning)) or b"{}")
            for character, cost in of_beginning.items():
                counts[character] = counts.get(character, 0) + cost
            self._settle(beginning, counts)

    def _settle(self, beginning: str, counts: dict[str, int]) -> None:
        crowded = [character for character, count in counts.items() if count > MAX_WORDS]
        for character in crowded:
            del counts[character]
        kept = {character: count for character, count in counts.items() if count > 0}
        self._put(_counts_key(beginning), json.dumps(kept).encode() if kept else None)
        for character in crowded:
            self._give_list(beginning + character)

    def _give_list(self, beginning: str) -> None:
        start = f"tw{beginning}".encode()
        under: dict[bytes, bytes | None] = dict(self._all(start))
        under.update((k, v) for k, v in self._changed.items() if k.startswith(start))
        listed: dict[int, int] = {}
        counts: dict[str, int] = defaultdict(int)
        for key, value in under.items():
            if value is None:
                continue
            for number, level in self._read(key, value):
                listed[number] = max(level, listed.get(number, 0))
            if rest := key[len(start) :].decode():
                counts[rest[0]] += CHUNKED if value == b"b" else 1
        self._write(_beginning_key(beginning), listed, was=None)
        self._settle(beginning, counts)

    def _all(self, start: bytes) -> Iterable[tuple[bytes, bytes]]:
        at = start
        while found := self._pages.range(at, start + b"\xff", 1_000):
            yield from found
            at = after(at, found)

    def _read(self, key: bytes, value: bytes) -> Iterable[tuple[int, int]]:
        if value != b"b":
            yield from ((packed >> 2, packed & 3) for packed in parse_list(value))
            return
        keys = [chunk_key(key, chunk) for chunk in range(self._next // CHUNK + 1)]
        self._load(keys)
        for chunk, page in enumerate(keys):
            for offset, level in _unpacked_chunk(self._get(page)).items():
                yield chunk * CHUNK + offset, level

    # Pages, as they are after what was changed so far.

    def _load(self, keys: Sequence[bytes]) -> None:
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        if missing:
            found = self._pages.some(missing)
            self._known.update((key, found.get(key)) for key in missing)

    def _get(self, key: bytes) -> bytes | None:
        if key in self._changed:
            return self._changed[key]
        if key not in self._known:
            self._load([key])
        return self._known[key]

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._changed[key] = value


def after(at: bytes, found: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Where the next pages begin after those that were found from ``at`` on."""
    last = found[-1][0]
    if last < at:
        raise ValueError("pages out of order")
    return last + b"\0"


def _expanded(terms: Terms, lists: Mapping[str, Sequence[bytes]]) -> dict[bytes, int]:
    """Every list that a name with these terms is in, with its level there."""
    found: dict[bytes, int] = {}
    for term, level in terms.items():
        found[f"t{term}".encode()] = level
        if term[0] == "w":
            for key in lists[term[1:]]:
                if found.get(key, -1) < level:
                    found[key] = level
    return found


def _name_key(name: str) -> bytes:
    return b"n" + name.encode()


def _beginning_key(beginning: str) -> bytes:
    return b"p" + beginning.encode()


def _counts_key(beginning: str) -> bytes:
    return b"q" + beginning.encode()


def _numbers(value: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(value) // 4}I", value))


def _pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def _by_chunk(levels: Mapping[int, int | None]) -> dict[int, dict[int, int | None]]:
    by_chunk: dict[int, dict[int, int | None]] = defaultdict(dict)
    for number, level in levels.items():
        by_chunk[number // CHUNK][number % CHUNK] = level
    return by_chunk


def _changed_chunk(value: bytes | None, changes: Mapping[int, int | None]) -> bytes | None:
    """A chunk with other levels at some offsets; None where nothing is left.

    A sparse chunk is a list of 16-bit numbers, the level in the upper four bits; a dense one a
    byte that says which levels there are, and 4,096 bits for each. Their sizes differ in parity.
    """
    if value is None or len(value) % 2 == 0:
        listed = _unpacked_chunk(value)
        for offset, level in changes.items():
            if level is None:
                listed.pop(offset, None)
            else:
                listed[offset] = level
        if len(listed) <= MAX_SPARSE:
            packed = sorted(level << 12 | offset for offset, level in listed.items())
            return struct.pack(f"<{len(packed)}H", *packed) or None
        planes: dict[int, bytearray] = {}
        changes = listed
    else:
        planes = {level: bytearray(plane) for level, plane in planes_of(value).items()}
    for offset, level in changes.items():
        byte, bit = offset >> 3, 1 << (offset & 7)
        for plane in planes.values():
            plane[byte] &= ~bit
        if level is not None:
            planes.setdefault(level, bytearray(PLANE))[byte] |= bit
    kept = {level: planes[level] for level in sorted(planes) if any(planes[level])}
    if not kept:
        return None
    return bytes([sum(1 << level for level in kept)]) + b"".join(kept.values())


def planes_of(value: bytes) -> dict[int, memoryview]:
    """The bits of a dense chunk, level by level."""
    view = memoryview(value)
    levels = [level for level in range(4) if value[0] >> level & 1]
    return {level: view[1 + PLANE * n : 1 + PLANE * (n + 1)] for n, level in enumerate(levels)}


def _unpacked_chunk(value: bytes | None) -> dict[int, int]:
    if value is None:
        return {}
    if len(value) % 2 == 0:
        packed = struct.unpack(f"<{len(value) // 2}H", value)
        return {number & 0xFFF: number >> 12 for number in packed}
    return {
        offset: level
        for level, plane in planes_of(value).items()
        for offset in range(CHUNK)
        if plane[offset >> 3] >> (offset & 7) & 1
    }
