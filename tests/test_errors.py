"""The tree of errors is what its page says, and each error is the builtin that a caller expects."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

from atdata import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value)
    and issubclass(value, errors.AtdataError)
    and not value.__name__.startswith("_")
]
LINE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>\w+Error)(?: \((?P<builtins>[\w, ]+)\))?")


def drawn() -> dict[str, tuple[str, set[str]]]:
    """Error → its parent and the builtins beside it, as the module's docstring draws them."""
    found: dict[str, tuple[str, set[str]]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").partition("::\n\n")[2].splitlines():
        if not (match := LINE.match(line.removeprefix("    "))):
            continue
        depth = len(match["indent"])
        above = [pair for pair in above if pair[0] < depth]
        beside = set(filter(None, (match["builtins"] or "").split(", ")))
        found[match["name"]] = (above[-1][1] if above else "", beside)
        above.append((depth, match["name"]))
    return found


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_tree_is_as_drawn(kind: type[errors.AtdataError]) -> None:
    """Each class has the parent and the builtins that the docstring draws."""
    parent, beside = drawn()[kind.__name__]
    named = {base.__name__ for base in kind.__mro__}
    assert not parent or parent in named
    assert beside <= named


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_error_is_of_two_minds(kind: type[errors.AtdataError]) -> None:
    """What a wrong value, type or key causes is no failed connection: trying again is no help."""
    wrong = [
        name
        for name in ("ValueError", "TypeError", "KeyError")
        if issubclass(kind, getattr(builtins, name))
    ]
    assert not (wrong and issubclass(kind, ConnectionError))
