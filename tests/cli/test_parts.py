"""Parts of the commands: exit codes, text that is safe to print, inferred types."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata import errors
from atdata.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from atdata.cli.infer_type import infer_type
from atdata.cli.output import brief, emit, size
from atdata.cli.plain import plain
from atdata.errors import AtdataError, OptionError
from atdata.local import LocalIndex
from atdata.samples.kinds import JsonValue


def kinds(base: type[AtdataError]) -> Iterator[type[AtdataError]]:
    """An error and those that derive from it."""
    yield base
    for derived in base.__subclasses__():
        yield from kinds(derived)


def test_every_exit_code_has_a_meaning() -> None:
    """The table of exit codes is complete."""
    assert set(MEANINGS) == set(ExitCode)


def test_errors_of_one_kind_share_an_exit_code() -> None:
    """Missing, refused, damaged and unreachable each have an exit code."""
    expected = {
        errors.DatasetNotFoundError: ExitCode.NOT_FOUND,
        errors.ShardNotFoundError: ExitCode.NOT_FOUND,
        errors.NoDataUrlsError: ExitCode.NOT_FOUND,
        errors.BucketNotFoundError: ExitCode.NOT_FOUND,
        errors.IdentityError: ExitCode.NOT_FOUND,
        errors.SessionExpiredError: ExitCode.REFUSED,
        errors.CredentialsError: ExitCode.REFUSED,
        errors.PrivateUrlError: ExitCode.REFUSED,
        errors.UnsafeUrlError: ExitCode.REFUSED,
        errors.IntegrityError: ExitCode.DAMAGED,
        errors.DecodeError: ExitCode.DAMAGED,
        errors.RecordError: ExitCode.DAMAGED,
        errors.SchemaError: ExitCode.DAMAGED,
        errors.BackendError: ExitCode.UNREACHABLE,
        errors.RateLimitError: ExitCode.UNREACHABLE,
        errors.SchemaConflictError: ExitCode.CONFLICT,
        errors.MissingExtraError: ExitCode.UNAVAILABLE,
        errors.DatasetNameError: ExitCode.USAGE,
        errors.UrlError: ExitCode.USAGE,
    }
    for kind, code in expected.items():
        assert exit_code_of(kind("")) is code
    for kind in kinds(AtdataError):
        if kind is not errors.XrpcError:
            assert exit_code_of(kind("")) is not ExitCode.OK


@given(st.text())
def test_no_text_acts_on_a_terminal(text: str) -> None:
    """Untrusted text is printed without control characters; ordinary text is unchanged."""
    shown = plain(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown)
    if text.isascii() and text.isprintable():
        assert shown == text


NAMES = st.text("abc", max_size=2)
NUMBERS = st.recursive(
    st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


@given(NUMBERS)
def test_json_is_json(value: object) -> None:
    """JSON output parses strictly, whatever floats it has; finite ones are unchanged."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    out = io.StringIO()
    with redirect_stdout(out):
        emit(value)
    read = json.loads(out.getvalue(), parse_constant=refuse)
    named = json.loads(json.dumps(value), parse_constant=str)
    assert read == named


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((2, 3), np.uint8), "uint8 (2, 3)"),
        (np.array([1, 2]), "int64 [1, 2]"),
        (b"123", "3 bytes"),
        (atdata.Image(b"GIF89a"), "<Image gif, 6 bytes>"),
        ([1, 2, 3, 4], "[1, 2, 3, … 4 items]"),
        ("x" * 100, "x" * 59 + "…"),
        ("\x1b[2J", "\\x1b[2J"),
        (None, "None"),
    ],
)
def test_values_in_a_few_words(value: object, said: str) -> None:
    """Arrays appear as dtype and shape, bytes as a count, long values cut."""
    assert brief(value) == said


def test_pictures_in_json() -> None:
    """Their format and size, never their bytes."""
    out = io.StringIO()
    with redirect_stdout(out):
        emit({"image": atdata.Image(b"GIF89a")})
    assert json.loads(out.getvalue()) == {"image": {"format": "gif", "bytes": 6}}


def test_sizes_are_readable() -> None:
    """Sizes are in units of a thousand."""
    counts = (None, 0, 999, 1_000, 1_540_000, 10**12)
    assert [size(n) for n in counts] == ["", "0 bytes", "999 bytes", "1 kB", "1.54 MB", "1 TB"]


