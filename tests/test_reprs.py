"""No repr of the package shows a secret."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import atdata
from atdata._shardlist import LocatedUrl, ShardInfo, ShardUrls
from atdata.samples.packable import PackableSample
from tests.test_secrets import CANARY, SECRETS

_TEXT = re.compile(r"\b(str|Any|object|Path|bytes)\b")
_NAMED = re.compile(r"password|secret|token|access$|refresh|_key$")
"""Fields that are secret whatever their text looks like."""


def own_classes() -> Iterator[type]:
    """Every class that the package defines, and that has a repr of its own."""
    for module in pkgutil.walk_packages(atdata.__path__, "atdata."):
        if module.name.endswith("__main__"):
            continue
        try:
            found = importlib.import_module(module.name)
        except ImportError:
            continue  # needs torch
        for cls in vars(found).values():
            if inspect.isclass(cls) and cls.__module__ == module.name:
                yield cls


_WITHOUT_URLS = ("atdata.samples.", "atdata.shards.", "atdata.testing.schemas", "atdata._registry")
"""Rooms that know bytes, samples and fields, and nothing of where they are."""

DATACLASSES = sorted(
    (
        cls
        for cls in set(own_classes())
        if dataclasses.is_dataclass(cls)
        and not issubclass(cls, PackableSample)
        and not hasattr(cls, "__atdata_codec__")
        and not cls.__module__.startswith(_WITHOUT_URLS)
    ),
    key=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
)


def filled(cls: type, text: str) -> object:
    """An instance whose texts are this one, wherever its fields may have a text."""
    made: object = object.__new__(cls)
    for field in dataclasses.fields(cls):
        value: object = None
        if _NAMED.search(field.name):
            value = CANARY
        elif _TEXT.search(str(field.type)):
            value = [text] if "[" in str(field.type) else text
        object.__setattr__(made, field.name, value)
    return made


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_no_dataclass_shows_a_secret(cls: type) -> None:
    """Whatever text a field holds, a URL, a header, a connection string, its secrets stay hidden:
    put @redacted_repr above @dataclass, and repr=False on fields that are secret as a whole."""
    for text in SECRETS:
        assert CANARY not in repr(filled(cls, text.format(CANARY)))


@pytest.mark.parametrize("text", SECRETS)
def test_urls_of_ours_show_no_secrets(text: str) -> None:
    """Printed in a list, as data_urls are, URLs hide their secrets and stay what they are."""
    url = text.format(CANARY)
    located = LocatedUrl(url)
    assert str(located) == url
    assert CANARY not in f"{[located]} {ShardUrls([ShardInfo(url)])} {located!r}"
