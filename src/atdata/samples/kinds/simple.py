"""Kinds for the values of one class of the standard library, such as date, Decimal and UUID."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Final
from uuid import UUID

import numpy as np

from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.kinds.times import refuse_small_offset
from atdata.samples.missing import found_for_error

_DECIMAL: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INT64: Final = range(-(2**63), 2**63)
_SHOWN: Final = 40


@dataclass(frozen=True)
class Simple(Kind):
    """The values of one class, without parameters."""

    python: ClassVar[type]
    """The class, which is also the annotation."""
    name: ClassVar[str]
    """What records call it."""
    on_wire: ClassVar[type]
    """str or int."""

    def describe(self) -> str:
        return self.python.__name__


class Written(Simple):
    """The values of one class, each written as text."""

    on_wire = str
    form: ClassVar[str]
    """What the text is, for errors."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The value that a text stands for; raises a ValueError or InvalidOperation."""

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, str):
            raise Misfit(f"{self.describe()} as {self.form}", found_for_error(wire))
        try:
            return self.parse(wire)
        except (ValueError, InvalidOperation):
            raise Misfit(f"{self.describe()} as {self.form}", repr(wire[:_SHOWN])) from None


@dataclass(frozen=True)
class Date(Written):
    """A date. A ``datetime64`` in days can be written, too."""

    python = date
    name = "date"
    form = "an ISO 8601 str"

    def encode(self, value: Any) -> str:
        if isinstance(value, np.datetime64) and not np.isnat(value):
            hint = "Write it in days: .astype('datetime64[D]')."
            plain = value.item() if np.datetime_data(value.dtype) == ("D", 1) else None
            if not isinstance(plain, date):
                raise Misfit("date", f"{value.dtype} {value}", hint)
            value = plain
        if isinstance(value, datetime) and value == value:
            hint = "Write value.date(), or annotate datetime."
            raise Misfit("date", found_for_error(value), hint)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise Misfit("date", found_for_error(value))
        return date.isoformat(value)

    def parse(self, text: str) -> date:
        return date.fromisoformat(text)


@dataclass(frozen=True)
class Time(Written):
    """A time of day, to the microsecond, with or without an offset from UTC."""

    python = time
    name = "time"
    form = "an ISO 8601 str"

    def encode(self, value: Any) -> str:
        if not isinstance(value, time):
            raise Misfit("time", found_for_error(value))
        if value.tzinfo is not None and value.utcoffset() is None:
            hint = (
                "Its offset depends on the date: write a datetime, or a time with an offset of "
                "datetime.timezone."
            )
            raise Misfit("time", f"one in {value.tzinfo}", hint)
        refuse_small_offset("time", value)
        return time.isoformat(value)

    def parse(self, text: str) -> time:
        return time.fromisoformat(text)


@dataclass(frozen=True)
class Duration(Simple):
    """A timedelta, as a number of microseconds that fits into 64 bits.

    A ``timedelta64`` can be written in units from weeks to microseconds.
    """

    python = timedelta
    name = "duration"
    on_wire = int

    def encode(self, value: Any) -> int:
        if isinstance(value, np.timedelta64) and not np.isnat(value):
            value = self._of_numpy(value)
        # pandas.NaT equals nothing, and pandas.Timedelta may have nanoseconds.
        if not isinstance(value, timedelta) or value != value:
            raise Misfit("timedelta", found_for_error(value))
        if getattr(value, "nanoseconds", 0):
            hint = "Store an array of timedelta64 to keep smaller units."
            raise Misfit("timedelta, to the microsecond", f"{value}", hint)
        number = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        if number not in _INT64:
            raise Misfit("timedelta", f"{value}", "It has at most 106,751,991 days.")
        return number

    def _of_numpy(self, value: np.timedelta64) -> timedelta:
        try:
            micros = value.astype("timedelta64[us]")
            plain = micros.item()
            exact = bool(micros.astype(value.dtype) == value) and bool(value == plain)
        except (OverflowError, TypeError):
            plain, exact = None, False
        if not exact or not isinstance(plain, timedelta):
            hint = "Write it in microseconds: .astype('timedelta64[us]')."
            raise Misfit("timedelta", f"{value.dtype} {value}", hint)
        return plain

    def decode(self, wire: Any) -> timedelta:
        if type(wire) is not int:
            raise Misfit("timedelta as an int of microseconds", found_for_error(wire))
        if wire not in _INT64:
            raise Misfit("timedelta as an int of microseconds", f"{wire}")
        return timedelta(microseconds=wire)


@dataclass(frozen=True)
class DecimalNumber(Written):
    """A Decimal with all of its digits, trailing zeros included. It is finite.

    An integer can be written, too, but no float: few floats equal the decimal that they show.
    """

    python = Decimal
    name = "decimal"
    form = "a str of digits"

    def encode(self, value: Any) -> str:
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            value = Decimal(int(value))
        if not isinstance(value, Decimal):
            hint = "Write Decimal(str(value))." if isinstance(value, float) else ""
            raise Misfit("Decimal", found_for_error(value), hint)
        if not Decimal.is_finite(value):
            hint = "Write None for it; a field that may lack a value is annotated Decimal | None."
            raise Misfit("a finite Decimal", Decimal.__str__(value), hint)
        # Whether the exponent is "E" or "e" depends on the context of the thread.
        return Decimal.__str__(value).upper()

    def parse(self, text: str) -> Decimal:
        if not _DECIMAL.fullmatch(text):
            raise ValueError("not a number in digits")
        found = Decimal(text)
        if not found.is_finite():
            raise ValueError("out of range, where the thread's context traps nothing")
        return found


@dataclass(frozen=True)
class Uuid(Written):
    """A UUID."""

    python = UUID
    name = "uuid"
    form = "a str of 36 characters"

    def encode(self, value: Any) -> str:
        if not isinstance(value, UUID):
            hint = "Write UUID(value)." if isinstance(value, str) else ""
            raise Misfit("UUID", found_for_error(value), hint)
        return UUID.__str__(value)

    def parse(self, text: str) -> UUID:
        if not _UUID.fullmatch(text):
            raise ValueError("not 36 characters of a UUID")
        return UUID(text)


SIMPLE: Final[dict[str, Simple]] = {
    kind.name: kind for kind in (Date(), Time(), Duration(), DecimalNumber(), Uuid())
}
"""What records call a kind → the kind."""
