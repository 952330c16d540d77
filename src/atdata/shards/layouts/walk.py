"""Walking a tar whose samples are several members each, as WebDataset writes them.

The members of a sample stand next to each other, so a sample is one range of the tar: from the
first header of its first member to the end of the last one's data. It is recorded as if it were
one member whose header is the range's first record, and whose payload is the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from atdata._limits import limits
from atdata._shardlist import Layout
from atdata.errors import ShardError
from atdata.shards.layouts.names import field_text, is_msgpack, key_text, of_sample
from atdata.shards.layouts.plain import Samples, find_samples
from atdata.shards.tar.header import BLOCK, Extended
from atdata.shards.tar.keys import KeyRegister
from atdata.shards.tar.links import LinksError, Tree
from atdata.shards.tar.members import Buffer, Marker, Member, Members, Short, add_kind, kind_of
from atdata.shards.tar.scan import Found

_TYPICAL_BYTES: Final = 1 << 14
"""Bytes of a sample in a tar, as long as none was found."""
_LONGEST_WALK_SAMPLES: Final = 256
"""Samples after which headers are compared again at the latest."""
_LEAST_SPAN_BYTES: Final = 1 << 17
"""Bytes that are looked at together, at least."""
APART: Final = (
    "two samples have this key, or the members of one do not stand next to each other, so that "
    "WebDataset's readers give it in parts. Write the shard again, its members sorted by name"
)
"""What is wrong with samples whose key comes again later."""


class MembersWalker:
    """Finds the samples of one tar of the members layout; used like `Walker`."""

    layout: Final[Layout] = "members"
    names: Final[Mapping[int, bytes]] = {}
    """As of `Walker`: no sample is a link, only members of samples are."""

    def __init__(self) -> None:
        self.samples = 0
        self.others: Counter[str] = Counter()
        """Counts of members that belong to no sample, by their kind as a warning names it."""
        self._bytes = 0
        self.links: dict[int, tuple[int, int] | str] = {}
        """See `SampleTable`."""
        self.apart: set[str] = set()
        """Keys that came again."""
        self._keys = KeyRegister()
        self._tree: Tree | None = None
        self._members = Members()
        self._patience = 1
        self._left_to_walk = 0
        self._counted = 0
        """Where in the tar the members end whose kinds were counted."""

    @property
    def alone(self) -> bool:
        """Whether every member so far belongs to a sample, and each sample can be in a table."""
        return not (self.others or self.links or self.apart)

    @property
    def typical(self) -> int:
        """Bytes that a sample takes in this tar, headers and padding included."""
        return self._bytes // self.samples if self.samples else _TYPICAL_BYTES

    def find(self, window: Buffer, at: int, *, base: int, final: bool, most: int) -> Found:
        """Find samples from ``at`` on, as `Walker.find` does.

        Raises:
            ShardError: Damaged, cut short, no tar, or a sample of the msgpack layout.
            LinksError: A member is a link, and the window is not the whole tar.
        """
        if self._left_to_walk <= 0 and most > 1 and self._members.everywhere == Extended():
            span = (most + 2) * self.typical * 5 // 4
            samples = find_samples(window, at, span=max(span, _LEAST_SPAN_BYTES), most=most)
            if samples is not None and self._fits(samples):
                self._patience = 1
                return self._taken(samples, base, at)
            # Where headers differ often, comparing them costs more than it saves.
            self._patience = min(4 * self._patience, _LONGEST_WALK_SAMPLES)
            self._left_to_walk = self._patience
        found = self._walk(window, at, base, final, min(most, max(1, self._left_to_walk)))
        self._left_to_walk -= len(found.offsets)
        return found

    def _fits(self, samples: Samples) -> bool:
        """Whether the limits allow some samples; else the walk says which one they do not."""
        sizes = samples.ends - samples.starts
        return (
            int(sizes.max()) <= limits.sample_bytes and self.samples + len(sizes) <= limits.samples
        )

    def _taken(self, samples: Samples, base: int, at: int) -> Found:
        """Samples that were found many at once."""
        starts, keys = samples.starts, samples.keys
        lengths = np.count_nonzero(keys, axis=1)
        cuts = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(keys)]
        refused: dict[int, str] = {}
        for first, end in pairwise(cuts):
            part = np.ascontiguousarray(keys[first:end, : int(lengths[first])])
            for row in self._keys.add_many(part):
                refused[first + row] = APART
                self.apart.add(part[row].tobytes().decode("ascii"))
        self._members.last_key = keys[-1].tobytes().rstrip(b"\0").decode("ascii")
        self.samples += len(keys)
        self._bytes += samples.after - at
        sizes = samples.ends - starts - BLOCK
        inside = samples.members
        return Found(starts + BLOCK, sizes, keys, samples.after, inside=inside, refused=refused)

    def _walk(self, window: Buffer, at: int, base: int, final: bool, most: int) -> Found:
        """As `find`, header by header."""
        offsets: list[int] = []
        sizes: list[int] = []
        keys: list[str] = []
        refused: dict[int, str] = {}
        found = Found(offsets, sizes, keys, at, refused=refused)
        sample: _Sample | None = None
        while True:
            start = at
            if at > len(window) and not final:
                found.need = at - found.end + BLOCK
                return found
            member = self._members.next(window, at, base=base, final=final)
            if isinstance(member, Short):
                found.need = at - found.end + member.need
                return found
            if isinstance(member, Marker):
                at, named = member.at, None
            else:
                self._check(member, base)
                if final:
                    self._members.check_whole(member, window, base)
                at, named = member.end, of_sample(member)
                if member.is_link and named is not None:
                    named = named if self._follows(member, window, base, final) else None
            if sample is not None and (isinstance(member, Marker) or _is_next(named, sample)):
                if self._ended(sample, base):
                    refused[len(keys)] = APART
                keys.append(sample.key)
                offsets.append(sample.start + BLOCK)
                sizes.append(sample.end - sample.start - BLOCK)
                found.end, sample = start, None
                if len(offsets) == most and not isinstance(member, Marker):
                    return found
            if isinstance(member, Marker):
                found.end, found.over = member.at, True
                return found
            if named is None:
                self._other(member, base + at)
                if sample is None:
                    found.end = at
                continue
            key, field = named
            if sample is None:
                sample = _Sample(key, key_text(key, base + start), start)
            field_text(field, base + start)
            sample.add(member, self.links.get(base + member.header))

    def finish(self) -> None:
        """Check what was found: nothing is left to check."""

    def _ended(self, sample: _Sample, base: int) -> bool:
        """Register a sample that is whole; whether another one has its key."""
        here = base + sample.start
        if sample.is_msgpack:
            raise ShardError(
                "this sample is one msgpack member, while the first one of the shard has several: "
                "a shard is either all msgpack samples or all of members. Split it in two",
                offset=here,
                key=sample.key,
            )
        size = sample.end - sample.start + sample.linked
        if size > limits.sample_bytes:
            raise ShardError(f"a sample of {size:,} bytes", offset=here, key=sample.key)
        again = not self._keys.add(sample.key)
        if again:
            self.apart.add(sample.key)
        self._members.last_key = sample.key
        self.samples += 1
        self._bytes += size - sample.linked
        if self.samples > limits.samples:
            raise ShardError(f"more than {limits.samples:,} samples in one shard", offset=here)
        return again

    def _follows(self, link: Member, window: Buffer, base: int, final: bool) -> bool:
        """Follow a link as unpacking would; False: to a folder, so that it is of no sample."""
        if base or not final:
            raise LinksError
        self._tree = self._tree or Tree(window)
        if self._tree.leads_to_folder(link):
            return False
        if link.header not in self.links:
            try:
                file = self._tree.file(link)
                self.links[link.header] = file.data, file.size
            except ShardError as error:
                self.links[link.header] = error.problem
        return True

    def _check(self, member: Member, base: int) -> None:
        said = self._members.everywhere
        if said.name is not None or said.size is not None:
            raise ShardError(
                "a global extended header that names or sizes all members, which is not supported",
                offset=base + member.header,
            )
        if member.has_data and member.size > limits.sample_bytes:
            raise ShardError(f"a member of {member.size:,} bytes", offset=base + member.header)

    def _other(self, member: Member, end: int) -> None:
        # A sample that is not whole yet is walked again.
        if end > self._counted:
            self._counted = end
            kind = kind_of(member)
            if kind is not None:
                add_kind(self.others, kind)


class _Sample:
    """A sample whose members are being found."""

    def __init__(self, raw: bytes, key: str, start: int) -> None:
        self.raw = raw
        self.key = key
        self.start = self.end = start
        self.is_msgpack = True
        """Whether its only member so far is a sample of the msgpack layout."""
        self.linked = 0
        """Bytes that links of it lead to."""

    def add(self, member: Member, link: tuple[int, int] | str | None) -> None:
        """Add a member; of a link, see `SampleTable.links`."""
        self.is_msgpack = self.end == self.start and is_msgpack(member)
        self.end = member.data_end
        self.linked += link[1] if isinstance(link, tuple) else 0


def _is_next(named: tuple[bytes, bytes] | None, sample: _Sample) -> bool:
    return named is not None and named[0] != sample.raw
