"""What takes a dataset to other programs: each format is a row of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from atdata._arrays import AnyArray
from atdata._registry import FORMATS, load_function
from atdata.samples.described import Shape

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ColumnTypes: TypeAlias = Mapping[str, Shape | str]
"""Field → what its type leaves open: the shape that its arrays have, ``"uint64"`` or ``"str"``."""


class Exports:
    """A dataset as tables of other libraries, and as files of other formats.

    Samples stream: a batch at a time is in memory, except where all of them are asked for.
    `Dataset.select` leaves fields out.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The samples as a stream of Arrow, for every library that takes one.

        DuckDB queries the dataset in place, Polars, pandas and pyarrow make tables of it.

        Raises:
            SampleTypeError: Its samples have no type.
        """
        return _written("arrow_c_stream", self, requested_schema)

    def to_arrow(self, *, types: ColumnTypes | None = None) -> pyarrow.Table:
        """All samples as a table of pyarrow, in memory.

        Args:
            types: As for `to_parquet`.
        """
        return _written("arrow", self, types=types)

    def to_parquet(
        self,
        path: str | Path,
        *,
        types: ColumnTypes | None = None,
        compression: str = "zstd",
        row_group_bytes: int = 64 << 20,
    ) -> Path:
        """Write all samples to a Parquet file: the whole file or none.

        The type of a column follows from the type of its field, never from the values, see the
        guide. Kinds and class names are in the metadata, for `from_parquet` and for the library
        `datasets`.

        Args:
            path: The file; an existing one is replaced.
            types: Field → what its type leaves open: ``Shape(28, 28)``, the shape that all of its
                arrays have; ``"uint64"`` for integers over 2**63 - 1; ``"str"`` for times with
                and without an offset.
            compression: That of Parquet: ``"zstd"``, ``"snappy"``, ``"none"``.
            row_group_bytes: Bytes after which a row group ends; as much is in memory.

        Returns:
            The path.

        Raises:
            EncodeError: A value that its column cannot hold; names the sample and the path.
            SampleTypeError: The samples have no type.
            StoreError: The disk is full, or cannot be written.
            MissingExtraError: The extra ``arrow`` is not installed.
        """
        return _written(  # type: ignore[no-any-return]
            "parquet",
            self,
            path,
            types=types,
            compression=compression,
            row_group_bytes=row_group_bytes,
        )

    def to_csv(
        self,
        path: str | Path,
        *,
        types: ColumnTypes | None = None,
    ) -> Path:
        """Write one line a sample to a CSV file: the whole file or none.

        None is empty, an empty str is in quotes, NaN is ``nan``; times are in ISO 8601.

        Args:
            path: The file; an existing one is replaced.
            types: ``"uint64"`` of a field of integers over 2**63 - 1.

        Raises:
            OptionError: A field whose values are no single text or number, such as an array;
                names it.
            StoreError: The disk is full, or cannot be written.
        """
        return _written("csv", self, path, types=types)  # type: ignore[no-any-return]

    def to_jsonl(self, path: str | Path) -> Path:
        """Write one JSON object a line: the whole file or none. Arrays are nested lists.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            OptionError: A field of what JSON lacks, such as bytes; names it.
            EncodeError: NaN or an infinity; names the sample and the path.
            StoreError: The disk is full, or cannot be written.
        """
        return _written("jsonl", self, path)  # type: ignore[no-any-return]

    def to_numpy(self, path: str | Path | None = None) -> dict[str, AnyArray]:
        """All samples as one array a field, of shape (n, …), in memory; as `SampleBatch.as_numpy`.

        Args:
            path: An ``.npz`` file to write them to as well.

        Raises:
            RaggedFieldError: Arrays differ in shape, or a field's type has no dtype; names it.
        """
        return _written("numpy", self, path)  # type: ignore[no-any-return]

    def to_pandas(self) -> pandas.DataFrame:
        """All samples as a DataFrame of pandas, in memory.

        A field that may be None has a dtype of Arrow, in which None and NaN differ. Arrays,
        pictures and what else pandas lacks are Python objects, as in the samples.
        """
        return _written("pandas", self)

    def to_polars(self) -> polars.DataFrame:
        """All samples as a DataFrame of Polars, in memory."""
        return _written("polars", self)  # type: ignore[no-any-return]

    def to_hf(self) -> Any:
        """All samples as a dataset of the library `datasets`, in memory.

        Larger than memory: `to_parquet`, and ``datasets.load_dataset("parquet", …)``.
        """
        return _written("hf", self)


def _written(name: str, *arguments: Any, **options: Any) -> Any:
    writer = FORMATS[name].writer
    assert writer is not None
    return load_function(writer)(*arguments, **options)
