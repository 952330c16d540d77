"""PromotionPlan: what a promotion would do, as a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from atdata._secrets import redacted, redacted_repr
from atdata.errors import AtdataError

POINTS_AN_HOUR: Final = 5_000
POINTS_A_DAY: Final = 35_000
"""Write points that large hosts grant: https://docs.bsky.app/docs/advanced-guides/rate-limits"""
UPLOADS_A_DAY: Final = 1_000
"""Blobs that the largest host takes from one address in a day."""
CREATE: Final = 3
UPDATE: Final = 2
"""Points that writing a record costs."""


@redacted_repr
@dataclass(frozen=True)
class SchemaPlan:
    """What happens with the schema."""

    name: str
    version: str
    state: Literal["found", "new", "conflict"]
    uri: str
    """Where it is, or will be."""


@redacted_repr
@dataclass(frozen=True)
class PromotionPlan:
    """What a promotion would do. Making it wrote nothing."""

    name: str
    account: str
    """Handle of the account that publishes."""
    server: str
    """Its server."""
    shards: int
    samples: int | None
    """In all shards; None: not known of every one."""
    bytes: int | None
    """Of all shards."""
    schema: SchemaPlan | None = None
    """None: the index does not have it."""
    uri: str | None = None
    """Of the dataset's record."""
    record: Literal["new", "update", "unchanged"] = "new"
    record_bytes: int | None = None
    """Size of the record as JSON."""
    manifest: bool = False
    """Whether the record has no room for what is known of the shards, so that a manifest has it."""
    manifest_url: str | None = None
    """URL of the manifest, where it is an object; else it is a blob."""
    copies_to: str | None = None
    """The store that shards are copied to; None: they stay where they are."""
    shards_to_copy: int = 0
    bytes_to_copy: int | None = 0
    shards_to_split: int = 0
    """Shards that are larger than the server takes, and are written again as several."""
    blob_limit: int | None = None
    """Largest blob that the server takes, in bytes; asked only where blobs are sent."""
    uploads: int = 0
    """Blobs that are sent."""
    write_points: int = 0
    """What writing the records costs, on servers that count."""
    readable: tuple[str, ...] = ()
    """URLs that the first and the last shard can be read at without credentials."""
    unreadable: tuple[str, ...] = ()
    """URLs that others cannot read, or not without credentials."""
    warnings: tuple[str, ...] = ()
    refusals: tuple[AtdataError, ...] = ()
    """Why it will not be done; `promote_to_atmosphere` raises the first."""

    @property
    def ok(self) -> bool:
        """Whether there are no refusals."""
        return not self.refusals

    def check(self) -> None:
        """Raise the first refusal, if there is one."""
        if self.refusals:
            raise self.refusals[0]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON types."""
        shown = asdict(self)
        shown["refusals"] = [
            {"error": type(error).__name__, "message": str(error)} for error in self.refusals
        ]
        shown["ok"] = self.ok
        return shown

    def __str__(self) -> str:
        lines = [f"{self.name} → {self.account} at {self.server}"]
        if self.schema is not None:
            shown = {
                "found": "exists",
                "new": "will be published",
                "conflict": "exists with other fields",
            }
            lines.append(
                f"schema {self.schema.name}@{self.schema.version}: {shown[self.schema.state]}"
            )
        lines.append(f"data: {_amount(self.shards, self.bytes)}{self._samples()}")
        lines += self._copying()
        if self.uri is not None and self.record_bytes is not None:
            size = f"{self.record_bytes:,} bytes"
            where = self.manifest_url or "a blob"
            manifest = f", what is known of the shards in {where}" if self.manifest else ""
            lines.append(f"record {self.uri}: {self.record}, {size}{manifest}")
        lines.append(
            f"cost: {_number(self.write_points, 'write point')}, {_number(self.uploads, 'upload')}"
        )
        lines += [f"others can read: {url}" for url in self.readable]
        lines += [f"others cannot read: {url}" for url in self.unreadable]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"refused: {error}" for error in self.refusals]
        return redacted("\n".join(lines))

    def _samples(self) -> str:
        return "" if self.samples is None else f", {_number(self.samples, 'sample')}"

    def _copying(self) -> list[str]:
        if self.copies_to is None:
            return ["copied: nothing; the URLs are published as they are"]
        split = f", {self.shards_to_split} of them split" if self.shards_to_split else ""
        copied = self.shards - self.shards_to_copy
        already = f"; {copied} copied already" if copied else ""
        amount = _amount(self.shards_to_copy, self.bytes_to_copy)
        limit = f" (blobs of at most {self.blob_limit:,} bytes)" if self.blob_limit else ""
        return [f"copied: {amount}{split} to {self.copies_to}{limit}{already}"]


def _amount(shards: int, size: int | None) -> str:
    known = "size not known" if size is None else _number(size, "byte")
    return f"{_number(shards, 'shard')}, {known}"


def _number(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"
