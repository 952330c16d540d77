"""NumPy arrays as Arrow columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from atdata._arrays import AnyArray
from atdata.exchange.arrow_library import pa, pc
from atdata.exchange.forms.form import Feature, Form, Values, unfit
from atdata.exchange.forms.scalars import raw_bytes, value_feature
from atdata.samples.kinds import Array, Misfit

PLAIN: Final = frozenset(
    f"{sort}{bits}" for sort in ("int", "uint") for bits in (8, 16, 32, 64)
) | {"bool", "float16", "float32", "float64"}
"""Names of the dtypes that Arrow has as well."""
_is: Final[Any] = pa.types
_INT32: Final = 2**31 - 1


class _Flat(Form):
    """Arrays whose values lie one after the other in an array of Arrow."""

    kind: Array

    def __init__(self, kind: Array, type: Any) -> None:
        super().__init__(kind, type)
        self.dtype = np.dtype(kind.dtype)

    def _flat(self, arrays: AnyArray | list[AnyArray]) -> Any:
        """The values of arrays, one after the other."""
        if isinstance(arrays, np.ndarray):
            found = np.ascontiguousarray(arrays, self.dtype).reshape(-1)
        elif arrays:
            found = np.concatenate([np.ravel(np.asarray(each, self.dtype)) for each in arrays])
        else:
            found = np.empty(0, self.dtype)
        if len(found) > _INT32:
            raise Misfit("at most 2**31 - 1 numbers in one batch", f"{len(found):,}")
        return pa.array(found)

    def _numbers(self, array: Any) -> AnyArray:
        """The numbers of an Arrow array without lists, in this dtype if it holds them exactly."""
        if array.null_count:
            raise Misfit(self.kind.describe(), "None among the numbers of an array")
        sort = array.type
        if not (_is.is_integer(sort) or _is.is_floating(sort) or _is.is_boolean(sort)):
            raise self.wrong(array)
        found: AnyArray = array.to_numpy(zero_copy_only=False)
        if found.dtype == self.dtype:
            return found
        with np.errstate(all="ignore"):
            cast = found.astype(self.dtype)
            same = cast.astype(found.dtype) == found
        # NaN equals nothing.
        if not bool((same | (found != found)).all()):
            raise Misfit(str(self.dtype), f"numbers of {found.dtype} that it does not hold")
        return cast


class Tensors(_Flat):
    """Arrays of one shape, as lists of fixed size, one in the other.

    Every consumer sees the shape in this type. In ``arrow.fixed_shape_tensor`` DuckDB sees a flat
    list, and the library `datasets` refuses it.
    """

    def __init__(self, kind: Array) -> None:
        self.shape = tuple(n for n in kind.shape or () if n is not None)
        type = pa.from_numpy_dtype(np.dtype(kind.dtype))
        for length in reversed(self.shape):
            type = pa.list_(type, length)
        super().__init__(kind, type)

    @property
    def feature(self) -> Feature:
        found = value_feature(pa.from_numpy_dtype(self.dtype))
        for length in reversed(self.shape):
            found = {"feature": found, "length": length, "_type": "List"}
        return found

    def _out(self, values: Values) -> Any:
        if not isinstance(values, np.ndarray):
            for row, value in enumerate(values):
                self._check(value.shape, row)
        else:
            self._check(values.shape[1:], 0)
        found = self._flat(values if isinstance(values, np.ndarray) else list(values))
        for length in reversed(self.shape):
            found = pa.FixedSizeListArray.from_arrays(found, length)
        return found

    def _check(self, shape: tuple[int, ...], row: int) -> None:
        if shape != self.shape:
            raise unfit(row, f"an array of shape {self.shape}", f"one of shape {shape}")

    def _back(self, array: Any) -> Values:
        count = len(array)
        flat = array
        for length in self.shape:
            if isinstance(flat, pa.ExtensionArray):
                flat = flat.storage
            if not is_list(flat.type):
                break
            if flat.null_count:
                raise Misfit(self.kind.describe(), "None in an array")
            # A tensor lies in a single list.
            whole = int(np.prod(self.shape)) if flat is array and not is_list(_inner(flat)) else 0
            lengths = pc.list_value_length(flat)
            found = pc.unique(lengths).to_pylist()
            if found not in ([], [whole or length]):
                raise Misfit(f"an array of shape {self.shape}", f"lists of {found[:3]} values")
            flat = flat.flatten()
        numbers = self._numbers(flat)
        if numbers.size != count * int(np.prod(self.shape)):
            raise self.wrong(array)
        return numbers.reshape(count, *self.shape)


def is_list(type: Any) -> bool:
    """Whether this is one of Arrow's types of lists."""
    return bool(_is.is_list(type) or _is.is_large_list(type) or _is.is_fixed_size_list(type))


