"""Fields that the peer stores in the formats of other libraries are read here."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.samples.kinds import Unknown
from atdata.schema.alt_record import from_alt_record
from tests.interop.make_fixtures import FIXTURES


@atdata.packable
class Formats:
    """The type as it is written here: bytes, and records as an array."""

    name: str
    sparse: bytes
    structured: NDArray[np.void]
    tensor: bytes
    frame: bytes
    weights: bytes


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """What ``peer_formats.py`` wrote with version 0.7.0b1."""
    path = tmp_path / "formats.tar"
    path.write_bytes(gzip.decompress((FIXTURES / "formats" / "formats.tar.gz").read_bytes()))
    return path


def check(number: int, sample: Any) -> None:
    """Decode the fields of one sample, without the libraries that wrote them."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3) + number
    assert sample.name == f"row {number}"
    assert sample.structured.tolist() == [(number, 0.5, "ab")]
    assert sample.structured.dtype.names == ("a", "b", "c")
    with np.load(io.BytesIO(sample.sparse), allow_pickle=False) as parts:
        assert parts["data"].tolist() == [1.0, 2.0, 3.0 + number]
        assert parts["shape"].tolist() == [3, 3]
        assert parts["format"].item() == (b"csr", b"coo")[number]
    size = int.from_bytes(sample.weights[:8], "little")
    [(name, header)] = json.loads(sample.weights[8 : 8 + size]).items()
    assert (name, header["dtype"], header["shape"]) == ("w", "F32", [2, 3])
    assert sample.weights[8 + size :] == values.tobytes()
    assert sample.tensor.startswith(b"\xff\xff\xff\xff")
    assert values.tobytes() in sample.tensor
    assert sample.frame.startswith(b"PAR1")
    assert sample.frame.endswith(b"PAR1")


def test_formats_of_other_libraries_are_read_with_and_without_a_type(shard: Path) -> None:
    """Bytes arrive as they were stored; records are arrays; in order, by position, in batches."""
    typed, untyped = atdata.Dataset[Formats](shard), atdata.load_dataset(shard, split="train")
    assert untyped.sample_type is atdata.DictSample
    for dataset in (typed, untyped):
        for number, sample in enumerate(dataset.ordered()):
            check(number, sample)
        check(1, dataset[1])
        [batch] = dataset.ordered(batch_size=2)
        check(0, batch.samples[0])


def test_they_are_written_again_as_they_were(shard: Path, tmp_path: Path) -> None:
    """A copy has the same bytes in every field."""
    samples = list(atdata.Dataset[Formats](shard))
    assert list(atdata.write_samples(samples, tmp_path / "again.tar")) == samples


@pytest.mark.parametrize("name", ["sparse", "structured", "arrow-tensor", "safetensors"])
def test_a_schema_that_names_such_a_format_is_read(name: str) -> None:
    """The field has a kind that is not known here, so its samples are read as DictSample."""
    ref = f"https://alt.science/schemas/atdata-{name}-bytes/1.0.0#/$defs/{name}"
    record = {
        "$type": "science.alt.dataset.schema",
        "name": "lab.Formats",
        "version": "1.0.0",
        "schema": {"type": "object", "properties": {"x": {"$ref": ref}}, "required": ["x"]},
    }
    [field] = from_alt_record(record).fields
    assert isinstance(field.kind, Unknown)
    assert name in field.kind.name