values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.lists(st.one_of(st.integers(0, 9), st.floats(allow_nan=False)), min_size=1, max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), min_size=1, max_size=2),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{2,6}_", fullmatch=True), values, min_size=1))
def test_an_inferred_type_reads_what_it_was_made_of(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, object]
) -> None:
    """The inferred type of a shard reads every sample with the same values."""
    path = tmp_path_factory.mktemp("inferred") / "x.tar"
    written = atdata.write_samples([atdata.DictSample(fields)] * 2, path)
    found = infer_type(written.source, "some data")
    assert found.__name__ == "SomeData"
    untyped = next(iter(atdata.Dataset(str(path))))
    for sample in atdata.Dataset.of(found, written.source):
        for name in fields:
            assert getattr(sample, name) == untyped[name]


SAME = [
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False)),
    st.text(max_size=3),
    st.lists(st.none() | st.integers(0, 9), max_size=2),
    st.lists(st.lists(st.text(max_size=2), max_size=2), max_size=2),
    st.dictionaries(NAMES, st.none() | st.floats(allow_nan=False), max_size=2),
    st.none(),
]
"""Values that may be in one field, in different samples of a dataset."""


@st.composite
def alike(draw: st.DrawFn) -> list[dict[str, object]]:
    """Samples of one type: each field may be None, empty or missing in any of them."""
    fields = draw(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(SAME), min_size=1))
    samples = [
        {name: draw(st.none() | held) for name, held in fields.items() if draw(st.booleans())}
        for _ in range(draw(st.integers(1, 6)))
    ]
    return [*samples, dict.fromkeys(fields)]


@given(alike())
def test_every_sample_fits_the_inferred_type(
    tmp_path_factory: pytest.TempPathFactory, samples: list[dict[str, object]]
) -> None:
    """Wherever a field first has a value, the type fits all samples and drops no field."""
    path = tmp_path_factory.mktemp("inferred") / "x.tar"
    written = atdata.write_samples(map(atdata.DictSample, samples), path)
    found = infer_type(written.source, "x")
    read = list(atdata.Dataset.of(found, written.source))
    for sample, typed in zip(samples, read, strict=True):
        for name in samples[-1]:
            assert getattr(typed, name) == sample.get(name)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([{"a": 1}, {"a": "x"}], r"\$\.a: sample 1 holds str, earlier ones int\."),
        ([{"a": [1]}, {"a": []}, {"a": [b"x"]}], r"\$\.a\[\]: sample 2 holds bytes"),
        ([{"a": {"b c": 1, "d": b"x"}}], r"\$\.a\[\]: some maps hold bytes, others int.*keys"),
        ([{"a": {"b": 1, "c": "x"}}, {"a": {"b": b"", "c": "x"}}], r"\$\.a.*sample 1 holds bytes"),
        ([{"a": [1, "x"]}, {"a": 5}], r"\$\.a: sample 1 holds int, earlier ones Json"),
        (
            [{"a": [1, "x"]}, {"a": [b"x"]}],
            r"\$\.a: sample 1 holds list\[bytes\], earlier ones Json",
        ),
        ([{"a": 0.5}, {"a": 2**53 + 1}], r"\$\.a: sample 1 holds int, .* large"),
    ],
)
def test_what_cannot_be_inferred_is_said(
    tmp_path: Path, samples: list[dict[str, object]], said: str
) -> None:
    """Values that no one field can hold are an error that asks for a type."""
    written = atdata.write_samples(map(atdata.DictSample, samples), tmp_path / "x.tar")
    with pytest.raises(OptionError, match=said) as caught:
        infer_type(written.source, "x")
    assert "--type" in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        [[1], [], ["x"], None],
        [[1, "x", None]],
        [{"b c": 1, "d": "x"}],
        [{"b": 1, "c": "x"}, {"b": "x", "c": "x"}],
        [[0.5], [2**53 + 1]],
        [[1], {"a": 1}],
    ],
)
def test_lists_and_maps_of_several_kinds_are_json(tmp_path: Path, values: list[object]) -> None:
    """What people's JSON holds has a type, and one line says that it is a loose one."""
    samples = [atdata.DictSample(a=value) for value in values]
    written = atdata.write_samples(samples, tmp_path / "x.tar")
    said: list[str] = []
    found = infer_type(written.source, "x", said.append)
    assert atdata.schema_of(found).fields[0].kind == JsonValue()
    assert [line for line in said if "recorded as Json" in line]
    assert [sample.a for sample in atdata.Dataset.of(found, written.source)] == values


