"""Schemas as typed source."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import itertools
import keyword
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings

from atdata.errors import SchemaError, UnknownKindError
from atdata.samples.kinds import Array, Choice, DateTime, Field, ListOf, Nested, Primitive, Unknown
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of
from atdata.schema.stubs import stub
from atdata.testing.strategies import schemas
from tests.schema.test_reflect import Everything

INT = Primitive("int")
numbers = itertools.count()

HOSTILE = Schema(
    "lab.int",
    "1.0.0",
    (
        Field("int", INT, description='"""\nimport os; os.abort()\r#\x0c\u2028x = 1'),
        Field("datetime", DateTime(), optional=True),
        Field("np", Array("float32", (None, 3))),
        Field("Literal", Choice(('"]; import os', "'''", "\\", "\n", "\ud800"))),
        Field("Box", ListOf(Nested("a.Box", (Field("packable", INT),)))),
        Field("other", Nested("b.Box", (Field("list", INT, True), Field("field", INT)))),
        Field("same", Nested("c.int", (Field("x", Primitive("bytes")),)), True),
        Field("last", Primitive("str")),
    ),
)


RESERVED = Schema(
    "lab.mro",
    "1.0.0",
    tuple(
        Field(name, Nested("lab.type", (Field("mro", INT),)) if name == "mro" else INT, i % 2 == 1)
        for i, name in enumerate(sorted({*dir(type), *dir(object), *dir(builtins)}))
        if not name.startswith("__") and not keyword.iskeyword(name)
    ),
)
"""Every name that means something to Python without an import."""


def load(source: str, folder: Path) -> ModuleType:
    name = f"stub_{next(numbers)}"
    path = folder / f"{name}.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def fields_of(module: ModuleType, schema: Schema) -> tuple[Field, ...]:
    cls: Any = getattr(module, schema.class_name)
    return schema_of(cls).fields


@settings(max_examples=50, deadline=None)
@given(schema=schemas())
def test_the_source_of_any_schema_is_its_type(
    schema: Schema, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Saved and imported, the source of a schema defines a class of just that schema."""
    module = load(stub(schema), tmp_path_factory.mktemp("stubs"))
    assert fields_of(module, schema) == schema.fields


def test_source_reads_like_a_class_written_by_hand() -> None:
    """The whole source, as an editor shows it."""
    schema = Schema(
        "lab.Photo",
        "1.1.0",
        (
            Field("image", Array("uint8"), description="Height, width, colour."),
            Field("box", Nested("lab.Box", (Field("corners", Array("float32", (2, 2))),)), True),
            Field("side", Choice(("left", "right"))),
        ),
    )
    assert (
        stub(schema)
        == """\
from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from atdata import Doc, packable


# lab.Box
@packable
class Box:
    corners: np.ndarray[tuple[Literal[2], Literal[2]], np.dtype[np.float32]]


# lab.Photo@1.1.0
@packable
class Photo:
    image: Annotated[NDArray[np.uint8], Doc('Height, width, colour.')]
    box: Box | None = None
    side: Literal['left', 'right'] = field(kw_only=True)
"""
    )


def test_nothing_that_a_stranger_wrote_becomes_code(tmp_path: Path) -> None:
    """Names that mean something else, quotes, newlines: the source has classes and no more."""
    source = stub(HOSTILE)
    allowed = (ast.ImportFrom, ast.Import, ast.ClassDef, ast.Assign)
    tree = ast.parse(source)
    assert all(isinstance(node, allowed) for node in tree.body)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        plain = all(isinstance(argument, ast.Constant) for argument in call.args)
        said = plain and ast.unparse(call.func) == "Doc"
        assert said or ast.unparse(call).endswith("(kw_only=True)")
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert set(imported) <= {
        *("__future__", "builtins", "dataclasses", "datetime", "decimal", "typing", "uuid"),
        *("numpy.typing", "atdata"),
    }
    assert fields_of(load(source, tmp_path), HOSTILE) == HOSTILE.fields


def test_names_that_mean_something_to_python_are_names(tmp_path: Path) -> None:
    """A field may be called as a function, a type or a method of classes, such as `mro`."""
    assert fields_of(load(stub(RESERVED), tmp_path), RESERVED) == RESERVED.fields


def test_a_type_checker_understands_the_source(tmp_path: Path) -> None:
    """The source of an ordinary and of a hostile schema passes a strict type checker."""
    ordinary = schema_of(Everything)
    for name, schema in (("ordinary", ordinary), ("hostile", HOSTILE), ("reserved", RESERVED)):
        (tmp_path / f"{name}.py").write_text(stub(schema), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["x: int\nimport os", "class", "__private", "packed"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """A field name that could be code is no field name."""
    with pytest.raises(SchemaError):
        stub(Schema("lab.Thing", "1.0.0", (Field(name, INT),)))


def test_an_unknown_kind_has_no_source() -> None:
    """Neither has a kind that this version does not know."""
    with pytest.raises(UnknownKindError):
        stub(Schema("lab.Thing", "1.0.0", (Field("x", Unknown("x#y", "{}")),)))
