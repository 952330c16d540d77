"""Published schemas in memory: gives references to nested samples and resolves them."""

from __future__ import annotations

from typing import Any

from atdata.errors import SchemaNotFoundError
from atdata.samples.kinds import Nested
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record


class Shelf:
    """Records by reference, made and read with nothing but the functions under test."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def publish(self, schema: Schema) -> str:
        """Put a schema here, those nested in it first."""
        record = to_record(schema, self.ref_of)
        ref = f"at://did:plc:abc/ac.foundation.dataset.sampleSchema/s{len(self.records)}"
        self.records[ref] = record
        return ref

    def ref_of(self, nested: Nested) -> str:
        """Publish the schema of a nested sample."""
        return self.publish(Schema.of_nested(nested))

    def resolve(self, ref: str) -> Schema:
        """Read a schema back, following what it leads to."""
        self.asked.append(ref)
        if ref not in self.records:
            raise SchemaNotFoundError(f"{ref} is not on the shelf.")
        return from_record(self.records[ref], self.resolve)
