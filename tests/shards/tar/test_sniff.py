"""What is no tar is named for what it is, at any size."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.errors import ShardError
from tests.shards.parts import digits, packed, tar_of

TAR = tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(digits(3))])


def zipped(*names: str) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return out.getvalue()


def npy(array: object) -> bytes:
    """A .npy file."""
    out = io.BytesIO()
    np.save(out, np.asarray(array))
    return out.getvalue()


LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 734003200\n"
)
FORMS: dict[str, tuple[bytes, str]] = {
    "lfs": (LFS, "a Git LFS pointer.*git lfs pull"),
    "annex": (b"/annex/objects/MD5E-s7--aa.tar\n", "a git-annex pointer"),
    "html": (b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "HTML"),
    "html with a mark": (b"\xef\xbb\xbf\r\n<HTML>" + b" " * 4000, "HTML"),
    "xml": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "XML"),
    "json": (b'{"error": "Repository is gated"}', "JSON"),
    "rows of json": (b'{"a": 1}\n' * 300, "JSON"),
    "a list": (json.dumps(list(range(400))).encode(), "JSON"),
    "csv": (b"name,age\nAda,36\nAlan,41\n", "CSV"),
    "tsv": (b"name\tage\n" + b"Ada\t36\n" * 500, "TSV"),
    "text": (b"hello", "text, not a tar: it begins with 'hello'"),
    "long text": (("Grüße an alle\n" * 100).encode(), "text, not a tar: it begins with 'Grüße"),
    "parquet": (b"PAR1" + bytes(60), "a Parquet file"),
    "arrow": (b"ARROW1\0\0" + bytes(900), "an Arrow file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
    "npy": (npy(np.arange(300)), r"a file of NumPy"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle"),
    "old pickle": (pickle.dumps([1, 2], protocol=2), "a pickle"),
    "gzip": (gzip.compress(TAR), "compressed with gzip; decompress"),
    "bzip2": (bz2.compress(TAR), "compressed with bzip2"),
    "xz": (lzma.compress(TAR), "compressed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "compressed with zstd"),
    "zip": (zipped("a.msgpack"), "a zip file"),
    "empty zip": (zipped(), "an empty zip"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(900), "a PNG picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(900), "a JPEG picture"),
    "mp4": (b"\0\0\0\x18ftypmp42" + bytes(900), "an MP4"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(900), "a WAV"),
    "empty": (b"", "the shard is empty"),
    "one byte": (b"\0", "not a tar: 1 bytes"),
    "noise": (random.Random(3).randbytes(2000), "not a tar: the header's checksum is wrong"),
    "a tar cut in its first header": (TAR[:400], "cut short"),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_tar_is_named(form: str, tmp_path: Path) -> None:
    """Reading another kind of file as a shard is an error that names the kind and the file."""
    data, message = FORMS[form]
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    for way in (list, len):
        with pytest.raises(ShardError, match=message) as raised:
            way(atdata.Dataset(path))
        assert raised.value.shard == str(path)


def test_a_database_is_named(tmp_path: Path) -> None:
    """The file of a local index, given as a shard."""
    with sqlite3.connect(tmp_path / "i.db") as database:
        database.execute("CREATE TABLE t (a)")
    with pytest.raises(ShardError, match="an SQLite database"):
        list(atdata.Dataset(tmp_path / "i.db"))


@given(st.binary(max_size=600))
def test_any_bytes_are_an_error_of_ours(data: bytes) -> None:
    """Whatever a file holds that is no tar, the error says so."""
    from atdata.shards.reader import count_samples

    with pytest.raises(ShardError):
        count_samples(io.BytesIO(data + b"x"), shard="x.tar")
