"""Member: which member of a WebDataset sample a field is read from."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from atdata.errors import OptionError


@dataclass(frozen=True, slots=True, init=False)
class Member:
    """Marks a field with the names of the members it is read from, in shards of many members.

    A name is what follows the first dot of a file's name, in lower case: ``"jpg"`` for
    ``0001.jpg``, ``"left.png"`` for ``0001.left.png``. A sample has one of them.

    Args:
        names: One or more.

    Raises:
        OptionError: None, or one that no member can have.

    Example:
        >>> @packable
        ... class Pair:
        ...     image: Annotated[Image, Member("jpg", "png")]
        ...     caption: Annotated[str, Member("txt")]
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        if not names:
            raise OptionError('Member() names no member. Write Member("jpg"), for example.')
        for name in names:
            if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
                raise OptionError(
                    f"Member({name!r:.80}): expected what follows the first dot of a file's name, "
                    'such as "jpg" or "left.png".'
                )
        object.__setattr__(self, "names", tuple(name.lower() for name in names))


def members_of(annotation: Any) -> tuple[str, ...] | None:
    """The names that the `Member` in an annotation gives; None: it has none."""
    for mark in getattr(annotation, "__metadata__", ()):
        if isinstance(mark, Member):
            return mark.names
    if typing.get_origin(annotation) in (list, dict):
        return None
    for inner in typing.get_args(annotation):
        if found := members_of(inner):
            return found
    return None
