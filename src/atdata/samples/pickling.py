"""Pickling classes and functions by name, so that another process finds them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Final

from atdata.errors import NotSendableError

_BY_VALUE: Final = ("cloudpickle", "dill")
"""Picklers that send classes and functions by value, so that names do not matter."""


def defined_again(expected: type, found: type) -> str:
    """A sentence for an error if one class was defined twice; else an empty str."""
    if expected is found or _name(expected) != _name(found):
        return ""
    return (
        f"The class {found.__name__} was defined again, as when a notebook cell is run twice, and "
        "these are two classes of one name. Run everything after the class again, so that all of "
        "it uses the newer one."
    )


def check_type(sample_type: type) -> None:
    """Refuse a class that another process could not find.

    Raises:
        NotSendableError: Says why, and what to do.
    """
    if (selected := sample_type.__dict__.get("__atdata_selected_of__")) is not None:
        check_type(selected[0])
    elif "__atdata_schema__" not in sample_type.__dict__:  # such types are pickled as their schema
        check_name(sample_type, sample_type, f"the class {sample_type.__qualname__}")


def check_function(function: Any, where: str) -> None:
    """Refuse a function that another process could not find.

    Args:
        function: Any callable. Callable objects of other classes are not checked.
        where: The method that it was passed to, for the error.

    Raises:
        NotSendableError: Says why, and what to do.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        check_type(function)
    elif isinstance(function, FunctionType):
        check_name(function, function, f"{where} {function.__qualname__}")


def check_name(sent: Any, named: Any, what: str) -> None:
    """Refuse what another process could not find by its module and qualified name.

    Args:
        sent: What is pickled.
        named: The class or function whose name it is found by.
        what: What the error calls it.

    Raises:
        NotSendableError: Says why, and what to do.
    """
    module, path = _name(named)
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    lost = module == "__main__" and _is_interactive() and _is_spawning()
    if (found is sent and not lost) or _is_sent_by_value():
        return
    if found is sent:
        problem = "was defined in a notebook or a session, which a new process does not have"
    elif "<lambda>" in path:
        problem = "is a lambda, which has no name"
    elif "<locals>" in path:
        problem = "is defined inside a function, where no other process finds it"
    elif found is not None:
        problem = "was defined again, and its name now means the newer one"
    else:
        problem = f"is not found as {module}.{path}"
    raise NotSendableError(
        f"A dataset cannot be sent to another process: {what} {problem}. Define it once, at the "
        "top of a module that both import, and open the dataset again. With "
        'multiprocessing_context="fork" workers need no sending.'
    )


def _name(item: Any) -> tuple[str, str]:
    return item.__module__, item.__qualname__


def _is_interactive() -> bool:
    """Whether the main module is a notebook or session, which no new process can run."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is None and not (file and Path(file).is_file())


def _is_spawning() -> bool:
    """Whether the pickle is for a process that starts as a new interpreter."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _is_sent_by_value() -> bool:
    """Whether the pickler that is running sends by value."""
    # Only the call stack shows it: `__reduce__` gets no pickler.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if any(part in _BY_VALUE for part in frame.f_globals.get("__name__", "").split(".")):
            return True
        frame = frame.f_back
    return False
