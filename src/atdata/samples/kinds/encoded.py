"""The kind of encoded media: on the wire a bin, which is exactly the encoded bytes"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.media import MEDIA, Media
from atdata.samples.missing import found_for_error

_HINTS: Final = (
    ("str", "To store the content of a file, write {name}(path)."),
    ("Path", "To store the content of the file, write {name}(path)."),
    ("ndarray", "To encode an array, write {name}(array)."),
    ("Image", "To encode a picture, write {name}(picture)."),
)
"""Name of a class → what to do about an instance of it."""


@dataclass(frozen=True)
class Encoded(Kind):
    """An `Image` or `Audio`. Encoded bytes can be written, too. They are never decoded here."""

    name: str
    """``image`` or ``audio``."""
    made: Callable[[bytes], Media] = field(init=False, compare=False, repr=False)
    """Bytes → the value of a field; they are not copied."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "made", MEDIA[self.name].of)

    def describe(self) -> str:
        return MEDIA[self.name].__name__

    def encode(self, value: Any) -> bytes:
        if type(value) is MEDIA[self.name]:
            return bytes(value.bytes)
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if isinstance(value, memoryview) and value.format == "B" and value.ndim == 1:
            return bytes(value)
        sorts = set() if isinstance(value, Media) else {c.__name__ for c in type(value).__mro__}
        hint = next((hint for sort, hint in _HINTS if sort in sorts), "")
        # A path is never opened here: it may have come with the data.
        raise Misfit(self.describe(), found_for_error(value), hint.format(name=self.describe()))

    def checked(self, value: Any) -> Media:
        return value if type(value) is MEDIA[self.name] else self.made(self.encode(value))

    def decode(self, wire: Any) -> Media:
        if not isinstance(wire, bytes):
            raise Misfit(self.describe(), found_for_error(wire))
        return self.made(wire)
