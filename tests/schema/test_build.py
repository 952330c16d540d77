"""Types made of schemas."""

from __future__ import annotations

import dataclasses
import gc
import io
import pickle
import sys
import threading
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata._protocols import Packable
from atdata.errors import SchemaError, UnknownKindError
from atdata.samples.codec import codec_of
from atdata.samples.kinds import (
    Array,
    Field,
    Kind,
    ListOf,
    MapOf,
    Nested,
    Primitive,
    Unknown,
)
from atdata.schema.build import CACHE_SIZE, build_type
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of
from atdata.testing.strategies import sample_types, samples_of, schemas
from tests.schema.test_reflect import Box, Everything

INT = Primitive("int")


def made(*fields: Field, name: str = "lab.Thing") -> Any:
    return build_type(Schema(name, "1.0.0", fields))


@given(schemas())
def test_a_type_has_the_schema_it_was_made_of(schema: Schema) -> None:
    """Schema → type → schema changes nothing: neither name, nor fields, nor nested names."""
    sample_type = build_type(schema)
    back = schema_of(sample_type, version=schema.version)
    assert back == schema
    assert str(back) == str(schema)
    assert [f.description for f in back.fields] == [f.description for f in schema.fields]
    assert isinstance(sample_type, Packable)


@settings(max_examples=40)
@given(st.data(), sample_types())
def test_random_samples_survive_the_way_there_and_back(data: st.DataObject, cls: Any) -> None:
    """A sample of any type reads back equal, and its bytes are the same when written again."""
    sample = data.draw(samples_of(cls))
    back = cls.from_bytes(sample.packed)
    assert back == sample
    assert back.packed == sample.packed


@settings(max_examples=30)
@given(samples_of(Everything))
def test_a_decoded_type_reads_what_the_class_wrote(sample: Any) -> None:
    """Data of a user's class read field for field the same as the type made of its schema."""
    decoded = build_type(schema_of(Everything))
    other = decoded.from_bytes(sample.packed)
    assert other.packed == sample.packed
    assert codec_of(Everything).unpack(other.packed) == sample


def test_equal_schemas_give_one_class() -> None:
    """The same schema gives the same class, so that types of datasets compare equal."""
    first = build_type(schema_of(Everything))
    assert build_type(schema_of(Everything, version="1.0.0", metadata={"x": 1})) is first
    assert build_type(schema_of(Everything, description="x")).__doc__ == "x"
    assert build_type(schema_of(first)) is first


def test_a_class_in_use_outlives_the_cache() -> None:
    """However many other types are made, a type in use stays the one of its schema."""
    mine = made(Field("kept", INT))
    for i in range(CACHE_SIZE + 10):
        made(Field(f"other{i}", INT))
    gc.collect()
    assert made(Field("kept", INT)) is mine


def test_types_that_nobody_uses_go_away() -> None:
    """A process that reads many schemas does not keep all their types."""
    before = made(Field("gone", INT)).__doc__
    assert before
    for i in range(CACHE_SIZE):
        made(Field(f"filler{i}", INT))
    gc.collect()
    alive = [c for c in gc.get_objects() if isinstance(c, type) and hasattr(c, "__atdata_schema__")]
    assert not [c for c in alive if "gone" in c.__annotations__]


