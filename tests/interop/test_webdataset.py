"""Shards pass between this package and webdataset in both directions."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import webdataset

import atdata
from atdata.errors import DecodeError
from tests.interop.cases import CASES, Tensor, digest_sample

SAMPLES = CASES["tensor"].samples()


def write(path: Path, **options: Any) -> None:
    """The samples of a case, written by webdataset under keys with a folder in them."""
    with webdataset.TarWriter(str(path), **options) as sink:
        for number, sample in enumerate(SAMPLES):
            sink.write({**sample.as_wds, "__key__": f"part/{number:04d}"})


def digests(samples: Any) -> list[dict[str, Any]]:
    """What identifies the content of samples."""
    return [digest_sample(sample, Tensor) for sample in samples]


@pytest.mark.parametrize(
    ("options", "records"),
    [({}, True), ({"mtime": 0}, False), ({"mtime": 1.5}, True)],
    ids=["as-it-comes", "whole-seconds", "fractions"],
)
def test_webdataset_shards_read_here(
    tmp_path: Path, options: dict[str, Any], records: bool
) -> None:
    """A shard that webdataset wrote reads sample for sample, with a PAX record each or none."""
    write(tmp_path / "w.tar", **options)
    with tarfile.open(tmp_path / "w.tar") as tar:
        assert all(bool(member.pax_headers) is records for member in tar)
    dataset = atdata.Dataset[Tensor](tmp_path / "w.tar")
    assert digests(dataset) == CASES["tensor"].digests()
    batches = list(dataset.ordered(batch_size=4))
    assert digests(s for batch in batches for s in batch) == CASES["tensor"].digests()
    keys = [key for batch in batches for key in batch.keys]
    assert keys == [f"part/{number:04d}" for number in range(len(SAMPLES))]


def test_webdataset_samples_with_other_members_are_read(tmp_path: Path) -> None:
    """A shard of captions and labels, as webdataset writes them, gives them."""
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as sink:
        sink.write({"__key__": "0", "txt": "a caption", "cls": 3})
    [sample] = atdata.Dataset[atdata.DictSample](tmp_path / "w.tar")
    assert sample.to_dict() == {"txt": "a caption", "cls": 3}


def test_our_shards_read_by_webdataset(tmp_path: Path) -> None:
    """A shard written here gives webdataset one key and one payload a sample, in order."""
    path = tmp_path / "ours.tar"
    atdata.write_samples(SAMPLES, path)
    found = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["msgpack"] for sample in found] == [sample.packed for sample in SAMPLES]
    assert len({sample["__key__"] for sample in found}) == len(SAMPLES)
    assert [msgpack.unpackb(s["msgpack"])["name"] for s in found] == [s.name for s in SAMPLES]


def test_our_shards_read_by_webdataset_together(tmp_path: Path) -> None:
    """Brace notation over several shards written here means the same samples to webdataset."""
    written = atdata.write_samples(SAMPLES, tmp_path / "ours.tar", maxcount=10)
    last = len(written.shard_list) - 1
    pattern = str(tmp_path / f"ours-{{000000..{last:06d}}}.tar")
    found = [s["msgpack"] for s in webdataset.WebDataset(pattern, shardshuffle=False)]
    assert found == [sample.packed for sample in SAMPLES]


def test_array_of_objects_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """An array of Python objects, which other writers pickle, is never read: sample and field."""

    held = io.BytesIO()
    np.save(held, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    payload = msgpack.packb({"name": "pickled", "values": held.getvalue()})
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as sink:
        sink.write({"__key__": "first", "msgpack": SAMPLES[0].packed})
        sink.write({"__key__": "second", "msgpack": payload})
    with pytest.raises(DecodeError, match=r"w\.tar.*'second'.*\$\.values.*objects"):
        list(atdata.Dataset[Tensor](tmp_path / "w.tar"))
