"""Batches as tensors, and their way from a worker to the loop. Needs torch."""

from __future__ import annotations

import importlib
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from atdata.errors import MissingExtraError
from atdata.samples.columnar import Column
from atdata.samples.ndarray import AnyArray

try:
    torch: Any = importlib.import_module("torch")
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "to_torch() needs PyTorch, which is not installed. Install it as https://pytorch.org "
        "says for your machine: pip install torch"
    ) from error

Shape: TypeAlias = tuple[int, ...]

_IN_MESSAGE: Final = 1 << 20
"""Bytes of a field up to which they are copied through the pipe: less work than a mapped file."""
_SPARE: Final = 4
"""Blocks of shared memory that a worker keeps for its next batches."""
_FREE, _IN_USE = 0, 1


def as_tensors(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Columns as tensors, which share their memory; lists of arrays as lists of tensors.

    The tensors of a list are views of one that was made for them, where their dtype is the same.
    """
    return {name: _tensor(column) for name, column in columns.items()}


def pinned(column: Any) -> Any:
    """A copy in pinned memory: of a tensor, or of those in a list."""
    if isinstance(column, list):
        return [pinned(value) for value in column]
    return column.pin_memory() if isinstance(column, torch.Tensor) else column


def has_accelerator() -> bool:
    """Whether there is a device that memory can be pinned for."""
    accelerator = getattr(torch, "accelerator", torch.cuda)
    return bool(accelerator.is_available())


class Parcel:
    """A batch in a worker that is a dict of tensors, as `as_tensors` makes it, in the loop.

    Each field is one piece of memory: a small one is part of the message, a large one is in shared
    memory, which the worker uses again when no tensor of it is left in the loop.

    Args:
        columns: The batch. Copied at once.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._fields = {name: _packed(column) for name, column in columns.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._fields,)


class _Joined(NamedTuple):
    """Arrays of one dtype, one behind the other."""

    parts: list[AnyArray]
    """Of one axis each, without gaps, in native byte order."""
    shapes: Shape | list[Shape | None]
    """The shape of the only one, or of each; None where there is none."""


class _Packed(NamedTuple):
    """The same on its way."""

    dtype: np.dtype[Any]
    shapes: Shape | list[Shape | None]
    size: int
    """Bytes of all of them."""
    memory: Any
    """bytes, or a tensor of shared memory with `_IN_USE` in the last byte."""


def _joined(column: AnyArray | Sequence[Any]) -> _Joined | None:
    """What is one piece of memory; None where that is no array, or arrays of several dtypes."""
    there = [column] if isinstance(column, np.ndarray) else [v for v in column if v is not None]
    if not there or not all(isinstance(value, np.ndarray) for value in there):
        return None
    if len({value.dtype for value in there}) > 1:
        return None
    dtype = there[0].dtype.newbyteorder("=")
    parts = [np.ascontiguousarray(value, dtype).reshape(-1) for value in there]
    if isinstance(column, np.ndarray):
        return _Joined(parts, column.shape)
    return _Joined(parts, [None if value is None else value.shape for value in column])


def _cut(flat: Any, shapes: Shape | list[Shape | None]) -> Any:
    """One tensor for each shape out of a flat one, all of them views."""
    if isinstance(shapes, tuple):
        return flat.reshape(shapes)
    sizes = [math.prod(shape) for shape in shapes if shape is not None]
    rest = iter(flat.split(sizes))
    return [
        None if shape is None else next(rest) if len(shape) == 1 else next(rest).reshape(shape)
        for shape in shapes
    ]


def _tensor(column: Column) -> Any:
    if isinstance(column, np.ndarray):
        if not column.dtype.isnative:
            column = column.astype(column.dtype.newbyteorder("="))
        return torch.from_numpy(column)
    joined = _joined(column)
    if joined is None:
        return [_tensor(v) if isinstance(v, np.ndarray) else v for v in column]
    return _cut(torch.from_numpy(np.concatenate(joined.parts)), joined.shapes)


def _packed(column: Column) -> Any:
    joined = _joined(column)
    if joined is None:
        return [_packed(v) if isinstance(v, np.ndarray) else v for v in column]
    parts, shapes = joined
    dtype = parts[0].dtype
    # An error of a dtype that torch has not is the worker's, as of a sample that cannot be read.
    torch.from_numpy(np.empty(0, dtype))
    size = sum(part.nbytes for part in parts)
    if size <= _IN_MESSAGE:
        return _Packed(dtype, shapes, size, b"".join(parts))  # type: ignore[arg-type]
    block, memory = _blocks.take(size)
    np.concatenate(parts, out=memory[:size].view(dtype))
    return _Packed(dtype, shapes, size, block)


def _unpacked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _arrived(field) for name, field in fields.items()}


def _arrived(field: Any) -> Any:
    if isinstance(field, list):
        return [_arrived(value) for value in field]
    if not isinstance(field, _Packed):
        return field
    if isinstance(field.memory, bytes):
        memory = np.frombuffer(bytearray(field.memory), field.dtype)
    else:
        whole = field.memory.numpy()
        # What tensors are made of holds this array.
        released = weakref.finalize(whole, _release, field.memory.numpy())
        released.atexit = False
        memory = whole[: field.size].view(field.dtype)
    return _cut(torch.from_numpy(memory), field.shapes)


def _release(memory: AnyArray) -> None:
    memory[-1] = _FREE


class _Blocks:
    """Shared memory of a worker."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, AnyArray]] = []

    def take(self, size: int) -> tuple[Any, AnyArray]:
        """Memory that is in use now, as a tensor and as an array; longer than ``size`` bytes."""
        used = [block for block in self._made if block[1][-1] == _IN_USE]
        free = [block for block in self._made if block[1][-1] == _FREE]
        fitting = (at for at, (_, memory) in enumerate(free) if size < len(memory) <= 2 * size)
        at = next(fitting, None)
        if at is not None:
            taken = free.pop(at)
        else:
            made = torch.empty(size + 1, dtype=torch.uint8).share_memory_()
            taken = made, made.numpy()
        taken[1][-1] = _IN_USE
        self._made = [*used, taken, *free[:_SPARE]]
        return taken


_blocks = _Blocks()
