"""What takes a dataset to other programs: each format is a row of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from atdata._registry import FORMATS, load_function
from atdata.samples.described import Shape

if TYPE_CHECKING:
    import pyarrow

ColumnTypes: TypeAlias = Mapping[str, Shape | str]
"""Field → what its type leaves open: the shape that its arrays have, ``"uint64"`` or ``"str"``."""


class Exports:
    """A dataset as tables of other libraries, and as files of other formats.

    Samples stream: a batch at a time is in memory, except where all of them are asked for.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The samples as a stream of Arrow, for every library that takes one.

        DuckDB queries the dataset in place, Polars, pandas and pyarrow make tables of it.

        Raises:
            SampleTypeError: Its samples have no type.
        """
        return _written("arrow-stream", self, requested_schema)

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


def _written(name: str, *arguments: Any, **options: Any) -> Any:
    writer = FORMATS[name].writer
    assert writer is not None
    return load_function(writer)(*arguments, **options)
