"""The kind for numbers that stand for classes, each with a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np

from atdata._arrays import AnyArray
from atdata._limits import limits
from atdata.errors import OptionError, SampleTypeError
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.kinds.primitives import Primitive

_INT: Final = Primitive("int")
_SHOWN: Final = 6
"""Most names that are shown in full."""


@dataclass(frozen=True, init=False, repr=False)
class ClassLabel(Kind):
    """The classes of a classification: an int field holds 0 for the first name, 1 for the second.

    The names are part of the schema. A number without a name is refused, when it is written and
    when it is read.

    Args:
        names: The name of each class, in the order of their numbers; no two are equal.

    Raises:
        SampleTypeError: No names, two equal ones, or one that is empty or not a str.

    Example:
        >>> animals = ClassLabel("cat", "dog")
        >>> @packable
        ... class Photo:
        ...     image: NDArray[np.uint8]
        ...     label: Annotated[int, animals]
        >>> animals.int2str(1), animals.str2int("dog")
        ('dog', 1)
    """

    names: tuple[str, ...]
    """The name of each class, in the order of their numbers."""

    def __init__(self, *names: str) -> None:
        if len(names) == 1 and not isinstance(names[0], str):
            raise SampleTypeError(
                f"ClassLabel takes the names one by one, found a {type(names[0]).__name__}: write "
                'ClassLabel("cat", "dog"), or ClassLabel(*names).'
            )
        if problem := _problem(names):
            raise SampleTypeError(f'ClassLabel {problem}. Write ClassLabel("cat", "dog").')
        object.__setattr__(self, "names", tuple(str.__str__(name) for name in names))

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.names)

    @overload
    def int2str(self, values: int | np.integer[Any]) -> str: ...
    @overload
    def int2str(self, values: Iterable[int] | AnyArray) -> list[str]: ...
    def int2str(self, values: int | np.integer[Any] | Iterable[int] | AnyArray) -> str | list[str]:
        """The name of a class, or a list with the name of each.

        Args:
            values: The number of a class; or several, such as a column of a batch.

        Raises:
            OptionError: A number that no class has.
        """
        if isinstance(values, (int, np.integer)):
            try:
                return self.names[self.encode(values)]
            except Misfit:
                raise OptionError(
                    f"int2str({values}): classes have the numbers 0 to {len(self.names) - 1}."
                ) from None
        given: object = values
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise OptionError(f"int2str({given!r:.80}): expected a number, or several.")
        return [self.int2str(value) for value in values]

    @overload
    def str2int(self, values: str) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def str2int(self, values: Iterable[str]) -> list[int]: ...
    def str2int(self, values: str | Iterable[str]) -> int | list[int]:
        """The number of a class, or a list with the number of each.

        Args:
            values: The name of a class, or several.

        Raises:
            OptionError: A name that no class has.
        """
        if not isinstance(values, (str, Iterable)):
            raise OptionError(f"str2int({values!r:.80}): expected a name, or several.")
        if not isinstance(values, str):
            numbers = {name: number for number, name in enumerate(self.names)}
            return [numbers[value] if value in numbers else self.str2int(value) for value in values]
        try:
            return self.names.index(values)
        except ValueError:
            raise OptionError(
                f"str2int({values!r:.80}): no class has this name. {self.describe()}."
            ) from None

    def describe(self) -> str:
        shown = [f"{name!r:.40}" for name in self.names]
        if len(shown) > _SHOWN:
            shown = [*shown[:2], "…", f"{shown[-1]}: {len(shown):,} names"]
        return f"ClassLabel({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.describe()

    def encode(self, value: Any) -> int:
        if isinstance(value, str) and value in self.names:
            hint = f"Write its number, {self.names.index(value)}: ClassLabel.str2int gives it."
            raise Misfit(self._expected(), repr(value), hint)
        try:
            number: int = _INT.encode(value)
        except Misfit as misfit:
            raise Misfit(self._expected(), misfit.found, misfit.hint) from None
        return self._in_range(number)

    def decode(self, wire: Any) -> int:
        if type(wire) is not int:
            raise Misfit(self._expected(), wire)
        return self._in_range(wire)

    def _in_range(self, number: int) -> int:
        if not 0 <= number < len(self.names):
            hint = "A field without a label holds None, and is annotated … | None."
            raise Misfit(self._expected(), str(number), hint if number == -1 else "")
        return number

    def _expected(self) -> str:
        return f"0 to {len(self.names) - 1}, the numbers of {self.describe()}"


def _problem(names: tuple[Any, ...]) -> str:
    """What is wrong with the names of classes; "" if nothing is."""
    if not names:
        return "has no names"
    if len(names) > limits.class_names:
        return f"has {len(names):,} names; limits.class_names is {limits.class_names:,}"
    seen: set[str] = set()
    for number, name in enumerate(names):
        if not isinstance(name, str):
            return f"has a name of type {type(name).__name__}, number {number}"
        if not name or len(name) > limits.text:
            return f"has a name of {len(name):,} characters, number {number}"
        if any("\ud800" <= c <= "\udfff" for c in name):
            return f"has a name with lone surrogates, number {number}"
        if name in seen:
            return f"has the name {name!r:.60} twice"
        seen.add(name)
    return ""
