"""Batches as tensors, and how workers send them. Needs torch."""

from __future__ import annotations

import importlib
import itertools
import math
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import MissingExtraError, RaggedFieldError
from atdata.samples.batch import Column
from atdata.samples.to_numpy import rows_of
from atdata.system.forks import at_fork

try:
    torch: Any = importlib.import_module("torch")
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError(
        "to_torch() needs PyTorch, which is not installed. Install it as https://pytorch.org "
        "says for your machine: pip install torch"
    ) from error

Shape: TypeAlias = tuple[int, ...]

_MAX_MESSAGE_BYTES: Final = 1 << 20
"""Bytes of a field up to which they are copied through the pipe: less work than a mapped file."""
_SPARE_BLOCKS: Final = 4
"""Blocks of shared memory that a worker keeps for its next batches."""
_FREE, _FILLED, _SENT, _HELD, _LEFT = range(5)
"""What the last byte of shared memory says. What was left, a worker never uses again."""


_OF_ML_DTYPES: Final = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
"""Dtypes that NumPy has from ml_dtypes, and torch under the same names."""


def as_tensors(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Columns as tensors, which share their memory; lists of arrays as lists of tensors.

    The tensors of a list are views of one that was made for them, where their dtype is the same.
    Arrays of a dtype that torch does not have stay arrays of NumPy, in a list.

    Raises:
        RaggedFieldError: Arrays of such a dtype are padded or joined.
    """
    columns = listed_where_no_tensor(columns)
    return {name: _tensor(column) for name, column in columns.items()}


def listed_where_no_tensor(columns: Mapping[str, Column]) -> Mapping[str, Column]:
    """Columns, those of a dtype that torch does not have as lists of arrays.

    Raises:
        RaggedFieldError: One of them is padded or joined.
    """
    lists = {
        name: rows_of(column)
        for name, column in columns.items()
        if isinstance(column, np.ndarray) and _torch_dtype(column.dtype) is None
    }
    for name in lists:
        if not columns.keys().isdisjoint((f"{name}.lengths", f"{name}.offsets")):
            raise RaggedFieldError(
                f"{name}: torch has no dtype {columns[name].dtype}, so that there is no tensor of "  # type: ignore[union-attr]
                f"its arrays, padded or joined. Pass ragged={{{name!r}: 'list'}}."
            )
    return {**columns, **lists} if lists else columns


class _TorchDtype(NamedTuple):
    """A dtype of NumPy in the words of torch."""

    numpy: np.dtype[Any]
    """What torch takes from NumPy, in native byte order."""
    torch: Any
    """What it is then seen as; None: the same."""


@lru_cache(maxsize=256)
def _torch_dtype(dtype: np.dtype[Any]) -> _TorchDtype | None:
    """What torch calls a dtype; None: it has none of that sort."""
    if dtype.name in _OF_ML_DTYPES:
        name: str = dtype.name
        seen = getattr(torch, name, None)
        return None if seen is None else _TorchDtype(np.dtype(f"u{dtype.itemsize}"), seen)
    if dtype.kind not in "biufc":
        return None
    # Of two dtypes that are equal, as uint64 and ulonglong, torch may know one only.
    plain = np.dtype(dtype.newbyteorder("=").str)
    try:
        torch.from_numpy(np.empty(0, plain))
    except TypeError:
        return None
    return _TorchDtype(plain, None)


def _flat_tensor(memory: AnyArray, dtype: _TorchDtype) -> Any:
    made = torch.from_numpy(memory)
    return made if dtype.torch is None else made.view(dtype.torch)


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
        columns = listed_where_no_tensor(columns)
        self._fields = {name: _packed(column) for name, column in columns.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        for field in self._fields.values():
            _send(field)
        return _unpacked, (self._fields,)


class _Joined(NamedTuple):
    """Arrays of one dtype, one after the other."""

    dtype: _TorchDtype
    parts: list[AnyArray]
    """Of one axis each, without gaps, in native byte order, of the dtype for torch."""
    shapes: Shape | list[Shape | None]
    """The shape of the only one, or of each; None where there is none."""


class _Packed(NamedTuple):
    """The same on its way."""

    dtype: _TorchDtype
    shapes: Shape | list[Shape | None]
    size: int
    """Bytes of all of them."""
    memory: Any
    """bytes, or a tensor of shared memory."""


def _joined(column: AnyArray | Sequence[Any]) -> _Joined | None:
    """What is one piece of memory; None where that is no array, arrays of several dtypes, or of
    one that torch does not have.
    """
    there = [column] if isinstance(column, np.ndarray) else [v for v in column if v is not None]
    if not there or not all(isinstance(value, np.ndarray) for value in there):
        return None
    if len({value.dtype for value in there}) > 1:
        return None
    native = there[0].dtype.newbyteorder("=")
    dtype = _torch_dtype(native)
    if dtype is None:
        return None
    parts = [np.ascontiguousarray(value, native).reshape(-1).view(dtype.numpy) for value in there]
    if isinstance(column, np.ndarray):
        return _Joined(dtype, parts, column.shape)
    return _Joined(dtype, parts, [None if value is None else value.shape for value in column])


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
        return _one_tensor(column)
    joined = _joined(column)
    if joined is None:
        return [_one_tensor(v) if isinstance(v, np.ndarray) else v for v in column]
    return _cut(_flat_tensor(np.concatenate(joined.parts), joined.dtype), joined.shapes)


def _one_tensor(array: AnyArray) -> Any:
    """An array as a tensor that shares its memory where torch can; as it is where it has none."""
    dtype = _torch_dtype(array.dtype)
    if dtype is None:
        return array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    steps = [step for step, size in zip(array.strides, array.shape, strict=True) if size > 1]
    if not array.flags.writeable or any(s < 0 or s % array.itemsize for s in steps):
        array = array.copy()
    return _flat_tensor(array.view(dtype.numpy), dtype)


def _packed(column: Column) -> Any:
    joined = _joined(column)
    if joined is None:
        if isinstance(column, np.ndarray):
            return column
        return [_packed(v) if isinstance(v, np.ndarray) else v for v in column]
    dtype, parts, shapes = joined
    size = sum(part.nbytes for part in parts)
    if size <= _MAX_MESSAGE_BYTES:
        return _Packed(dtype, shapes, size, b"".join(parts))  # type: ignore[arg-type]
    block, memory = _blocks.take(size)
    np.concatenate(parts, out=memory[:size].view(dtype.numpy))
    return _Packed(dtype, shapes, size, block)


def _send(field: Any) -> None:
    if isinstance(field, list):
        for value in field:
            _send(value)
    elif isinstance(field, _Packed) and isinstance(field.memory, torch.Tensor):
        field.memory.numpy()[-1] = _SENT


def _unpacked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _arrived(field) for name, field in fields.items()}


def _arrived(field: Any) -> Any:
    if isinstance(field, list):
        return [_arrived(value) for value in field]
    if not isinstance(field, _Packed):
        return field
    if isinstance(field.memory, bytes):
        memory = np.frombuffer(bytearray(field.memory), field.dtype.numpy)
    else:
        whole = field.memory.numpy()
        whole[-1] = _HELD
        number = next(_numbers)
        _lent[number] = field.memory.numpy()
        # What tensors are made of holds this array.
        released = weakref.finalize(whole, _release, number)
        released.atexit = False
        memory = whole[: field.size].view(field.dtype.numpy)
    return _cut(_flat_tensor(memory, field.dtype), field.shapes)


_lent: dict[int, AnyArray] = {}
"""Shared memory that tensors of this process are in."""
_numbers = itertools.count()


def _release(number: int) -> None:
    memory = _lent.pop(number, None)
    if memory is not None:
        memory[-1] = _FREE


def _leave() -> None:
    # The child has the same memory, not a copy: neither process knows when the other frees it.
    while _lent:
        try:
            _, memory = _lent.popitem()
        except KeyError:
            break
        memory[-1] = _LEFT


at_fork(before=_leave, after_in_child=_lent.clear)


class _Blocks:
    """Shared memory of a worker."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, AnyArray]] = []
        self._process: int | None = None

    def _close(self) -> None:
        # A file of the strategy "file_system" stays if a process ends without letting go of it.
        lost = [block for block in self._made if block[1][-1] in (_FILLED, _SENT)]
        self._made = []
        if torch.multiprocessing.get_sharing_strategy() == "file_system":
            for tensor, _ in lost:
                # Nobody will receive it: it is in a message of a loop that was left.
                _, name, _ = tensor.untyped_storage()._share_filename_cpu_()
                with suppress(OSError):
                    Path(f"/dev/shm{name.decode()}").unlink()
            # The process ends without letting go of these: they would be removed twice.
            self._made = lost

    def take(self, size: int) -> tuple[Any, AnyArray]:
        """Memory that is in use now, as a tensor and as an array; longer than ``size`` bytes."""
        if self._process != os.getpid():
            self._process = os.getpid()
            Finalize(self, self._close, exitpriority=0)
        used = [block for block in self._made if block[1][-1] in (_FILLED, _SENT, _HELD)]
        free = [block for block in self._made if block[1][-1] == _FREE]
        fitting = (at for at, (_, memory) in enumerate(free) if size < len(memory) <= 2 * size)
        at = next(fitting, None)
        if at is not None:
            taken = free.pop(at)
        else:
            made = torch.empty(size + 1, dtype=torch.uint8).share_memory_()
            taken = made, made.numpy()
        taken[1][-1] = _FILLED
        self._made = [*used, taken, *free[:_SPARE_BLOCKS]]
        return taken


_blocks = _Blocks()
