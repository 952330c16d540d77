"""What goes out as a table comes back as it was, for every sample type."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import atdata
from atdata.errors import EncodeError
from atdata.exchange.importer import Importer
from atdata.samples.kinds import DateTime, Kind
from atdata.samples.kinds.simple import Time
from atdata.testing.strategies import sample_types, samples_of
from tests.exchange.equality import same

SETTINGS = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def written(draw: st.DrawFn) -> tuple[type, list[Any]]:
    """A sample type, and samples of it."""
    sample_type = draw(sample_types())
    return sample_type, draw(st.lists(samples_of(sample_type), min_size=1, max_size=4))


def has_times(kind: Kind) -> bool:
    """Whether values can have times with and without an offset, which one column cannot."""
    return isinstance(kind, DateTime | Time) or any(map(has_times, kind.parts()))


def column_types(sample_type: type) -> dict[str, str]:
    fields = atdata.schema_of(sample_type).fields
    return {field.name: "str" for field in fields if has_times(field.kind)}


@SETTINGS
@given(written())
def test_parquet_keeps_every_type_and_value(drawn: tuple[type, list[Any]]) -> None:
    """Written to Parquet and imported without a class, samples are of an equal type, and equal."""
    sample_type, samples = drawn
    with tempfile.TemporaryDirectory() as folder:
        dataset = atdata.write_samples(samples, Path(folder) / "a.tar", fsync=False)
        path = Path(folder) / "a.parquet"
        try:
            dataset.to_parquet(path, types=column_types(sample_type))
        except EncodeError as error:
            # One column cannot hold both -1 and 2**64 - 1.
            assume("2**63" not in str(error))
            raise
        importer = atdata.from_parquet(path)
        assert atdata.schema_of(importer.sample_type) == atdata.schema_of(sample_type)
        assert all(map(same, importer, samples))
        importer.write(Path(folder) / "b.tar", fsync=False)
        tars = [(Path(folder) / name).read_bytes() for name in ("a.tar", "b.tar")]
        assert tars[0] == tars[1]


def stripped(table: pa.Table) -> pa.Table:
    """A table without what Arrow's types do not say, as DuckDB and others leave it."""
    fields = [field.remove_metadata() for field in table.schema]
    return pa.table(table.columns, schema=pa.schema(fields))


@SETTINGS
@given(written())
def test_values_survive_without_metadata_if_the_class_is_given(
    drawn: tuple[type, list[Any]],
) -> None:
    """Types of columns alone are enough for the caller's class to read every value back."""
    sample_type, samples = drawn
    with tempfile.TemporaryDirectory() as folder:
        dataset = atdata.write_samples(samples, Path(folder) / "a.tar", fsync=False)
        try:
            table = dataset.to_arrow(types=column_types(sample_type))
        except EncodeError as error:
            assume("2**63" not in str(error))
            raise
    importer: Importer[Any] = atdata.from_arrow(stripped(table), sample_type)
    assert all(map(same, importer, samples))
    assert importer.count == len(samples)
