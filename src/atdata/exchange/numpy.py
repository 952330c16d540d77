"""Arrays of NumPy: .npz files, .npy files, and dicts of arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from atdata._arrays import AnyArray
from atdata.dataset.dataset import Dataset
from atdata.errors import AtdataError, EncodeError, OptionError, SchemaError, SourceError
from atdata.exchange.field_names import class_name, field_names
from atdata.exchange.files import whole_file
from atdata.exchange.importer import MODULE, Importer
from atdata.samples.codec import codec_of
from atdata.samples.kinds import Array, ClassLabel, Field, IntChoice, Kind, Primitive
from atdata.samples.ndarray import dtype_name
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.shards.columns.packers import Values
from atdata.system.files import user_path

T = TypeVar("T")

_ROWS_BYTES: Final = 16 << 20
_SCALARS: Final = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "str", "S": "bytes"}
"""Kinds of dtypes → what one number of an array of one axis is."""


def to_numpy(dataset: Dataset[Any], path: str | Path | None = None) -> dict[str, AnyArray]:
    """Every field as one array; see `Dataset.to_numpy`."""
    found: dict[str, list[AnyArray]] = {}
    for batch in dataset.ordered(1024):
        for name, column in type(batch).as_numpy(batch).items():
            found.setdefault(name, []).append(column)
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    if path is not None:
        with whole_file(path) as file, zipfile.ZipFile(file, "w") as members:
            for name, array in arrays.items():
                # Not by np.savez, whose own arguments are names that a field may have.
                with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    return arrays


def from_numpy(
    arrays: str | Path | Mapping[str, Any],
    sample_type: type[T] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    name: str = "Row",
) -> Importer[Any]:
    """Arrays as samples: sample ``i`` has ``array[i]`` of each.

    Without a class, arrays of one axis become numbers or text, others arrays of their shape.

    Args:
        arrays: A dict of arrays; an ``.npz`` file; or an ``.npy`` file, whose field is ``data``.
            Arrays of HDF5 and zarr files and memory-mapped ones are read piece by piece. Arrays
            of Python objects are refused.
        sample_type: Type of the samples, whose fields are found by name.
        columns: Name of an array → name of its field; None: all, under their own names.
        name: Name for the type that is made; None: that of the file.

    Raises:
        SourceError: The file does not exist, is damaged, or holds Python objects.
        EncodeError: Arrays differ in length, or ``sample_type`` has a field without an array.
        SchemaError: An array that no field can have; names it.
    """
    where = "arrays"
    if isinstance(arrays, str | Path):
        file = user_path(arrays)
        where, name = str(file), file.stem if name == "Row" else name
        arrays = _read(file)
    if not isinstance(arrays, Mapping) or not arrays:
        raise OptionError(f"Expected a dict of arrays, found {type(arrays).__name__}.")
    asked = {key: key for key in arrays} if columns is None else dict(columns)
    for key in asked:
        if key not in arrays:
            raise OptionError(f"{where}: no array {key!r}. There are: {', '.join(arrays)}.")
    found: dict[str, Any] = {key: _sliceable(arrays[key]) for key in asked}
    lengths = {key: int(array.shape[0]) if array.ndim else -1 for key, array in found.items()}
    if len(set(lengths.values())) > 1 or -1 in lengths.values():
        shown = ", ".join(f"{key} {array.shape}" for key, array in found.items())
        raise EncodeError(
            f"{where}: the arrays differ in their first axis, which is that of the samples: "
            f"{shown}. Name those to import, columns={{…}}."
        )
    notes: list[str] = []
    made: Any = sample_type
    if made is None:
        names = field_names(list(asked.values()))
        fields = [
            Field(field, _kind(key, found[key])) for field, key in zip(names, asked, strict=True)
        ]
        notes = [
            f"The array {key!r} is the field {field}."
            for field, key in zip(names, asked, strict=True)
            if field != asked[key]
        ]
        try:
            made = build_type(Schema(f"{MODULE}.{class_name(name)}", "1.0.0", tuple(fields)))
        except AtdataError as error:
            raise SchemaError(f"{where}: {error}") from None
        read = dict(zip(names, asked, strict=True))
    else:
        read = {asked[key]: key for key in asked}
        codec = codec_of(made)
        missing = [n for n in codec.by_name if n not in read and n not in codec.defaults]
        if missing:
            raise EncodeError(
                f"{where}: no array for {made.__name__}.{missing[0]}. There are: "
                f"{', '.join(arrays)}."
            )
        read = {field: key for field, key in read.items() if field in codec.by_name}
    count = next(iter(lengths.values()))
    kinds = {each.name: each.kind for each in codec_of(made).fields}
    size = sum(int(np.prod(each.shape[1:])) * each.dtype.itemsize for each in found.values())
    step = max(1, _ROWS_BYTES // max(1, size))

    def batches() -> Iterator[Mapping[str, Values]]:
        for start in range(0, count, step):
            yield {
                field: _values(kinds[field], found[key][start : start + step])
                for field, key in read.items()
            }

    return Importer(made, batches, source=where, count=count, notes=tuple(notes))


def _sliceable(array: Any) -> Any:
    """An array, or a dataset of h5py or an array of zarr as it is: they are read slice by slice."""
    known = isinstance(getattr(array, "dtype", None), np.dtype) and hasattr(array, "ndim")
    return array if known and hasattr(array, "__getitem__") else np.asanyarray(array)


def _values(kind: Kind, part: Any) -> Values:
    """Rows as `write_columns` takes them: other values than arrays and numbers as a list."""
    array: AnyArray = np.asanyarray(part)
    if isinstance(kind, Array | ClassLabel | IntChoice) or array.dtype.kind in "biuf":
        return array
    return array.tolist()  # type: ignore[no-any-return]


def _kind(key: str, array: Any) -> Kind:
    if array.dtype.hasobject:
        raise SchemaError(
            f"The array {key!r} holds Python objects. Convert it to a dtype of numbers or text."
        )
    if array.ndim == 1 and array.dtype.kind in _SCALARS:
        return Primitive(_SCALARS[array.dtype.kind])
    return Array(dtype_name(array.dtype), tuple(map(int, array.shape[1:])))


def _read(file: Path) -> Mapping[str, AnyArray]:
    try:
        # Never with pickle: a file may come from anyone.
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"data": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise SourceError(f"{file} cannot be read as arrays of NumPy: {error}") from error
