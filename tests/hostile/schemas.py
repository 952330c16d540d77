"""Records of schemas: what a stranger wants to be made a type of."""

from __future__ import annotations

from typing import Any

from tests.hostile.items import DID, SCHEMA, Item, field, kind_of, primitive, schema, text

_NEWER = "science.alt.dataset.schema"


def items() -> list[Item]:
    """All of them. A file is a schema's record, or several by their references."""
    return [*_names(), *_sizes(), *_kinds(), *_references(), *_newer()]


def _uri(name: str) -> str:
    return f"at://{DID}/{SCHEMA}/{name}"


def _names() -> list[Item]:
    bad = {
        "keyword": ("has a keyword as a field", "class"),
        "code": (
            "has code as a field",
            "x: int = __import__('os').system('touch canary-was-here')",
        ),
        "newline": ("ends the line in a field's name", "x\nimport os"),
        "dunder": ("takes the place of a method that Python calls", "__reduce__"),
        "mangled": ("has a name that Python changes inside a class", "__secret"),
        "member": ("takes the place of a member of every sample", "packed"),
        "kelvin": ("has a name that Python turns into another", "\u212aelvin"),
        "empty": ("has no name", ""),
        "direction": ("turns the text around", "abc\u202edef"),
        "surrogate": ("has a name that UTF-8 cannot hold", "a\ud800"),
        "long": ("has a name of 100,000 characters", "a" * 100_000),
    }
    found = [text(f"schemas/field-{k}.json", t, schema(field(n))) for k, (t, n) in bad.items()]
    shadows = schema(
        *(
            field(n)
            for n in (
                "self",
                "MISSING",
                "_HAS_DEFAULT_FACTORY",
                "object",
                "_type_self",
                "_dflt_self",
                "int",
                "dataclass",
            )
        )
    )
    code = "'''\nimport os; os.system('touch canary-was-here')\n'''"
    described = schema(field(description=code), description=code)
    choice = primitive("str", enum=["a", "__import__('os').system('touch canary-was-here')"])
    return [
        *found,
        text(
            "schemas/name-module.json",
            "is named as a module that would be imported",
            schema(field(), name="canary_module.Thing"),
            harmless=True,
        ),
        text(
            "schemas/name-system.json",
            "is named as a function of the system",
            schema(field(), name="os.system"),
            harmless=True,
        ),
        text(
            "schemas/name-main.json",
            "is named as a class of the running program",
            schema(field(), name="__main__.Item"),
            harmless=True,
        ),
        text(
            "schemas/name-code.json",
            "has code as its name",
            schema(field(), name="a;import os;b.C"),
            harmless=True,
        ),
        text(
            "schemas/class-keyword.json",
            "has a keyword as its class",
            schema(field(), name="m.None"),
        ),
        text(
            "schemas/class-path.json",
            "has a path as its name",
            schema(field(), name="../../etc/passwd"),
        ),
        text(
            "schemas/shadows.json",
            "hides names that a dataclass uses inside",
            shadows,
            harmless=True,
        ),
        text("schemas/description.json", "has code in its descriptions", described, harmless=True),
        text(
            "schemas/choice-code.json",
            "has code as a choice",
            schema(field(kind=choice)),
            harmless=True,
        ),
        text("schemas/twice.json", "has a field twice", schema(field(), field())),
        text(
            "schemas/version.json",
            "has a version that is none",
            {**schema(field()), "version": "1.0"},
        ),
        text(
            "schemas/version-digits.json",
            "has a version of 5,000 digits",
            {**schema(field()), "version": "9" * 5000 + ".0.0"},
        ),
    ]


def _sizes() -> list[Item]:
    deep: dict[str, Any] = primitive("int")
    for _ in range(300):
        deep = kind_of("array", items=deep)
    values = [f"{i:x}" for i in range(1001)]
    return [
        text(
            "schemas/fields.json",
            "has 1,001 fields",
            schema(*(field(f"f{i}") for i in range(1001))),
        ),
        text("schemas/nesting.json", "nests lists 300 deep", schema(field(kind=deep))),
        text(
            "schemas/choices.json",
            "has 1,001 choices",
            schema(field(kind=primitive("str", enum=values))),
        ),
        text(
            "schemas/metadata.json",
            "has metadata of 200 kB",
            schema(field(), metadata={"a": "x" * 200_000}),
        ),
        text(
            "schemas/unknown-long.json",
            "has a kind that nobody knows, of 200 kB",
            schema(field(kind=kind_of("next", note="x" * 200_000))),
        ),
    ]


