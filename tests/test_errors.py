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
    and issubclass(value, (errors.AtdataError, errors.AtdataWarning))
    and not value.__name__.startswith("_")
]
LINE = re.compile(
    r"(?P<indent>[│├└─ ]*)(?P<name>\w+(?:Error|Warning))(?: \((?P<builtins>[\w, ]+)\))?"
)


def drawn() -> dict[str, tuple[str, set[str]]]:
    """Class → its parent and its builtins, as the module's docstring draws them."""
    found: dict[str, tuple[str, set[str]]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").partition("::\n\n")[2].splitlines():
        if not (match := LINE.match(line.removeprefix("    "))):
            continue
        depth = len(match["indent"])
        above = [pair for pair in above if pair[0] < depth]
        also = set(filter(None, (match["builtins"] or "").split(", ")))
        found[match["name"]] = (above[-1][1] if above else "", also)
        above.append((depth, match["name"]))
    return found


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_tree_is_as_drawn(kind: type[Exception]) -> None:
    """Each class has the parent and the builtins that the docstring draws."""
    parent, also = drawn()[kind.__name__]
    # A class without a name of its own in the tree may be between.
    ours = [base.__name__ for base in kind.__mro__[1:] if base in CLASSES]
    assert ours[:1] == [parent][: bool(parent)]
    assert also <= {base.__name__ for base in kind.__mro__}


def test_no_other_class_is_drawn() -> None:
    """The docstring draws what exists."""
    assert set(drawn()) == {kind.__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_error_is_of_two_minds(kind: type[Exception]) -> None:
    """What a wrong value, type or key causes is no failed connection: trying again is no help."""
    wrong = [
        name
        for name in ("ValueError", "TypeError", "KeyError")
        if issubclass(kind, getattr(builtins, name))
    ]
    assert not (wrong and issubclass(kind, ConnectionError))
