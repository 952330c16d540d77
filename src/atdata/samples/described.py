"""Shape, Unit and Doc: what an annotation says of a field besides its type."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Annotated, Any, Final, Union

from atdata._limits import limits
from atdata.errors import OptionError

_MAX_UNIT_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True, init=False)
class Shape:
    """The shape of an array field, checked when samples are written.

    Args:
        axes: For each axis its length; a name, which stands for one length within a sample, in all
            of its arrays; or None for any length. A single ``...`` is any number of axes. No
            argument: an array of no axes, one number.

    Raises:
        OptionError: Anything else.

    Example:
        >>> @packable
        ... class Photo:
        ...     image: Annotated[NDArray[np.uint8], Shape("h", "w", 3)]
        ...     depth: Annotated[NDArray[np.float32], Shape("h", "w"), Unit("m")]
    """

    axes: tuple[int | str | None, ...] | None
    """None: any number of axes."""

    def __init__(self, *axes: int | str | EllipsisType | None) -> None:
        kept: list[int | str | None] = []
        for axis in axes:
            if axis is ...:
                if len(axes) > 1:
                    raise OptionError(
                        f"{_shown(axes)}: ... stands for any number of axes, so there can be no "
                        "other. Write None for each axis of any length."
                    )
                object.__setattr__(self, "axes", None)
                return
            kept.append(_checked(axis, axes))
        if len(axes) > limits.array_dimensions:
            raise OptionError(
                f"Shape of {len(axes)} axes: limits.array_dimensions is {limits.array_dimensions}."
            )
        object.__setattr__(self, "axes", tuple(kept))

    @property
    def lengths(self) -> tuple[int | None, ...] | None:
        """The length of each axis; None for those that have a name, or any length."""
        if self.axes is None:
            return None
        return tuple(axis if isinstance(axis, int) else None for axis in self.axes)

    @property
    def names(self) -> tuple[str | None, ...] | None:
        """The name of each axis; None if no axis has one."""
        names = tuple(axis if isinstance(axis, str) else None for axis in self.axes or ())
        return names if any(names) else None

    def __repr__(self) -> str:
        return _shown(self.axes if self.axes is not None else (...,))


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a field's numbers, such as ``Unit("m")``, recorded in the schema.

    It is not interpreted. Changing it is a new version of the schema.

    Args:
        symbol: 1 to 100 printable characters.

    Raises:
        OptionError: It is not.
    """

    symbol: str

    def __post_init__(self) -> None:
        if not is_unit(self.symbol):
            raise OptionError(
                f"Unit({self.symbol!r:.120}): expected 1 to {_MAX_UNIT_CHARACTERS} printable "
                'characters, such as "m" or "kg/m^3".'
            )


@dataclass(frozen=True, slots=True)
class Doc:
    """What a field is, for people; recorded in the schema.

    That of ``typing_extensions`` means the same.

    Args:
        documentation: The text.

    Raises:
        OptionError: Not a str, or longer than ``limits.text`` characters.
    """

    documentation: str

    def __post_init__(self) -> None:
        if not isinstance(self.documentation, str) or len(self.documentation) > limits.text:
            raise OptionError(
                f"Doc({self.documentation!r:.60}): expected a str of at most {limits.text:,} "
                "characters."
            )


def is_unit(symbol: object) -> bool:
    """Whether this can be the symbol of a unit."""
    return (
        isinstance(symbol, str)
        and 1 <= len(symbol) <= _MAX_UNIT_CHARACTERS
        and symbol.isprintable()
    )


def is_axis_name(name: object) -> bool:
    """Whether an axis can have this name: that of a Python variable."""
    return isinstance(name, str) and name.isidentifier() and len(name) <= limits.name_length


def unit_of(annotation: Any) -> str | None:
    """The unit in an annotation; the outermost one counts."""
    return next((mark.symbol for mark in _marks(annotation) if isinstance(mark, Unit)), None)


def doc_of(annotation: Any) -> str | None:
    """The description in an annotation; the outermost one counts."""
    for mark in _marks(annotation):
        # typing_extensions.Doc, which is not imported, has this attribute as well.
        if type(mark).__name__ == "Doc" and isinstance(
            text := getattr(mark, "documentation", None), str
        ):
            return text
    return None


def _marks(annotation: Any) -> Iterator[Any]:
    """What Annotated adds to a type, its items and its alternatives; from the outside in."""
    if typing.get_origin(annotation) is Annotated:
        inner, *marks = typing.get_args(annotation)
        yield from marks
        yield from _marks(inner)
    elif typing.get_origin(annotation) in (Union, types.UnionType, list, dict):
        for inner in typing.get_args(annotation):
            yield from _marks(inner)


def _checked(axis: object, axes: tuple[Any, ...]) -> int | str | None:
    if axis is None or is_axis_name(axis):
        return axis  # type: ignore[return-value]
    # Numbers of a record are exact up to here.
    if isinstance(axis, int) and not isinstance(axis, bool) and 0 <= axis < 2**53:
        return axis
    raise OptionError(
        f"{_shown(axes)}: {axis!r:.60} is no axis. Write its length, a name, or None for any "
        'length: Shape("h", "w", 3).'
    )


def _shown(axes: tuple[Any, ...]) -> str:
    return f"Shape({', '.join('...' if axis is ... else repr(axis) for axis in axes):.200})"
