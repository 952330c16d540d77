"""Kinds for NumPy arrays"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import DecodeError
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.missing import found_for_error
from atdata.samples.ndarray import (
    conversion,
    decode_array,
    decode_foreign_array,
    dtype_fits,
    encode_array,
    is_foreign_array,
)


@dataclass(frozen=True)
class Array(Kind):
    """A NumPy array, of one dtype and shape if these are given."""

    dtype: str | None = None
    """``float32``, ``uint8``, …; None: any."""
    shape: tuple[int | None, ...] | None = None
    """None: any; a None in it: any length of that axis."""
    axes: tuple[str | None, ...] | None = None
    """Names of axes: equal ones have one length within a sample. None: none has a name. Checked
    when samples are written, see `NamedAxes`."""

    def describe(self) -> str:
        if self.shape is None:
            return self.dtype or "array"
        names = self.axes or (None,) * len(self.shape)
        dims = [
            name or ("*" if n is None else str(n))
            for n, name in zip(self.shape, names, strict=True)
        ]
        shown = f"({dims[0]},)" if len(dims) == 1 else f"({', '.join(dims)})"
        return f"{self.dtype or 'array'} {shown}"

    def fits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        """Whether an array of this dtype and shape is a value of this kind."""
        if self.dtype is not None and not dtype_fits(dtype, self.dtype):
            return False
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or have == want for have, want in zip(shape, self.shape, strict=True)
        )

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, np.ndarray):
            hint = "Pass a NumPy array: np.asarray(value)."
            raise Misfit(self.describe(), found_for_error(value), hint)
        self.check(value)
        try:
            return encode_array(value)
        except ValueError as error:
            raise Misfit(self.describe(), f"{value.dtype} {value.shape}", str(error)) from None

    def checked(self, value: Any) -> AnyArray:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            found = found_for_error(value)
            if isinstance(value, np.ndarray):
                found = "an array of Python objects"
            raise Misfit(self.describe(), found, "Pass a NumPy array: np.asarray(value).")
        self.check(value)
        return value

    def decode(self, wire: Any) -> AnyArray:
        foreign = is_foreign_array(wire)
        if not foreign and not isinstance(wire, (bytes, memoryview)):
            raise Misfit(self.describe(), found_for_error(wire))
        try:
            array = decode_foreign_array(wire) if foreign else decode_array(wire)
        except DecodeError as error:
            raise Misfit(self.describe(), f"bytes that are no array: {error}") from None
        self.check(array)
        return array

    def check(self, array: AnyArray) -> None:
        """Refuse an array that is not a value of this kind.

        Raises:
            Misfit: It is not.
        """
        if not self.fits(array.dtype, array.shape):
            hint = "" if self.dtype is None else conversion(array, self.dtype)
            raise Misfit(self.describe(), f"{array.dtype} {array.shape}", hint)