def test_a_map_of_several_kinds_is_a_nested_sample(tmp_path: Path) -> None:
    """A JSON object whose values differ in kind becomes a nested class."""
    samples: list[dict[str, object]] = [
        {"meta": {"width": 3, "caption": "x"}, "boxes": [{"x": 1, "of": "cat"}]},
        {"meta": {"width": 4, "caption": "y", "tags": ["a"]}, "boxes": []},
        {"meta": {"width": 5, "caption": None}, "late": {"a": 1.5, "b": {"c": b"", "d": 2}}},
    ]
    written = atdata.write_samples(map(atdata.DictSample, samples), tmp_path / "x.tar")
    found = infer_type(written.source, "x")
    meta = atdata.schema_of(found).fields[0].kind
    assert [field.describe() for field in meta.fields] == [  # type: ignore[attr-defined]
        "width: int",
        "caption: str | None",
        "tags: list[str] | None",
    ]
    read = list(atdata.Dataset.of(found, written.source))
    assert [sample.meta.caption for sample in read] == ["x", "y", None]
    assert read[0].boxes[0].of == "cat"
    assert read[2].late.b.d == 2


DTYPES = {
    "datetime64[D]": "datetime64",
    "datetime64[25s]": "datetime64",
    "timedelta64[s]": "timedelta64",
    "timedelta64": "timedelta64",
    "U5": "str",
    ">U2": "str",
    "S3": "bytes",
    "V4": "void",
    "i4, f8": "void",
    ">f4": "float32",
    ">u8": "uint64",
    "?": "bool",
    "longdouble": np.dtype("longdouble").name,
}
"""Values of a sample, and how the schema describes them."""


@pytest.mark.parametrize(("dtype", "said"), DTYPES.items())
def test_arrays_of_every_dtype_are_inferred(tmp_path: Path, dtype: str, said: str) -> None:
    """An array has the dtype that an annotation would give it, and reads back unchanged."""
    array = np.zeros(3, dtype)
    samples = [atdata.DictSample({"a": array, "b": [array]}) for _ in range(2)]
    written = atdata.write_samples(samples, tmp_path / "x.tar")
    found = infer_type(written.source, "x")
    fields = atdata.schema_of(found).fields
    assert [field.kind.describe() for field in fields] == [said, f"list[{said}]"]
    for sample in atdata.Dataset.of(found, written.source):
        np.testing.assert_array_equal(sample.a, array)
        np.testing.assert_array_equal(sample.b[0], array)
    entry = LocalIndex(tmp_path / "index.db").insert_dataset(
        atdata.Dataset.of(found, written.source), name="x"
    )
    again = LocalIndex(tmp_path / "index.db").decode_schema(entry.schema_ref)
    assert atdata.schema_of(again).fields == fields


@pytest.mark.parametrize(
    ("dtypes", "said"),
    [
        (("datetime64[D]", "datetime64[ns]"), "datetime64"),
        (("U1", "U40"), "str"),
        (("<f4", ">f4"), "float32"),
        (("f4", "f8"), "array"),
        (("i4, f8", "V3"), "void"),
    ],
)
def test_arrays_of_several_units_or_lengths(
    tmp_path: Path, dtypes: tuple[str, ...], said: str
) -> None:
    """Dtypes that differ only in unit, length, fields or byte order are one dtype in the schema."""
    samples = [atdata.DictSample({"a": np.zeros(3, dtype)}) for dtype in dtypes]
    written = atdata.write_samples(samples, tmp_path / "x.tar")
    found = infer_type(written.source, "x")
    assert [field.kind.describe() for field in atdata.schema_of(found).fields] == [said]
    read = [sample.a.dtype for sample in atdata.Dataset.of(found, written.source)]
    assert read == [np.dtype(dtype) for dtype in dtypes]


@pytest.mark.parametrize("value", [None, [], {}, [[]], [None]])
def test_what_no_sample_says_is_assumed_and_reported(tmp_path: Path, value: object) -> None:
    """A field that is None or empty everywhere is kept, and a line says what type was assumed."""
    samples = [atdata.DictSample({"a": i, "b": value}) for i in range(3)]
    written = atdata.write_samples(samples, tmp_path / "x.tar")
    lines: list[str] = []
    found = infer_type(written.source, "x", lines.append)
    assert [sample.b for sample in atdata.Dataset.of(found, written.source)] == [value] * 3
    assert [line.partition(":")[0] for line in lines] == ["$.b"]


def test_an_inferred_type_has_room_for_all(tmp_path: Path) -> None:
    """Fields that some samples lack are optional; integers among floats are floats."""
    samples: list[dict[str, object]] = [
        {"a": 1, "b": np.zeros(2)},
        {"a": 0.5},
        {"a": 2, "b": np.zeros(3, np.int8)},
    ]
    written = atdata.write_samples(map(atdata.DictSample, samples), tmp_path / "x.tar")
    schema = atdata.schema_of(infer_type(written.source, "3 x"))
    assert schema.name == "inferred.Sample3X"
    assert [field.describe() for field in schema.fields] == ["a: float", "b: array | None"]
