"""Schemes that fsspec serves: what is missing, what is refused."""

from __future__ import annotations

import importlib.util

import pytest

from atdata.errors import MissingExtraError, ShardNotFoundError, UnsafeUrlError
from atdata.net.policy import STRANGER
from atdata.sources.fsspec import FsspecReader
from atdata.sources.url import URLSource

fsspec = pytest.importorskip("fsspec")


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_missing_package_says_how_to_get_it() -> None:
    """If the package of a scheme is not installed, the error has the line that installs it."""
    with pytest.raises(MissingExtraError, match=r"pip install 'atdata\[fsspec\]' gcsfs"):
        next(URLSource("gs://bucket/a.tar").shards())


def test_globs_and_folders() -> None:
    """Globs and folders are listed, and a missing file is an error that names it."""
    memory = fsspec.filesystem("memory")
    for name in ("b", "a", "c[1]"):
        memory.pipe(f"/fsspec-test/{name}.tar", name.encode())
    memory.pipe("/fsspec-test/notes.txt", b"")
    reader = FsspecReader()
    every = [f"memory://fsspec-test/{name}.tar" for name in ("a", "b", "c[1]")]
    assert reader.expand("memory://fsspec-test/*.tar") == every
    assert reader.expand("memory://fsspec-test/") == every
    assert reader.expand(every[2]) == [every[2]]
    assert [reader.open(url).read() for url in every] == [b"a", b"b", b"c[1]"]
    with pytest.raises(ShardNotFoundError, match=r"none\.tar"):
        reader.open("memory://fsspec-test/none.tar")


def test_strangers_do_not_come_here() -> None:
    """A URL from the network never goes through fsspec."""
    for reach in (FsspecReader().open, FsspecReader().expand):
        with pytest.raises(UnsafeUrlError):
            reach("gs://bucket/a.tar", policy=STRANGER)