def _inner(array: Any) -> Any:
    return array.type.value_type


class Vectors(_Flat):
    """Arrays of one axis and any length, as lists."""

    def __init__(self, kind: Array) -> None:
        super().__init__(kind, pa.list_(pa.from_numpy_dtype(np.dtype(kind.dtype))))

    @property
    def feature(self) -> Feature:
        return {"feature": value_feature(self.type.value_type), "_type": "List"}

    def _out(self, values: Values) -> Any:
        return lists(self._flat(as_arrays(values)), sizes_of(values))

    def _back(self, array: Any) -> Values:
        if not is_list(array.type):
            raise self.wrong(array)
        sizes = lengths_of(array)
        numbers = self._numbers(array.flatten())
        if len(sizes) and (sizes == sizes[0]).all():
            return numbers.reshape(len(sizes), int(sizes[0]))
        ends = np.cumsum(sizes)
        return [
            numbers[end - n : end] for end, n in zip(ends.tolist(), sizes.tolist(), strict=True)
        ]


class Ragged(_Flat):
    """Arrays of any shape: their numbers in C order, and the shape."""

    note = "an array: data in C order, and its shape"

    def __init__(self, kind: Array) -> None:
        numbers = pa.list_(pa.from_numpy_dtype(np.dtype(kind.dtype)))
        super().__init__(kind, pa.struct([("data", numbers), ("shape", pa.list_(pa.int32()))]))

    @property
    def feature(self) -> Feature:
        inner = value_feature(self.type.field("data").type.value_type)
        return {
            "data": {"feature": inner, "_type": "List"},
            "shape": {"feature": value_feature(pa.int32()), "_type": "List"},
        }

    def _out(self, values: Values) -> Any:
        data = lists(self._flat(as_arrays(values)), sizes_of(values))
        if isinstance(values, np.ndarray):
            shapes = np.tile(np.array(values.shape[1:], np.int32), len(values))
            counts = np.full(len(values), values.ndim - 1)
        else:
            shapes = np.array([n for value in values for n in value.shape], np.int32)
            counts = np.array([value.ndim for value in values], np.int64)
        shape = lists(pa.array(shapes, pa.int32()), counts)
        return pa.StructArray.from_arrays([data, shape], fields=list(self.type))

    def _back(self, array: Any) -> Values:
        if not is_ragged(array.type):
            raise self.wrong(array)
        parts = array.flatten()
        data, shape = (parts[array.type.get_field_index(name)] for name in ("data", "shape"))
        if data.null_count or shape.null_count or shape.flatten().null_count:
            raise Misfit(self.kind.describe(), "None in place of the data or shape of an array")
        sizes, counts = lengths_of(data), lengths_of(shape)
        numbers = self._numbers(data.flatten())
        axes = shape.flatten().to_numpy(zero_copy_only=False).tolist()
        found: list[AnyArray] = []
        at = axis = 0
        for row, (size, count) in enumerate(zip(sizes.tolist(), counts.tolist(), strict=True)):
            wanted = tuple(axes[axis : axis + count])
            try:
                found.append(numbers[at : at + size].reshape(wanted))
                if min(wanted, default=0) < 0:
                    raise ValueError
            except ValueError:
                raise unfit(row, f"an array of shape {wanted}", f"{size:,} numbers") from None
            at, axis = at + size, axis + count
        if found and all(each.shape == found[0].shape for each in found) and found[0].ndim:
            return numbers.reshape(len(found), *found[0].shape)
        return found


