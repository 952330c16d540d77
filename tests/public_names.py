"""The public names of the package: with their signatures as text, and as a page of docs/.

``python -m tests.public_names`` writes ``tests/public_names.txt``, so that a change to what users
call is seen in review, and ``docs/reference.md``, from the first lines of the docstrings.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

FILE: Final = Path(__file__).with_suffix(".txt")
ROOT: Final = FILE.parent.parent
PAGE: Final = ROOT / "docs" / "reference.md"
_MODULES: Final = (
    *(".local", ".atmosphere", ".promote", ".errors", ".capabilities"),
    "._protocols",
)
_INTRODUCTION: Final = """# Reference

Every public name, from the first lines of the docstrings: `help(atdata.Dataset)` shows the rest.
`python -m tests.public_names` writes this page, and with it
[tests/public_names.txt](../tests/public_names.txt), which has the signatures. A name that is not
here may change at any time.
"""
_SAID: Final = {
    "__version__": "The version of the package, as text.",
    "Progress": "A function called with a number of bytes each time that so many more are done.",
    "Index": "The same class as `LocalIndex`.",
    "Json": "The annotation of a field that holds any JSON value; `Any` means the same.",
}
_KNOWN: Final = ("typing", "collections.abc", "atdata.errors")
_PLAIN: Final = (int, float, str, bytes, type(None), tuple, frozenset)


def modules() -> Iterator[ModuleType]:
    """The modules that users import from."""
    for name in (
        "",
        ".local",
        ".atmosphere",
        ".promote",
        ".errors",
        ".capabilities",
        "._protocols",
    ):
        yield importlib.import_module(f"atdata{name}")
    testing = importlib.import_module("atdata.testing")
    for found in pkgutil.iter_modules(testing.__path__, "atdata.testing."):
        yield importlib.import_module(found.name)


def public(module: ModuleType) -> list[str]:
    """The public names of a module, sorted: its ``__all__``, else the classes and functions in it.

    Of a module with a suite of tests, only the suite: what it is made of may change.
    """
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and getattr(value, "__module__", "") == module.__name__
            and not isinstance(value, TypeVar)
        ]
    suites = [name for name in listed if name.endswith("Suite")]
    return sorted(suites or listed)


def names() -> Iterator[str]:
    """One line for each public name and member."""
    first: dict[int, str] = {}
    found = [(module, name) for module in modules() for name in public(module)]
    for module, name in found:
        value, whole = getattr(module, name), f"{module.__name__}.{name}"
        before = first.setdefault(id(value), whole)
        if before != whole:
            yield f"{whole} = {before}"
        elif isinstance(value, ModuleType):
            yield f"{whole}: module"
        elif inspect.isclass(value):
            yield from _class(whole, value)
        elif inspect.isroutine(value):
            yield f"{whole}{_signature(value)}"
        elif hasattr(value, "__origin__"):
            yield f"{whole} = {value}"
        else:
            yield f"{whole}: {type(value).__name__}"


def _class(name: str, cls: type) -> Iterator[str]:
    is_protocol = getattr(cls, "_is_protocol", False)
    bases = [
        base.__name__
        for base in cls.__bases__
        if base is not object and base.__module__ in ("builtins", *_KNOWN)
    ]
    yield f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "atdata"]
    own = ours[:1] if issubclass(cls, BaseException) else ours
    if not is_protocol and any({"__init__", "__new__"} & vars(base).keys() for base in own):
        yield f"{name}{_signature(cls)}"
    fields = (
        {f.name: f.type for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    )
    shown = {member for base in ours for member in vars(base)} | fields.keys()
    for member in sorted(shown):
        # Suites of tests are derived from; nobody calls their tests.
        if member.startswith(("_", "test_")):
            continue
        value = inspect.getattr_static(cls, member, None)
        if member in fields:
            yield f"{name}.{member}: {_Shown(fields[member])}"
        elif isinstance(value, (staticmethod, classmethod)):
            yield f"{name}.{member}{_signature(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"{name}.{member}{_signature(value)}"
        elif not inspect.isclass(value):
            made = getattr(value, "fget", None) or getattr(value, "_make", None)
            kind = made.__annotations__.get("return", "Any") if made else type(value).__name__
            yield f"{name}.{member}: {_Shown(kind)}"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [
        one.replace(annotation=_Shown(one.annotation), default=_Shown(one.default))
        for one in signature.parameters.values()
    ]
    result = _Shown(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=result))


class _Shown:
    """What stands for an annotation or a default value, the same in every version of Python."""

    def __new__(cls, value: Any) -> Any:
        return value if value is inspect.Parameter.empty else super().__new__(cls)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        if isinstance(value, str):
            return value
        return repr(value) if isinstance(value, _PLAIN) else getattr(value, "__name__", "…")


def page() -> str:
    """The page of the public names."""
    text = [_INTRODUCTION]
    for module in modules():
        if module.__name__ == "atdata._protocols":
            continue
        text.append(f"\n## {module.__name__}\n\n| name | what it is |\n| --- | --- |\n")
        for name in public(module):
            value = getattr(module, name)
            said = "" if isinstance(value, str) else inspect.getdoc(value) or ""
            first = _SAID.get(name) or " ".join(said.partition("\n\n")[0].split())
            first = re.sub(r"(?<!`)`(?!`)([^`]+)`(?!`)", r"`\1`", first.replace("``", "`"))
            text.append(f"| `{name}` | {first.replace('|', chr(92) + '|')} |\n")
    return "".join(text)


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in names()))
    PAGE.write_text(page())
