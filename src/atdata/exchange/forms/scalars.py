"""Numbers, text, bytes, times and choices as Arrow columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from enum import Enum
from typing import Any, Final

import numpy as np

from atdata.exchange.arrow_library import pa, pc
from atdata.exchange.forms.form import Feature, Form, Values, first_unfit, rows, unfit
from atdata.samples.kinds import Choice, ClassLabel, Encoded, IntChoice, Kind, Misfit

_is: Final[Any] = pa.types
_TEXTS: Final = (_is.is_string, _is.is_large_string, _is.is_string_view)
_BYTES: Final = (
    *(_is.is_binary, _is.is_large_binary, _is.is_binary_view),
    _is.is_fixed_size_binary,
)
_NUMBERS: Final = (_is.is_integer, _is.is_floating)
UNSIGNED: Final = "uint64"
"""What a caller writes for integers of 64 bits without a sign."""


def value_feature(type: Any) -> Feature:
    """The feature of a column of plain values."""
    name = {"double": "float64", "float": "float32", "halffloat": "float16"}.get(str(type))
    return {"dtype": name or str(type).replace("date32[day]", "date32"), "_type": "Value"}


class Plain(Form):
    """Values that Arrow has itself: an array of NumPy is not copied."""

    def __init__(self, kind: Kind, type: Any, takes: tuple[Callable[[Any], bool], ...]) -> None:
        super().__init__(kind, type)
        self._takes = takes

    @property
    def feature(self) -> Feature:
        if isinstance(self.kind, ClassLabel):
            return {"names": list(self.kind.names), "_type": "ClassLabel"}
        return value_feature(self.type)

    def out(self, values: Values) -> Any:
        try:
            return pa.array(values, self.type, from_pandas=False)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            hint = ""
            if self.type == pa.int64():
                hint = f'An integer over 2**63 - 1 goes into a column of types={{…: "{UNSIGNED}"}}.'
            raise first_unfit(
                lambda one: pa.array(one, self.type), values, str(self.type), hint
            ) from None

    _out = out

    def _back(self, array: Any) -> Values:
        if _is.is_dictionary(array.type):
            array = array.dictionary_decode()
        if not any(takes(array.type) for takes in self._takes):
            raise self.wrong(array)
        if _is.is_integer(array.type) or _is.is_floating(array.type) or _is.is_boolean(array.type):
            return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
        return array.to_pylist()  # type: ignore[no-any-return]


def integers(kind: Kind, *, unsigned: bool) -> Form:
    """int, `ClassLabel`, and the integers of choices."""
    type = pa.uint64() if unsigned else pa.int64()
    return Choices(kind, type) if isinstance(kind, IntChoice) else Plain(kind, type, _NUMBERS[:1])


def floats(kind: Kind) -> Form:
    """float."""
    return Plain(kind, pa.float64(), _NUMBERS)


def bools(kind: Kind) -> Form:
    """bool."""
    return Plain(kind, pa.bool_(), (_is.is_boolean,))


def texts(kind: Kind) -> Form:
    """str."""
    return Plain(kind, pa.string(), _TEXTS)


def raw_bytes(kind: Kind) -> Form:
    """bytes."""
    return Plain(kind, pa.binary(), _BYTES)


def dates(kind: Kind) -> Form:
    """date."""
    return Plain(kind, pa.date32(), (_is.is_date,))


class Choices(Plain):
    """Integers of a Literal or an Enum."""

    def __init__(self, kind: Kind, type: Any) -> None:
        super().__init__(kind, type, _NUMBERS[:1])

    def _out(self, values: Values) -> Any:
        return super().out([value.value if isinstance(value, Enum) else value for value in values])

    def out(self, values: Values) -> Any:
        return Form.out(self, values)

    def _back(self, array: Any) -> Values:
        return list(map(self.kind.decode, rows(self.kind, super()._back(array))))


class Dictionary(Form):
    """A few strings, each stored once: a Literal or an Enum."""

    kind: Choice

    def __init__(self, kind: Choice) -> None:
        super().__init__(kind, pa.dictionary(pa.int32(), pa.string()))
        self._values = pa.array(kind.values, pa.string())
        self._numbers = {value: number for number, value in enumerate(kind.values)}

    @property
    def feature(self) -> Feature:
        return value_feature(pa.string())

    def _out(self, values: Values) -> Any:
        numbers = [self._numbers[self.kind.encode(value)] for value in values]
        return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), self._values)

    def _back(self, array: Any) -> Values:
        return decoded(self, array, str)


class Text(Form):
    """Values as text: what no Arrow type holds exactly, such as any JSON value, or a Decimal."""

    def __init__(self, kind: Kind, *, as_json: bool) -> None:
        super().__init__(kind, pa.string())
        self._as_json = as_json
        self.note = "JSON" if as_json else kind.describe()

    @property
    def feature(self) -> Feature:
        return value_feature(self.type)

    def _out(self, values: Values) -> Any:
        wire = map(self.kind.encode, values)
        found = (
            [json.dumps(each, ensure_ascii=False) for each in wire] if self._as_json else [*wire]
        )
        return pa.array(found, self.type)

    takes_extension = True

    def _back(self, array: Any) -> Values:
        if not isinstance(array, pa.ExtensionArray):
            return decoded(self, array, _parsed if self._as_json else str)
        # UUIDs are an extension type of bytes, whose values are Python's.
        found = array.to_pylist()
        if found and isinstance(found[0], str):
            return decoded(self, array.storage, _parsed if self._as_json else str)
        return list(map(self.kind.checked, found))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Misfit("JSON", f"{text!r:.60}") from None


def decoded(form: Form, array: Any, parse: Callable[[str], Any]) -> list[Any]:
    """Values of a column of text, each parsed and decoded; of a column of decimals as they are."""
    if _is.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is.is_decimal(array.type):
        return list(map(form.kind.checked, array.to_pylist()))
    if not any(text(array.type) for text in _TEXTS):
        raise form.wrong(array)
    return [form.kind.decode(parse(text)) for text in array.to_pylist()]


class Moments(Form):
    """datetimes as microseconds, all with an offset (of which the instant is kept) or none."""

    def __init__(self, kind: Kind, *, aware: bool) -> None:
        super().__init__(kind, pa.timestamp("us", "UTC" if aware else None))
        self._aware = aware

    @property
    def feature(self) -> Feature:
        return value_feature(self.type)

    def _out(self, values: Values) -> Any:
        for row, value in enumerate(values):
            if (value.utcoffset() is not None) != self._aware:
                want = "an offset from UTC" if self._aware else "no offset"
                raise unfit(row, f"a datetime with {want}, as the first has", str(value), _MIXED)
        try:
            return pa.array(values, self.type)
        except (pa.ArrowException, OverflowError, ValueError):
            raise first_unfit(
                lambda one: pa.array(one, self.type), values, str(self.type)
            ) from None

    def _back(self, array: Any) -> Values:
        if any(text(array.type) for text in _TEXTS):
            return decoded(self, array, str)
        if not _is.is_timestamp(array.type):
            raise self.wrong(array)
        micros = to_micros(array, pa.timestamp("us", array.type.tz))
        if array.type.tz not in ("UTC", "+00:00", "Etc/UTC"):
            return micros.to_pylist()  # type: ignore[no-any-return]
        found = micros.cast(pa.timestamp("us")).to_pylist()
        return [datetime.replace(value, tzinfo=UTC) for value in found]


_MIXED: Final = 'types={…: "str"} writes them as text, which holds both.'


def to_micros(array: Any, type: Any) -> Any:
    """Times in microseconds.

    Raises:
        Misfit: That would lose nanoseconds.
    """
    try:
        return pc.cast(array, type)
    except pa.ArrowException:
        hint = "Round them first, for example by column.dt.floor('us') of pandas."
        raise Misfit("times to the microsecond", "nanoseconds", hint) from None


class Times(Form):
    """Times of day without an offset, to the microsecond."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind, pa.time64("us"))

    @property
    def feature(self) -> Feature:
        return value_feature(self.type)

    def _out(self, values: Values) -> Any:
        for row, value in enumerate(values):
            if isinstance(value, time) and value.tzinfo is not None:
                raise unfit(row, "a time without an offset", str(value), _MIXED)
        return pa.array(values, self.type)

    def _back(self, array: Any) -> Values:
        if any(text(array.type) for text in _TEXTS):
            return decoded(self, array, str)
        if not _is.is_time(array.type):
            raise self.wrong(array)
        return to_micros(array, self.type).to_pylist()  # type: ignore[no-any-return]


