"""What every kind of field has in common, and the error for a value that does not fit"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata.samples.missing import missing_mark


class Misfit(Exception):
    """A value that does not fit its kind. Each level on the way up adds a step to the path."""

    def __init__(self, expected: str, found: Any, hint: str = "") -> None:
        self.expected = expected
        self.found = found if isinstance(found, str) else type(found).__name__
        self.hint = hint
        if not isinstance(found, str) and (mark := missing_mark(found)):
            field = f"{expected} | None" if expected.isidentifier() else "T | None"
            self.found, instead = mark
            self.hint = f"{instead} A field that may lack a value is annotated {field}."
        self.steps: list[str] = []

    def at(self, step: str) -> Misfit:
        """This error, with one more step at the start of its path."""
        self.steps.append(step)
        return self

    def __str__(self) -> str:
        path = "$" + "".join(reversed(self.steps))
        return f"{path}: expected {self.expected}, found {self.found}." + (
            f" {self.hint}" if self.hint else ""
        )


@dataclass(frozen=True)
class Kind:
    """The values that a field can have."""

    def describe(self) -> str:
        """The annotation, as a person would write it."""
        raise TypeError(f"{type(self).__name__} has no description")

    def encode(self, value: Any) -> Any:
        """Check a Python value, and convert it to what msgpack packs.

        Raises:
            Misfit: It does not fit.
        """
        raise Misfit(self.describe(), value)

    def decode(self, wire: Any) -> Any:
        """Check what msgpack unpacked, and convert it to a Python value.

        Raises:
            Misfit: It does not fit.
        """
        raise Misfit(self.describe(), wire)

    def checked(self, value: Any) -> Any:
        """Check a Python value, and convert it to what reading would give. Arrays are not copied.

        Raises:
            Misfit: It does not fit.
        """
        return self.decode(self.encode(value))

    def parts(self) -> tuple[Kind, ...]:
        """The kinds of the values inside a value; of a nested sample those of its fields."""
        return ()

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        """This kind with each of its parts converted."""
        return self


def depth_of(kind: Kind) -> int:
    """How deep kinds are nested: 1 for a kind without others in it."""
    return 1 + max(map(depth_of, kind.parts()), default=0)


def check_text(value: str) -> None:
    """Refuse text that UTF-8 cannot encode.

    Raises:
        Misfit: It has a lone surrogate.
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Misfit("str", "a str with lone surrogates") from None
