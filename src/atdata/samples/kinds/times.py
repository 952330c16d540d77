"""Kinds for points in time"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import msgpack
import numpy as np

from atdata.errors import DecodeError
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.missing import found_for_error
from atdata.samples.wire import moment_of


def refuse_small_offset(kind: str, value: datetime | time) -> None:
    """Refuse an offset shorter than a second: Python reads it back as UTC, another moment."""
    offset = value.utcoffset()
    if offset and abs(offset) < timedelta(seconds=1):
        raise Misfit(
            f"{kind} whose offset from UTC is at least a second, or none",
            f"{value!s}",
            "Write it in UTC: value.astimezone(timezone.utc).",
        )


@dataclass(frozen=True)
class DateTime(Kind):
    """A datetime, to the microsecond. Of a time zone the offset is kept, not the name.

    A ``datetime64`` can be written in units from hours to microseconds: NumPy compares only these
    as equal to the datetime that is read back.
    """

    def describe(self) -> str:
        return "datetime"

    def encode(self, value: Any) -> str:
        exact = True
        if isinstance(value, np.datetime64) and not np.isnat(value):
            try:
                moment = value.astype("datetime64[us]")
                # Before NumPy 2.5 a value out of range wraps around, and then differs.
                exact = bool(moment.astype(value.dtype) == value)
                found, value = value, moment.item()
            except OverflowError:
                raise Misfit("datetime", f"{value}") from None
            # NumPy does not compare days, longer units or nanoseconds with a datetime.
            if exact and isinstance(value, datetime) and found != value:
                hint = "Write it in microseconds, which read back equal: .astype('datetime64[us]')."
                raise Misfit("datetime", f"{found.dtype} {found}", hint)
        # pandas.NaT is a datetime that equals nothing.
        if not isinstance(value, datetime) or value != value:
            raise Misfit("datetime", found_for_error(value))
        if not exact or (hasattr(value, "nanosecond") and value.nanosecond):
            hint = "Store an array of datetime64 to keep smaller units."
            raise Misfit("datetime, to the microsecond", f"{value}", hint)
        refuse_small_offset("datetime", value)
        # A subclass, such as pandas.Timestamp, may write more than a datetime reads.
        return datetime.isoformat(value)

    def checked(self, value: Any) -> datetime:
        return value if isinstance(value, datetime) else self.decode(self.encode(value))

    def decode(self, wire: Any) -> datetime:
        if isinstance(wire, msgpack.Timestamp):
            try:
                return moment_of(wire)
            except DecodeError as error:
                raise Misfit("datetime, to the microsecond", str(error)) from None
        if not isinstance(wire, str):
            raise Misfit("datetime as an ISO 8601 str", found_for_error(wire))
        try:
            return datetime.fromisoformat(wire)
        except ValueError:
            raise Misfit("datetime as an ISO 8601 str", repr(wire[:40])) from None
