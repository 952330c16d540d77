"""DatasetSpec: a dataset's description, one value from the call to the record."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np

from atdata._limits import limits
from atdata._protocols import IndexEntry
from atdata._refs import (
    ALT_DATASET_COLLECTION,
    ALT_SCHEMA_COLLECTION,
    DATASET_COLLECTION,
    SCHEMA_COLLECTION,
    check_name,
)
from atdata._secrets import redacted_repr
from atdata.errors import EncodeError, OptionError
from atdata.indexing.licenses import check_license
from atdata.samples.numbers import shown_number

MAX_TAGS: Final = 30
MAX_TAG_CHARACTERS: Final = 128
MAX_LICENSE_CHARACTERS: Final = 256
_INTEGERS: Final = range(-(2**63), 2**64)
Family: TypeAlias = Literal["ac.foundation.dataset", "science.alt.dataset"]
"""What the names of the record types begin with."""
_COLLECTIONS: Final = {
    "ac.foundation.dataset": (SCHEMA_COLLECTION, DATASET_COLLECTION),
    "science.alt.dataset": (ALT_SCHEMA_COLLECTION, ALT_DATASET_COLLECTION),
}


@redacted_repr
@dataclass(frozen=True)
class DatasetSpec:
    """How a caller describes a dataset when inserting, publishing or promoting it.

    None is what was not given: the newest revision keeps it. What is empty clears it.

    Raises:
        OptionError: A family that is not known, or a str where several sources are expected.
    """

    name: str
    description: str | None = None
    tags: Iterable[str] | None = None
    """Words to find it by, at most `MAX_TAGS`."""
    license: str | None = None
    """SPDX expression."""
    metadata: Mapping[str, Any] | None = None
    sources: Iterable[str | IndexEntry] = ()
    """The datasets that this one was made of, as AT URIs or entries of the network."""
    family: Family = "ac.foundation.dataset"

    def __post_init__(self) -> None:
        if self.family not in _COLLECTIONS:
            raise OptionError(f"family={self.family!r}: write one of {', '.join(_COLLECTIONS)}.")
        if isinstance(self.sources, str):
            raise OptionError("sources: expected a list of AT URIs or entries, found a str.")

    def checked(self) -> DatasetSpec:
        """The same, its name checked as well as the rest; see `with_checked_details`.

        Raises:
            DatasetNameError: The name cannot be one.
        """
        check_name(self.name)
        return self.with_checked_details()

    def with_checked_details(self) -> DatasetSpec:
        """The same in the types that are recorded: tags as a tuple, and metadata as a copy with
        tuples as lists and NumPy scalars as Python's.

        Raises:
            OptionError: A description or tag that is not one, or a licence that SPDX does not have.
            EncodeError: Metadata that cannot be stored; the message has the path.
        """
        text, tags, license, metadata = self.description, self.tags, self.license, self.metadata
        if metadata is not None and not isinstance(metadata, Mapping):
            raise EncodeError(f"metadata: expected a dict, found {type(metadata).__name__}.")
        return replace(
            self,
            description=None if text is None else _text("description", text, None),
            tags=None if tags is None else _tags(tags),
            license=None if license is None else _license(license),
            metadata=None if metadata is None else dict(_value(metadata, "metadata $", 1)),
            sources=tuple(self.sources),
        )

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to what an older revision says."""
        return None not in (self.description, self.tags, self.license, self.metadata)

    def over(self, older: Described) -> DatasetSpec:
        """The same, with the values of an older revision where none were given."""
        return replace(
            self,
            description=older.description if self.description is None else self.description,
            tags=older.tags if self.tags is None else self.tags,
            license=older.license if self.license is None else self.license,
            metadata=older.metadata if self.metadata is None else self.metadata,
        )

    @property
    def schema_collection(self) -> str:
        """The collection of the schema's record."""
        return _COLLECTIONS[self.family][0]

    @property
    def dataset_collection(self) -> str:
        """The collection of the dataset's record."""
        return _COLLECTIONS[self.family][1]


class Described(Protocol):
    """An entry of any index, as the description of its dataset."""

    @property
    def description(self) -> str | None: ...
    @property
    def tags(self) -> Iterable[str] | None: ...
    @property
    def license(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...


def _license(value: object) -> str:
    return check_license(_text("license", value, MAX_LICENSE_CHARACTERS))


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
        text = _text(f"tags[{number}]", tag, MAX_TAG_CHARACTERS)
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