class Durations(Form):
    """timedeltas in microseconds."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind, pa.duration("us"))

    @property
    def feature(self) -> Feature:
        return value_feature(self.type)

    def _out(self, values: Values) -> Any:
        numbers = np.array([self.kind.encode(value) for value in values], np.int64)
        return pa.array(numbers).cast(self.type)

    def _back(self, array: Any) -> Values:
        if not _is.is_duration(array.type):
            raise self.wrong(array)
        numbers = to_micros(array, self.type).cast(pa.int64()).to_pylist()
        return [timedelta(microseconds=number) for number in numbers]


class EncodedMedia(Form):
    """Encoded pictures or sounds, as the library `datasets` stores them."""

    kind: Encoded

    def __init__(self, kind: Encoded) -> None:
        super().__init__(kind, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))

    @property
    def feature(self) -> Feature:
        return {"_type": self.kind.describe()}

    def _out(self, values: Values) -> Any:
        data = pa.array([self.kind.encode(value) for value in values], pa.binary())
        paths = pa.nulls(len(values), pa.string())
        return pa.StructArray.from_arrays([data, paths], fields=list(self.type))

    def _back(self, array: Any) -> Values:
        if _is.is_struct(array.type) and array.type.get_field_index("bytes") >= 0:
            array = array.flatten()[array.type.get_field_index("bytes")]
            if array.null_count:
                row = array.is_valid().index(False).as_py()
                hint = "Open the dataset with the library that made it, and embed its files."
                raise unfit(row, "bytes", "the path of a file, which is not opened", hint)
        if not any(raw(array.type) for raw in _BYTES):
            raise self.wrong(array)
        return list(map(self.kind.made, array.to_pylist()))