def _kinds() -> list[Item]:
    def array(**rest: Any) -> dict[str, Any]:
        return schema(field(kind=kind_of("ndarray", **rest)))

    return [
        text("schemas/dtype-object.json", "has arrays of Python objects", array(dtype="object")),
        text("schemas/dtype-code.json", "has arrays of objects by their letter", array(dtype="|O")),
        text(
            "schemas/dtype-fields.json", "has a dtype with fields in a str", array(dtype="i4,O,f8")
        ),
        text(
            "schemas/dtype-digits.json",
            "has a dtype of 10**4000 bytes",
            array(dtype="<U" + "9" * 4000),
        ),
        text(
            "schemas/shape-dimensions.json",
            "has arrays of 10,000 dimensions",
            array(dtype="uint8", shape=[1] * 10_000),
        ),
        text(
            "schemas/shape-huge.json",
            "has arrays of 10**4000 items",
            array(dtype="uint8", shape=[10**4000]),
        ),
        text(
            "schemas/shape-negative.json",
            "has arrays of -1 items",
            array(dtype="uint8", shape=[-1]),
        ),
        text(
            "schemas/kind-number.json", "has a number as a kind", schema(field(kind={"$type": 7}))
        ),
        text(
            "schemas/kind-new.json",
            "has a kind that only its own library knows",
            schema(field(kind=kind_of("pickle", module="os", name="system"))),
        ),
        text(
            "schemas/fields-object.json",
            "has an object where fields are",
            {**schema(), "fields": {"a": 1}},
        ),
        text("schemas/optional-text.json", "says maybe", schema(field(optional="maybe"))),
    ]


def _references() -> list[Item]:
    def ref(name: str, to: str) -> dict[str, Any]:
        return field(name, kind_of("ref", ref=to))

    circle = {_uri("main"): schema(ref("a", _uri("b"))), _uri("b"): schema(ref("b", _uri("main")))}
    chain = {
        _uri("main" if i == 0 else f"c{i}"): schema(ref("next", _uri(f"c{i + 1}")))
        for i in range(60)
    }
    doubling = {
        _uri("main" if i == 0 else f"d{i}"): schema(
            *(ref(f"f{n}", _uri(f"d{i + 1}")) for n in range(10)) if i < 20 else [field()],
            name=f"m.D{i}",
        )
        for i in range(21)
    }
    fan = {_uri("main"): schema(*(ref(f"f{i}", _uri(f"x{i}")) for i in range(500)))}
    fan.update({_uri(f"x{i}"): schema(field()) for i in range(500)})
    return [
        text("schemas/ref-circle.json", "leads back to itself", circle),
        text("schemas/ref-chain.json", "leads on sixty times", chain),
        text("schemas/ref-doubling.json", "stands for 10**20 fields in 21 schemas", doubling),
        text("schemas/ref-fan.json", "leads to 500 other schemas", fan),
        text(
            "schemas/ref-file.json",
            "names a file as a schema",
            schema(ref("a", "file:///etc/passwd")),
        ),
        text(
            "schemas/ref-url.json",
            "names a page as a schema",
            schema(ref("a", "https://127.0.0.1/s")),
        ),
        text(
            "schemas/ref-missing.json",
            "names a schema that is not there",
            schema(ref("a", _uri("gone"))),
        ),
    ]


def _newer() -> list[Item]:
    def newer(properties: Any, **rest: Any) -> dict[str, Any]:
        body = {"type": "object", "properties": properties, **rest}
        return {"$type": _NEWER, "name": "Thing", "version": "1.0.0", "schema": body}

    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(300):
        deep = {"type": "array", "items": deep}
    remote = {"a": {"$ref": "https://127.0.0.1/schemas/atdata-ndarray-bytes/1.0.0"}}
    return [
        text("schemas/newer-deep.json", "nests JSON Schema 300 deep", newer({"a": deep})),
        text("schemas/newer-ref.json", "has a $ref that would have to be fetched", newer(remote)),
        text(
            "schemas/newer-names.json",
            "has code as a property",
            newer({"a=1;import os": {"type": "integer"}}),
        ),
        text("schemas/newer-list.json", "has a list of properties", newer([1, 2])),
        text(
            "schemas/newer-null.json",
            "is null of null",
            newer({"a": {"type": ["null", ["null", "null"]]}}),
        ),
    ]