def is_ragged(type: Any) -> bool:
    """Whether this is the type of `Ragged`, whoever made it."""
    return bool(
        _is.is_struct(type)
        and {field.name for field in type} == {"data", "shape"}
        and all(is_list(field.type) for field in type)
        and _is.is_integer(type.field("shape").type.value_type)
    )


class Rectangles(_Flat):
    """Arrays that others store as lists in lists, where the lists of each value are equally long.

    Args:
        kind: Their kind.
        depth: How many lists are in one another.
    """

    def __init__(self, kind: Array, depth: int) -> None:
        type = pa.from_numpy_dtype(np.dtype(kind.dtype))
        for _ in range(depth):
            type = pa.list_(type)
        super().__init__(kind, type)
        self._depth = depth

    @property
    def feature(self) -> Feature:
        raise NotImplementedError

    def _out(self, values: Values) -> Any:
        raise NotImplementedError

    def _back(self, array: Any) -> Values:
        flat, levels = array, []
        for _ in range(self._depth):
            if isinstance(flat, pa.ExtensionArray):
                flat = flat.storage
            if flat.null_count:
                raise Misfit(self.kind.describe(), "None in an array")
            levels.append(lengths_of(flat))
            flat = flat.flatten()
        numbers = self._numbers(flat)
        starts = [np.concatenate(([0], np.cumsum(level))) for level in levels]
        found: list[AnyArray] = []
        for row in range(len(array)):
            first, last, shape = row, row + 1, []
            for level, start in zip(levels, starts, strict=True):
                sizes = level[first:last]
                if len(sizes) and (sizes != sizes[0]).any():
                    raise unfit(row, self.kind.describe(), "lists of different lengths")
                shape.append(int(sizes[0]) if len(sizes) else 0)
                first, last = int(start[first]), int(start[last])
            found.append(numbers[first:last].reshape(shape))
        return found


def list_form(kind: Array, type: Any) -> Form | None:
    """How lists that others made are read as arrays; None: `form_of_array` reads them."""
    depth, inner = 0, type
    while is_list(inner):
        depth, inner = depth + 1, inner.value_type
    form = form_of_array(kind)
    if isinstance(form, Npy) or (isinstance(form, Vectors) and depth == 1):
        return None
    # A tensor lies in a single list, of which only the kind knows the shape.
    if isinstance(form, Tensors) and depth in (1, len(form.shape)):
        return None
    return Rectangles(kind, depth)


class Npy(Form):
    """Arrays of dtypes that Arrow lacks, such as complex64: as NumPy's .npy files."""

    note = ".npy"

    def __init__(self, kind: Array) -> None:
        super().__init__(kind, pa.binary())

    @property
    def feature(self) -> Feature:
        return value_feature(self.type)

    def _out(self, values: Values) -> Any:
        return pa.array([self.kind.encode(value) for value in values], self.type)

    def _back(self, array: Any) -> Values:
        return [self.kind.decode(data) for data in raw_bytes(self.kind).back(array)]


def form_of_array(kind: Array) -> Form:
    """How arrays of a kind lie in a column; their type decides, never their values."""
    if kind.dtype not in PLAIN:
        return Npy(kind)
    if kind.shape and None not in kind.shape and 0 not in kind.shape:
        return Tensors(kind)
    return Vectors(kind) if kind.shape == (None,) else Ragged(kind)


def as_arrays(values: Values) -> AnyArray | list[AnyArray]:
    """Values as one array, or as a list of arrays."""
    return values if isinstance(values, np.ndarray) else list(values)


def sizes_of(values: Values) -> AnyArray:
    """The number of numbers of each array, shape (n,)."""
    if isinstance(values, np.ndarray):
        return np.full(len(values), int(np.prod(values.shape[1:])))
    return np.array([value.size for value in values], np.int64)


def lists(values: Any, sizes: AnyArray) -> Any:
    """Arrow's list array: the values, and how many each list has."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def lengths_of(array: Any) -> AnyArray:
    """The length of each list of an Arrow array without nulls, shape (n,)."""
    found: AnyArray = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)
