"""The kind of fields that a newer version wrote"""

from __future__ import annotations

from dataclasses import dataclass

from atdata.samples.kinds.kind import Kind


@dataclass(frozen=True)
class Unknown(Kind):
    """A kind that a newer version wrote. Its samples can be read as DictSample."""

    name: str
    record: str
    """The kind's record as JSON, to be written again unchanged."""

    def describe(self) -> str:
        return f"unknown kind {self.name!r}"
