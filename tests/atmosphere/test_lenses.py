"""Lenses as records."""

from __future__ import annotations

import dataclasses

import pytest

from atdata.atmosphere import (
    AtmosphereIndex,
)
from atdata.atmosphere.lenses import Code
from atdata.errors import (
    OptionError,
)
from atdata.lenses.lens import Lens
from atdata.samples.packable import packable
from tests.atmosphere.conftest import Digit


@packable
class Label:
    """What a digit is."""

    label: int


def see(source: Digit) -> Label:
    """Only the label."""
    return Label(source.label)


def put(view: Label, source: Digit) -> Digit:
    return dataclasses.replace(source, label=view.label)


CODE = Code("https://git.example/lenses", "0" * 40, "lenses/digits.py:see", branch="main")


def test_lenses_are_found_by_their_schemas(index: AtmosphereIndex) -> None:
    """A lens is published with both schemas, once, and found by the pair; its code is named."""
    lens = Lens(Digit, Label, see, put)
    made = index.publish_lens(lens, getter=CODE, putter=CODE)
    again = index.publish_lens(lens, getter=CODE, putter=CODE)
    assert again.cid == made.cid
    source, target = index.publish_schema(Digit), index.publish_schema(Label)
    assert (made.source_schema, made.target_schema) == (source, target)
    assert (made.name, made.description) == ("see", "Only the label.")
    did = index.client.did
    for found in (
        index.list_lenses(),
        index.list_lenses(did, source=source),
        index.list_lenses(did, source=source, target=target),
    ):
        assert list(found) == [made]
    assert list(index.list_lenses(source=target, target=source)) == []
    assert str(made.getter) == f"https://git.example/lenses at {'0' * 40}: lenses/digits.py:see"
    moved = index.publish_lens(lens, getter=dataclasses.replace(CODE, commit="1" * 40), putter=CODE)
    assert moved.uri == made.uri
    assert [entry.getter.commit for entry in index.list_lenses()] == ["1" * 40]
    with pytest.raises(OptionError):
        index.publish_lens(lens, getter=Code("", "", ""), putter=CODE)
