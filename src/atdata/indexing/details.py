"""What a person says of a dataset beside its data, checked before anything is written."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atdata._limits import limits
from atdata._secrets import redacted_repr
from atdata.errors import EncodeError, OptionError
from atdata.indexing.licenses import check_license
from atdata.samples.numbers import shown_number

MAX_TAGS: Final = 30
MAX_TAG_LENGTH: Final = 128
"""Longest tag, in characters."""
MAX_LICENSE_LENGTH: Final = 256
_INTEGERS: Final = range(-(2**63), 2**64)


@redacted_repr
@dataclass(frozen=True)
class Details:
    """Description, tags, licence and metadata; None is what was not given."""

    description: str | None = None
    tags: tuple[str, ...] | None = None
    license: str | None = None
    metadata: dict[str, Any] | None = None

    @classmethod
    def checked(
        cls,
        *,
        description: str | None,
        tags: Iterable[str] | None,
        license: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> Details:
        """Take what a caller gave. Metadata are copied, tuples as lists, NumPy scalars as Python's.

        Raises:
            OptionError: A description or tag that is not one, or a licence that SPDX does not have.
            EncodeError: Metadata that cannot be stored; the message has the path.
        """
        if metadata is not None and not isinstance(metadata, Mapping):
            raise EncodeError(f"metadata: expected a dict, found {type(metadata).__name__}.")
        return cls(
            None if description is None else _text("description", description, None),
            None if tags is None else _tags(tags),
            None if license is None else _license(license),
            None if metadata is None else dict(_value(metadata, "metadata $", 1)),
        )

    def over(self, older: Details) -> Details:
        """These, and the older ones where nothing was given."""
        return Details(
            older.description if self.description is None else self.description,
            older.tags if self.tags is None else self.tags,
            older.license if self.license is None else self.license,
            older.metadata if self.metadata is None else self.metadata,
        )


def _license(value: object) -> str:
    return check_license(_text("license", value, MAX_LICENSE_LENGTH))


def _text(what: str, value: object, longest: int | None) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{what}: expected a str, found {type(value).__name__}.")
    if any(unicodedata.category(c) == "Cs" for c in value):
        raise OptionError(f"{what}: holds half of a surrogate pair, which is no valid Unicode.")
    if longest is None:
        return value
    if len(value) > longest:
        raise OptionError(f"{what}: {len(value)} characters; at most {longest} are allowed.")
    if any(unicodedata.category(c) == "Cc" for c in value):
        raise OptionError(f"{what}: {value!r} holds a control character.")
    return value


def _tags(tags: object) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise OptionError(f"tags: expected a list of str, found {tags!r:.80}.")
    found = []
    for number, tag in enumerate(tags):
        text = _text(f"tags[{number}]", tag, MAX_TAG_LENGTH)
        if not text.strip():
            raise OptionError(f"tags[{number}] is empty.")
        if number == MAX_TAGS:
            raise OptionError(f"tags: more than {MAX_TAGS} were given.")
        found.append(text)
    return tuple(found)


def _value(value: Any, path: str, depth: int) -> Any:
    if depth > limits.record_nesting:
        raise EncodeError(f"{path[:200]}: nested more than {limits.record_nesting} deep.")
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case None | bool() | float() | bytes():
            return value
        case int():
            if value not in _INTEGERS:
                raise EncodeError(
                    f"{path}: an integer has at most 64 bits, found {shown_number(value)}."
                )
            return value
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise EncodeError(f"{path}: a str with lone surrogates.") from None
            return value
        case list() | tuple():
            return [_value(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(value)]
        case Mapping():
            out = {}
            for key, item in value.items():
                if not isinstance(key, str):
                    raise EncodeError(f"{path}: expected str as a key, found {key!r:.80}.")
                out[_value(key, f"{path} key", depth)] = _value(item, f"{path}.{key}", depth + 1)
            return out
        case _:
            raise EncodeError(
                f"{path}: expected None, bool, int, float, str, bytes, a list or a dict with str "
                f"keys, found {type(value).__name__}."
            )