def test_threads_get_one_class() -> None:
    """Threads that decode a schema at the same time get the same class."""
    schema = Schema("lab.Raced", "1.0.0", tuple(Field(f"f{i}", INT) for i in range(50)))
    found: list[type] = []
    threads = [threading.Thread(target=lambda: found.append(build_type(schema))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8


def test_nested_types_are_those_of_their_own_schemas() -> None:
    """The class of a nested sample is the one that its own schema gives."""
    outer = made(Field("box", schema_of(Everything).fields[8].kind))
    item = outer.__atdata_codec__.fields[0].kind.items
    assert item.python is build_type(schema_of(Box))


def test_equal_fields_under_another_nested_name_are_another_type() -> None:
    """Types differ where only the name of a nested sample does: each keeps its own."""
    names = ["lab.Left", "lab.Right"]
    types = [made(Field("part", Nested(name, (Field("x", INT),)))) for name in names]
    assert types[0] is not types[1]
    assert [t.__atdata_codec__.fields[0].kind.name for t in types] == names


def test_a_made_type_can_be_sent_to_another_process() -> None:
    """Samples of a built type pickle: the receiver builds the type again from its schema."""
    cls = made(Field("x", INT), Field("b", schema_of(Box).fields[0].kind))
    sample = cls(x=1, b=np.ones(2, np.float32))
    assert pickle.loads(pickle.dumps(cls)) is cls
    assert pickle.loads(pickle.dumps(sample)) == sample


def test_what_a_stranger_named_is_never_looked_up() -> None:
    """What goes to another process has a schema's names as data: no module is asked for them."""

    class Looked(pickle.Unpickler):
        asked: ClassVar[set[str]] = set()

        def find_class(self, module: str, name: str) -> Any:
            self.asked.add(module)
            return super().find_class(module, name)

    inner = Nested("subprocess.Popen", (Field("shell", INT),))
    cls: Any = build_type(Schema("os.system", "1.0.0", (Field("x", INT), Field("part", inner))))
    part = cls.__atdata_codec__.fields[1].kind.python
    sample = cls(x=1, part=part(shell=2))
    for sent in (cls, part, sample, atdata.Dataset[cls]("a.tar")):
        Looked(io.BytesIO(pickle.dumps(sent))).load()
    assert Looked.asked
    assert {module.partition(".")[0] for module in Looked.asked} <= {
        "atdata",
        "copyreg",
        "builtins",
    }


def test_optional_fields_may_be_left_out() -> None:
    """An optional field defaults to None wherever it stands."""
    cls = made(Field("a", INT, optional=True), Field("b", INT), Field("c", INT, optional=True))
    assert cls(b=1) == cls(None, b=1, c=None)
    assert [f.name for f in dataclasses.fields(cls)] == ["a", "b", "c"]


def test_a_made_type_looks_like_its_class() -> None:
    """It prints under its own name, and the module that the schema names is not imported."""
    cls = made(Field("x", INT), name="some_module_of_a_stranger.Thing")
    assert str(cls) == "<class 'some_module_of_a_stranger.Thing'>"
    assert repr(cls(x=3)) == "Thing(x=3)"
    assert "some_module_of_a_stranger" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        *("class", "None", "two words", "a-b", "", "1st", "x=1", "x: int = print(1)", "a\nb"),
        *("__class__", "__init__", "__dict__", "__atdata_codec__", "__slots__"),
        *(
            "packed",
            "as_wds",
            "from_bytes",
            "from_data",
            "ﬁ",
            "x\x00",
            "\udc00",
        ),
    ],
)
def test_field_names_that_python_cannot_have_are_refused(name: str) -> None:
    """A field name that is a keyword, code or reserved is refused by name."""
    with pytest.raises(SchemaError, match="DictSample"):
        made(Field(name, INT))


@pytest.mark.parametrize("name", ["lab.class", "lab.__init__", "lab.ﬁne"])
def test_class_names_that_python_cannot_have_are_refused(name: str) -> None:
    """So is the name of a class."""
    with pytest.raises(SchemaError, match="DictSample"):
        made(Field("x", INT), name=name)


@pytest.mark.parametrize("name", ["self", "MISSING", "_dflt_x", "cls", "mro", "_", "x_", "type"])
def test_odd_names_that_python_can_have_work(name: str) -> None:
    """Names that only look dangerous are names like any other."""
    cls = made(Field(name, INT), Field("x", INT, optional=True))
    sample = cls.from_bytes(cls(**{name: 3}).packed)
    assert getattr(sample, name) == 3
    assert sample.x is None


@pytest.mark.parametrize(
    "kind",
    [
        Unknown("x#new", "{}"),
        ListOf(Unknown("x#new", "{}")),
        Nested("lab.In", (Field("x", Unknown("x#new", "{}")),)),
        Array("bfloat17"),
        Array("O"),
    ],
)
def test_unknown_kinds_say_to_read_dict_samples(kind: Kind) -> None:
    """A kind of a newer version makes no type; the error names the field and the way out."""
    with pytest.raises(UnknownKindError, match=r"lab\.\w+\.x.*DictSample"):
        made(Field("x", kind))


def test_a_schema_beyond_the_limits_is_refused() -> None:
    """A thousand fields and 32 levels are made; more, or nested samples that multiply, are not."""
    cls = made(*(Field(f"f{i}", INT) for i in range(1000)))
    assert len(dataclasses.fields(cls)) == 1000
    with pytest.raises(SchemaError, match="1,001 fields"):
        made(*(Field(f"f{i}", INT) for i in range(1001)))
    deep: Kind = INT
    for _ in range(31):
        deep = ListOf(deep)
    made(Field("deep", deep))
    with pytest.raises(SchemaError, match="32 deep"):
        made(Field("deep", MapOf(deep)))
    wide: Kind = INT
    for i in range(8):
        wide = Nested(f"lab.W{i}", tuple(Field(f"f{n}", wide) for n in range(100)))
    with pytest.raises(SchemaError, match="10,000"):
        made(Field("wide", wide))
