"""Limits on untrusted input: all of them, in one object.

Records, schemas and shards may come from anyone. Whatever is larger, deeper or slower than these
limits is refused with an error, before memory or time is spent on it. The defaults allow all usual
data::

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
"""Prefix of the environment variable of a limit; its name in capitals follows."""


@dataclass(slots=True)
class Limits:
    """All limits: whole numbers from 1 on, which may be changed at any time."""

    fields: int = 1_000
    """Most fields of one sample type."""
    nesting: int = 32
    """Deepest nesting of lists, maps and samples in a schema."""
    kinds: int = 10_000
    """Most kinds in one schema, those of nested samples counted each time they appear."""
    name_length: int = 512
    """Longest name of a sample type or a field, in characters."""
    references: int = 256
    """Most other schemas that one schema may refer to, directly or through others."""
    choices: int = 1_000
    """Most values that one field may be a choice of."""
    class_names: int = 100_000
    """Most names of the classes of one field."""
    text: int = 10_000
    """Longest description, choice or name of a class in a schema, in characters."""
    metadata: int = 100_000
    """Largest metadata, in characters of JSON of a schema, in bytes of msgpack of a dataset; and
    the largest unknown kind in a schema, in characters."""

    schema_file: int = 4_000_000
    """Largest schema file that is read next to shards, in bytes."""

    samples: int = 10_000_000
    """Most samples of one shard."""
    sample_bytes: int = 2**32
    """Largest payload of one sample."""
    member_names: int = 64
    """Most members that one field may be read from."""
    unpacked_bytes: int = 2**28
    """Most bytes that the compressed members of a sample may hold."""
    member_name: int = 4_096
    """Longest name of a member of a tar, in bytes."""
    extended_bytes: int = 2**20
    """Largest extended header of a tar."""
    extended_headers: int = 16
    """Most extended headers before one member."""

    sample_nesting: int = 64
    """Deepest nesting of lists and maps in a sample without a type."""
    containers: int = 1_000_000
    """Most lists and maps in one sample or message. Each takes one byte there and 64 in memory."""
    marks: int = 1_500_000
    """Most brackets, braces, commas and colons in one JSON document, which bounds its values."""
    json_nesting: int = 128
    """Deepest nesting of lists and objects in a JSON document."""
    record_nesting: int = 64
    """Deepest nesting of lists and maps in a record, a message of a firehose, or metadata."""
    brace_nesting: int = 16
    """Deepest nesting of braces in one URL."""
    array_header: int = 10_000
    """Longest header of an array, in bytes. Its shape must match the bytes that follow."""
    array_dimensions: int = 32
    """Most dimensions of an array. NumPy before 2.0 has no more, and a batch needs one more."""

    image_pixels: int = 89_478_485
    """Most pixels of one picture: 256 MB of RGB. Pillow has a limit of its own of twice as many."""
    image_scans: int = 200
    """Most scans of a progressive JPEG. Each goes over all pixels; encoders write about ten."""
    audio_samples: int = 500_000_000
    """Most samples of one sound that are decoded at once, those of all channels: 2 GB."""

    state_sessions: int = 1_000
    """Most sessions of an epoch, each with other ranks or unequal ones, in the state of reading."""
    state_ranks: int = 200_000
    """Most ranks of all these sessions together."""

    shards: int = 100_000
    """Most shards of one dataset of the network."""
    url_characters: int = 20_000_000
    """Most characters in the URLs of one such dataset, with braces expanded."""
    answer_bytes: int = 16_000_000
    """Largest response of a server of the network. Bodies are never decompressed."""
    document_bytes: int = 1_000_000
    """Largest identity document."""
    table_bytes: int = 100_000_000
    """Largest sample table that is read next to a shard; else the shard is scanned."""
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
    """Longest time for all pages of one listing."""
    head_bytes: int = 200_000
    """Largest head of a response: status and headers, with any "100 Continue" before them."""
    document_seconds: int = 120
    """Longest time for one response or document, from connecting to its last byte; for a shard, to
    the first byte of its body."""
    patience: int = 120
    """Longest that a server which answered before may refuse connections, in seconds, as it does
    during a restart. Then reading from it fails."""
    redirects: int = 10
    """Most redirects that are followed."""

    shard_bytes: int = 2**36
    """Largest shard that is read from a URL of the network."""
    blob_bytes: int = 2**31
    """Largest blob. It is kept in a temporary file until its hash was checked."""
    grace: int = 60
    """Longest that an untrusted server may delay the reader of a shard, in seconds."""
    slowest: int = 1_000
    """Bytes of a shard that earn one of those seconds back."""

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
        """Change limits, in all threads, while a ``with`` block runs."""
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
