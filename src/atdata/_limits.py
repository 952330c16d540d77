"""Limits on untrusted input: all of them, in one object.

Records, schemas and shards may be a stranger's. What is larger, deeper or slower than this is
refused with an error of ours, before memory or time is spent on it. The defaults let
everything through that is usual::

    atdata.limits.fields = 5_000                # for this process
    ATDATA_LIMIT_FIELDS=5000 python train.py    # for it and its worker processes
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Final

from atdata.errors import OptionError

VARIABLE: Final = "ATDATA_LIMIT_"
"""What the environment variable of a limit begins with; its name in capitals follows."""


@dataclass(slots=True)
class Limits:
    """Every limit: whole numbers from 1 on, which may be set at any time."""

    fields: int = 1_000
    """Most fields of one sample type."""
    nesting: int = 32
    """Deepest nesting of lists, maps and samples in a schema."""
    kinds: int = 10_000
    """Most kinds in one schema, those of nested samples counted each time they appear."""
    name_length: int = 512
    """Longest name of a sample type or a field, in characters."""
    references: int = 256
    """Most other schemas that one schema may lead to."""
    choices: int = 1_000
    """Most values that one field may be a choice of."""
    text: int = 10_000
    """Longest description, choice or unknown kind in a schema, in characters."""
    metadata: int = 100_000
    """Largest metadata, in characters of JSON of a schema, in bytes of msgpack of a dataset."""

    samples: int = 10_000_000
    """Most samples of one shard."""
    sample_bytes: int = 2**32
    """Largest payload of one sample."""
    member_name: int = 4_096
    """Longest name of a member of a tar, in bytes."""
    extended_bytes: int = 2**20
    """Largest extended header of a tar."""
    extended_headers: int = 16
    """Most extended headers before one member."""

    sample_nesting: int = 64
    """Deepest nesting of lists and maps in a sample without a type."""
    containers: int = 1_000_000
    """Most lists and maps in one sample or message: one takes a byte there, 64 in memory."""
    marks: int = 1_500_000
    """Most brackets, braces, commas and colons of one JSON document: no more values are in it."""
    json_nesting: int = 128
    """Deepest nesting of lists and objects in a JSON document."""
    record_nesting: int = 64
    """Deepest nesting of lists and maps in a record, a message of a firehose, or metadata."""
    brace_nesting: int = 16
    """Deepest nesting of braces in a URL that stands for several."""
    array_header: int = 10_000
    """Longest header of an array, in bytes. What it claims must be the bytes that are there."""
    array_dimensions: int = 32
    """Most dimensions of an array. NumPy before 2.0 has no more, and a batch needs one more."""

    shards: int = 100_000
    """Most shards of one dataset of the network."""
    url_characters: int = 20_000_000
    """Most characters of the URLs of one such dataset, braces written out."""
    answer_bytes: int = 16_000_000
    """Largest answer of a server of the network; bodies are never decompressed."""
    document_bytes: int = 1_000_000
    """Largest identity document."""
    table_bytes: int = 100_000_000
    """Largest table of samples that is read from beside a shard; else the shard is scanned."""
    accounts: int = 1_000_000
    """Most accounts that one listing of a server or relay may have."""
    records: int = 100_000
    """Most records of one collection of an account."""
    pages: int = 10_000
    """Most pages of one listing."""
    message_bytes: int = 5_000_000
    """Largest message of a firehose; the blocks of a commit have at most 2,000,000 bytes."""
    page_bytes: int = 4_000_000
    """Bytes of entries after which one page of a local index ends; one entry may be larger."""
    listing_seconds: int = 600
    """Longest that the pages of one listing may be waited for, together."""
    head_bytes: int = 200_000
    """Largest head of an answer: its status and headers, with any "100 Continue" before them."""
    document_seconds: int = 120
    """Longest that one answer or document may take, from connecting to its last byte; of a
    shard, to the first byte of its body."""
    patience: int = 120
    """Longest that a server which has answered before may refuse connections until reading from it
    is an error, in seconds: what a restart may take."""
    redirects: int = 10
    """Most redirects that are followed."""

    shard_bytes: int = 2**36
    """Largest shard that is read from a stranger's URL."""
    blob_bytes: int = 2**31
    """Largest blob, which is kept in a temporary file until it was checked."""
    grace: int = 60
    """Longest that a stranger's server may keep the reader of a shard waiting, in seconds."""
    slowest: int = 1_000
    """Bytes of a shard that give one of those seconds back."""

    def __post_init__(self) -> None:
        for field in fields(self):
            said = os.environ.get(VARIABLE + field.name.upper())
            if said is not None:
                setattr(self, field.name, _number(field.name, said))

    def __setattr__(self, name: str, value: int) -> None:
        if type(value) is not int or value < 1:
            raise OptionError(f"limits.{name}={value!r}: a limit is a whole number from 1 on.")
        object.__setattr__(self, name, value)

    @contextmanager
    def set(self, **changes: int) -> Iterator[None]:
        """Other limits while a ``with`` block runs, in all threads."""
        before = {name: getattr(self, name) for name in changes}
        try:
            for name, value in changes.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise OptionError(f"{VARIABLE}{name.upper()}={text!r}: expected a whole number from 1 on.")
    return int(text)


limits: Final = Limits()
"""The limits of this process."""
