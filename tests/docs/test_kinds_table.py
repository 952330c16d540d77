"""The table of kinds in docs/formats.md says what the records say."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import atdata
from atdata.schema.alt_record import to_alt_record
from atdata.schema.record import to_record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"


class Level(IntEnum):
    LOW = 1


ANNOTATIONS: dict[str, Any] = {
    "image": atdata.Image,
    "audio": atdata.Audio,
    "json": atdata.Json,
    "classLabel": Annotated[int, atdata.ClassLabel("a", "b")],
    "date": date,
    "time": time,
    "duration": timedelta,
    "decimal": Decimal,
    "uuid": UUID,
    "intEnum": Level,
    "tuple": tuple[int, str],
    "tupleOf": tuple[int, ...],
    "set": set[int],
    "union": int | str,
}
"""Name of a kind → an annotation that means it."""


def rows() -> dict[str, set[str]]:
    """Name of a kind → its keys, as the page says."""
    section = PAGE.read_text().partition("### Kinds of fields")[2].partition("```")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if len(cells) == 6 and cells[3].startswith("`"):
            for name in re.findall(r"`(\w+)`", cells[3]):
                found[name] = set(re.findall(r"`(\w+)`", cells[4]))
    return found


def test_the_table_names_every_kind_and_its_keys() -> None:
    """Each kind has a row with the name and the keys that both families of records write."""
    page = rows()
    assert page.keys() == ANNOTATIONS.keys()
    for name, annotation in ANNOTATIONS.items():
        cls: Any = atdata.packable(type("One", (), {"__annotations__": {"x": annotation}}))
        schema = atdata.schema_of(cls)
        [field] = to_record(schema, lambda nested: "")["fields"]
        kind = field["fieldType"]
        assert kind.pop("$type") == f"ac.foundation.dataset.schemaType#{name}"
        assert kind.keys() == page[name]
        alt = to_alt_record(schema)["schema"]["properties"]["x"]
        assert alt.pop("$ref") == f"#/$defs/atdata-{name}"
        assert alt.keys() == page[name]
