"""The members that fields are read from: part of a schema, in every form of it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

import atdata
from atdata.errors import SchemaError
from atdata.schema import alt_record, record
from atdata.schema.stubs import stub


@atdata.packable
class Pair:
    """A picture and its words."""

    image: Annotated[atdata.Image, atdata.Member("jpg", "png")]
    caption: Annotated[str | None, atdata.Member("txt")]
    label: int
    __key__: str


def refuse(*_: Any) -> Any:
    raise AssertionError("nothing is nested")


def test_members_survive_both_families_of_records() -> None:
    """A schema with members is the same after its record, and so is the type made of it."""
    schema = atdata.schema_of(Pair)
    assert [field.members for field in schema.fields] == [("jpg", "png"), ("txt",), (), ()]
    of_record = record.from_record(record.to_record(schema, refuse), refuse)
    of_alt = alt_record.from_alt_record(alt_record.to_alt_record(schema))
    for read in (of_record, of_alt):
        assert read.fields == schema.fields
        made = atdata.build_type(read)
        assert atdata.schema_of(made).fields == schema.fields


def test_a_class_written_from_a_schema_names_the_members() -> None:
    """The source of a class has the same members."""
    source = stub(atdata.schema_of(Pair))
    assert "image: Annotated[Image, Member('jpg', 'png')]" in source


@pytest.mark.parametrize("wrong", ["jpg", [], [1], ["a/b"], ["jpg", "jpg"], ["x"] * 100])
def test_members_that_cannot_be_are_refused(wrong: Any) -> None:
    """What a record says of members is checked."""
    made = record.to_record(atdata.schema_of(Pair), refuse)
    made["fields"][0]["members"] = wrong
    with pytest.raises(SchemaError, match=r"fields\[0\]\.members"):
        record.from_record(made, refuse)


def test_a_key_is_a_str() -> None:
    """__key__ and __url__ are texts; another annotation is refused where it is written."""
    with pytest.raises(atdata.errors.SampleTypeError, match="write __key__: str"):

        @atdata.packable
        class Wrong:
            __key__: int
