"""Documents packed into rows of tokens of one length, for language models."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atdata._arrays import AnyArray, Indices, Integers, distinct
from atdata._secrets import redacted_repr
from atdata.dataset.reading.derived import Derived, Part, fingerprint_of, runs_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.flat import scaled
from atdata.dataset.reading.rows import Rows, SampleRows
from atdata.dataset.reading.values import By, Values
from atdata.errors import EncodeError, LengthError, OptionError
from atdata.samples.packable import packable
from atdata.system.forks import once

_OPEN_ROWS: Final = 32
"""Rows that documents are still put into, where documents stay whole."""


@packable
class TokenRow:
    """Tokens of one or more documents, padded at the end to a fixed length."""

    tokens: NDArray[np.int64]
    """Shape (length,)."""
    segments: NDArray[np.int64]
    """Number in the row of the document that a token is of, from 1 on; 0: padding. Shape
    (length,)."""
    positions: NDArray[np.int64]
    """Place of a token in its document, from 0 on; 0 for padding. Shape (length,)."""


@redacted_repr
class TokenRows(Derived):
    """Rows of tokens.

    Args:
        part: The documents.
        tokens: The field with a document's tokens, or a function that gives them.
        length: Tokens of a row.
        pad: The token that fills a row.
        eos: The token that is put after each document; None: none.
        split: Whether a document is cut where a row ends; else only those that are longer than a
            row.

    Raises:
        OptionError: As in `Dataset.pack`.
    """

    def __init__(
        self, part: Part, tokens: By, length: int, pad: int, eos: int | None, split: bool
    ) -> None:
        super().__init__([part])
        numbers = {"length": length, "pad": pad} | ({} if eos is None else {"eos": eos})
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
                raise OptionError(f"pack: {name}={value!r:.80}: expected a whole number.")
        if length < 1:
            raise OptionError(f"pack: length={length}: expected 1 or more.")
        self._values = Values(part, tokens, "pack")
        self._length, self._pad, self._eos, self._split = length, pad, eos, split

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "inner"}

    @once
    def inner(self) -> Epoch:
        """The dataset, in stored order."""
        return self.parts[0]._epoch(None)

    @once
    def documents(self) -> tuple[Integers, Integers]:
        """Position of each document, and its tokens, with the one that ends it."""
        positions, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with closing(runs_of(self.parts[0])) as runs:  # type: ignore[type-var]
            for rows, taken in runs:
                positions.append(taken - 1)
                lengths.append(np.array([len(tokens) for tokens in self._tokens(rows)], np.int64))
        return np.concatenate(positions), np.concatenate(lengths)

    @once
    def pieces(self) -> tuple[Integers, Integers, Integers, Integers]:
        """Pieces of documents in the order of rows: document, first token, number of tokens, and
        the row of each."""
        lengths = self.documents[1]
        if self._split:
            return _cut_at_rows(lengths, self._length)
        return _whole_in_rows(lengths, self._length)

    @once
    def bounds(self) -> Integers:
        """From which piece on each row has its own; the last number is that of all pieces."""
        rows = self.pieces[3]
        count = int(rows[-1]) + 1 if len(rows) else 0
        return np.searchsorted(rows, np.arange(count + 1))

    @property
    def samples(self) -> int:
        return len(self.bounds) - 1

    def known_samples(self) -> int | None:
        # Rows cannot be read without counting; but shards on servers are not read for a length.
        unread = self.parts[0]._known_samples() is None and "documents" not in self.__dict__
        return None if unread else self.samples

    @property
    def is_filtered(self) -> bool:
        return False

    @once
    def fingerprint(self) -> str:
        positions, lengths = self.documents
        how = self._length, self._pad, self._eos, self._split
        return fingerprint_of(
            "tokens", self.inner.fingerprint, how, positions.tolist(), lengths.tolist()
        )

    @once
    def sizes(self) -> tuple[int, int, int]:
        return scaled(super().sizes, self.samples, len(self.documents[0]))

    def check_sendable(self) -> None:
        super().check_sendable()
        self._values.check_sendable()

    def fetch(self, positions: Integers) -> tuple[Any, Integers, Integers]:
        of, bounds = self.pieces[0], self.bounds
        needed = [of[bounds[row] : bounds[row + 1]] for row in distinct(positions).tolist()]
        documents = distinct(np.concatenate([np.zeros(0, np.int64), *needed]))
        return self.inner.fetch(self.documents[0][documents]), documents, positions

    def finish(
        self, fetched: tuple[Any, Integers, Integers], part: Indices
    ) -> tuple[Rows, Integers]:
        inner, documents, positions = fetched
        bounds, wanted = self.bounds, positions[part]
        spans = [slice(int(bounds[row]), int(bounds[row + 1])) for row in wanted.tolist()]
        needed = distinct(
            np.concatenate([np.zeros(0, np.int64), *(self.pieces[0][s] for s in spans)])
        )
        rows, _ = self.inner.finish(inner, np.searchsorted(documents, needed))
        tokens = dict(zip(needed.tolist(), self._tokens(rows), strict=True))
        lengths = self.documents[1]
        for key, (document, now) in zip(rows.keys, tokens.items(), strict=True):
            if len(now) != lengths[document]:
                raise LengthError(
                    f"pack({self._values}), sample {key!r}: it had {lengths[document]} tokens when "
                    f"they were counted, and now {len(now)}. It must have the same each time."
                )
        made = [self._row(span, tokens) for span in spans]
        keys = [f"{row:09d}" for row in wanted.tolist()]
        return SampleRows(keys, made), np.arange(len(made))

    def _row(self, span: slice, tokens: dict[int, AnyArray]) -> TokenRow:
        row = np.full(self._length, self._pad, np.int64)
        segments, places = np.zeros(self._length, np.int64), np.zeros(self._length, np.int64)
        at = 0
        found = zip(*(column[span].tolist() for column in self.pieces[:3]), strict=True)
        for number, (document, first, count) in enumerate(found, 1):
            row[at : at + count] = tokens[document][first : first + count]
            segments[at : at + count] = number
            places[at : at + count] = np.arange(first, first + count)
            at += count
        return TokenRow(row, segments, places)

    def _tokens(self, rows: Rows) -> list[AnyArray]:
        """The tokens of each document, with the one that ends it."""
        out = []
        for key, given in zip(rows.keys, self._values.of(rows), strict=True):
            try:
                tokens = np.asarray(given)
            except (TypeError, ValueError):
                tokens = np.zeros((0, 0))
            if tokens.size == 0 and tokens.ndim == 1:
                tokens = tokens.astype(np.int64)
            if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.dtype == np.uint64:
                raise EncodeError(
                    f"pack({self._values}), sample {key!r}: expected a list or an array of whole "
                    f"numbers, of shape (n,), found {type(given).__name__} of dtype "
                    f"{tokens.dtype} and shape {tokens.shape}."
                )
            tokens = tokens.astype(np.int64)
            out.append(tokens if self._eos is None else np.append(tokens, np.int64(self._eos)))
        return out

    def shown(self) -> str:
        return f"rows of {self._length} tokens of {self.parts[0]!r}"


def _cut_at_rows(lengths: Integers, length: int) -> tuple[Integers, Integers, Integers, Integers]:
    """All tokens one after the other, cut into rows."""
    filled = np.flatnonzero(lengths)
    ends = np.cumsum(lengths[filled])
    starts = ends - lengths[filled]
    counts = (ends - 1) // length - starts // length + 1
    document = np.repeat(np.arange(len(filled)), counts)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    row = starts[document] // length + nth
    first = np.maximum(starts[document], row * length)
    stop = np.minimum(ends[document], (row + 1) * length)
    return filled[document], first - starts[document], stop - first, row


def _whole_in_rows(lengths: Integers, length: int) -> tuple[Integers, Integers, Integers, Integers]:
    """Each document in the first open row that has room for it."""
    pieces: list[tuple[int, int, int, int]] = []
    rows = 0
    room: dict[int, int] = {}
    for document, tokens in enumerate(lengths.tolist()):
        for first in range(0, tokens, length):
            count = min(length, tokens - first)
            row = next((row for row, left in room.items() if left >= count), None)
            if row is None:
                row, rows = rows, rows + 1
                room[row] = length
                if len(room) > _OPEN_ROWS:
                    del room[next(iter(room))]
            pieces.append((row, document, first, count))
            room[row] -= count
            if not room[row]:
                del room[row]
    pieces.sort()
    columns = np.array(pieces, np.int64).reshape(-1, 4).T
    return columns[1], columns[2], columns[3], columns[0]
