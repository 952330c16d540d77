"""Schema → Python source, for an editor or a type checker.

The source is for people and their tools; atdata never runs it. A schema may be untrusted, so every
name is checked to be an identifier, and every text becomes a literal or a comment.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Final

import numpy as np

from atdata.errors import SchemaError
from atdata.samples.extension_dtypes import EXTENSION_DTYPES
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    Simple,
    TupleOf,
)
from atdata.samples.media import MEDIA
from atdata.schema.build import build_type
from atdata.schema.model import Schema

_HOME: Final = {
    "str": "builtins",
    "int": "builtins",
    "float": "builtins",
    "bool": "builtins",
    "bytes": "builtins",
    "list": "builtins",
    "dict": "builtins",
    "set": "builtins",
    "tuple": "builtins",
    "date": "datetime",
    "time": "datetime",
    "timedelta": "datetime",
    "Decimal": "decimal",
    "UUID": "uuid",
    "field": "dataclasses",
    "datetime": "datetime",
    "Annotated": "typing",
    "Any": "typing",
    "Literal": "typing",
    "ml_dtypes": "ml_dtypes",
    "np": "numpy",
    "NDArray": "numpy.typing",
    "ClassLabel": "atdata",
    "Doc": "atdata",
    "Shape": "atdata",
    "Unit": "atdata",
    "Json": "atdata",
    "Member": "atdata",
    "packable": "atdata",
    "Image": "atdata",
    "Audio": "atdata",
}
"""What a stub may import, and from where."""
_GROUPS: Final = (
    ("builtins", "dataclasses", "datetime", "decimal", "typing", "uuid"),
    ("ml_dtypes", "numpy", "numpy.typing"),
    ("atdata",),
)


def stub(schema: Schema) -> str:
    """The sample type as the source of a module, nested types before those that hold them.

    Importing the module gives a type with the same fields. Byte order and item size of an array's
    dtype have no annotation, and are left out. If two nested types have the same class name, a
    number is added to the second one.

    Raises:
        SchemaError: No type can be made of the schema; see `build_type`.
    """
    build_type(schema)
    return _Writer(schema).module()


class _Writer:
    """One stub, and the names in it."""

    def __init__(self, schema: Schema) -> None:
        root = Nested(schema.name, schema.fields, None, schema.version, schema.description)
        self.types = {_key(item): item for item in _nested_in(root)}
        # The type that was asked for keeps its name; a nested one of the same name does not.
        self.classes = {_key(root): schema.class_name}
        for key, item in self.types.items():
            name, number = item.describe(), 2
            while key not in self.classes and name in self.classes.values():
                name, number = f"{item.describe()}{number}", number + 1
            self.classes.setdefault(key, name)
        self.field_names = {f.name for item in self.types.values() for f in item.fields}
        self.taken = {*self.field_names, *self.classes.values()}
        self.symbols: dict[str, str] = {}
        # Inside a class that has a field of some name, the name means the field.
        self.references = {
            key: self.free(name) if name in self.field_names else name
            for key, name in self.classes.items()
        }

    def module(self) -> str:
        bodies = [self.body(item) for item in self.types.values()]
        head = ["from __future__ import annotations"]
        head += ["\n".join(lines) for lines in self.imports() if lines]
        return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join(bodies) + "\n"

    def imports(self) -> list[list[str]]:
        """Import lines, a list for each group."""
        groups: list[list[str]] = []
        for homes in _GROUPS:
            lines = []
            for home in homes:
                names = sorted(name for name in self.symbols if _HOME[name] == home)
                if home in ("numpy", "ml_dtypes") and names:
                    own = self.symbols[names[0]]
                    lines.append(f"import {home}{'' if own == home else f' as {own}'}")
                    continue
                shown = [
                    name if self.symbols[name] == name else f"{name} as {self.symbols[name]}"
                    for name in names
                    if home != "builtins" or self.symbols[name] != name
                ]
                if shown:
                    lines.append(f"from {home} import {', '.join(shown)}")
            groups.append(lines)
        return groups

    def body(self, item: Nested) -> str:
        """One class."""
        name = self.classes[_key(item)]
        version = f"@{item.version}" if item.version else ""
        lines = [
            *_comment(f"{item.name}{version}", ""),
            f"@{self.use('packable')}",
            f"class {name}:",
            *_docstring(item.description),
        ]
        after_optional = False
        for f in item.fields:
            default = ""
            if f.optional:
                default, after_optional = " = None", True
            elif after_optional:
                default = f" = {self.use('field')}(kw_only=True)"
            lines.append(f"    {f.name}: {self.field(f)}{default}")
        if not item.fields and not item.description:
            lines.append("    pass")
        if (reference := self.references[_key(item)]) != name:
            lines += ["", "", f"{reference} = {name}"]
        return "\n".join(lines)

    def field(self, f: Field) -> str:
        """The annotation of a field."""
        marks = []
        if f.members:
            marks.append(f"{self.use('Member')}({', '.join(map(repr, f.members))})")
        if f.unit is not None:
            marks.append(f"{self.use('Unit')}({f.unit!r})")
        if f.description:
            marks.append(f"{self.use('Doc')}({f.description!r})")
        plain = self.annotation(f.value_kind)
        return f"{self.use('Annotated')}[{', '.join([plain, *marks])}]" if marks else plain

    def annotation(self, kind: Kind) -> str:
        match kind:
            case Primitive(name):
                return self.use(name)
            case DateTime():
                return self.use("datetime")
            case JsonValue():
                return self.use("Json")
            case ClassLabel(names):
                label = f"{self.use('ClassLabel')}({', '.join(map(repr, names))})"
                return f"{self.use('Annotated')}[{self.use('int')}, {label}]"
            case Simple():
                return self.use(kind.python.__name__)
            case TupleOf(items):
                return f"{self.use('tuple')}[{self.annotation(items)}, ...]"
            case FixedTuple(places):
                inside = ", ".join(map(self.annotation, places))
                return f"{self.use('tuple')}[{inside or '()'}]"
            case SetOf(items):
                return f"{self.use('set')}[{self.annotation(items)}]"
            case OneOf(several):
                return " | ".join(map(self.annotation, several))
            case Choice(values) | IntChoice(values):
                return f"{self.use('Literal')}[{', '.join(map(repr, values))}]"
            case Array(dtype, shape, axes) if axes is not None and shape is not None:
                sizes = (name or n for name, n in zip(axes, shape, strict=True))
                named = f"{self.use('Shape')}({', '.join(map(repr, sizes))})"
                return f"{self.use('Annotated')}[{self.array(dtype, None)}, {named}]"
            case Array(dtype, shape):
                return self.array(dtype, shape)
            case Encoded(name):
                return self.use(MEDIA[name].__name__)
            case ListOf(inner):
                return f"{self.use('list')}[{self.annotation(inner)}]"
            case MapOf(inner):
                return f"{self.use('dict')}[{self.use('str')}, {self.annotation(inner)}]"
            case Maybe(inner):
                return f"{self.annotation(inner)} | None"
            case Nested():
                return self.references[_key(kind)]
            case _:
                raise SchemaError(f"{kind!r:.80} has no annotation.")

    def array(self, dtype: str | None, shape: tuple[int | None, ...] | None) -> str:
        if dtype is None:
            scalar = self.use("Any")
        else:
            home = "ml_dtypes" if dtype in EXTENSION_DTYPES else "np"
            named = dtype if home == "ml_dtypes" else np.dtype(dtype).type.__name__
            scalar = f"{self.use(home)}.{named}"
        if shape is None:
            return f"{self.use('NDArray')}[{scalar}]"
        dims = [self.use("int") if n is None else f"{self.use('Literal')}[{n}]" for n in shape]
        array = f"{self.use('np')}.ndarray[{self.use('tuple')}[{', '.join(dims) or '()'}]"
        return f"{array}, {self.use('np')}.dtype[{scalar}]]"

    def use(self, symbol: str) -> str:
        """The name of an import in the stub."""
        if symbol not in self.symbols:
            self.symbols[symbol] = self.free(symbol)
        return self.symbols[symbol]

    def free(self, name: str) -> str:
        """A name that is not used in the stub yet; it is reserved."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _nested_in(kind: Kind) -> Iterator[Nested]:
    """The samples in a kind, each after those inside it."""
    for inner in kind.parts():
        yield from _nested_in(inner)
    if isinstance(kind, Nested):
        yield kind


def _key(item: Nested) -> tuple[str, tuple[Field, ...]]:
    return item.name, item.fields


def _docstring(text: str | None) -> list[str]:
    """Untrusted text as the lines of a docstring, which means the same text when it is read."""
    if not text:
        return []
    lines = text.split("\n")
    plain = (
        all(line.isprintable() for line in lines)
        and not any(part in text for part in ("\\", '"""'))
        and not text.endswith('"')
    )
    if plain and len(lines) == 1:
        return [f'    """{text}"""', ""]
    indented = [f"    {line}" if line else "" for line in lines]
    if plain and inspect.cleandoc("\n".join(indented)) == text:
        return [f'    """{lines[0]}', *indented[1:], '    """', ""]
    return [f"    {text!r}", ""]


def _comment(text: str, indent: str) -> list[str]:
    """Untrusted text as comment lines, without characters that could end a comment."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return [f"{indent}# {line}" for line in textwrap.wrap(printable, 90 - len(indent))]
