"""Stores by what a person types."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.errors import OptionError, UrlError
from atdata.local import DiskDataStore, S3DataStore
from atdata.stores.open_store import open_store


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_by_its_path_or_url(tmp_path: Path, form: str) -> None:
    """A path and a file URL name the same folder."""
    store, prefix = open_store(form.format(tmp_path / "copies"))
    assert isinstance(store, DiskDataStore)
    assert (store.path, prefix) == (tmp_path / "copies", None)


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("s3://bucket", None), ("s3://bucket/", None), ("S3://bucket/a/b/", "a/b")],
)
def test_a_bucket_with_a_prefix(
    monkeypatch: pytest.MonkeyPatch, url: str, prefix: str | None
) -> None:
    """What follows the bucket is the prefix; access comes from the environment."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://localhost:9")
    store, found = open_store(url)
    assert isinstance(store, S3DataStore)
    assert (store.bucket, store.endpoint, found) == ("bucket", "http://localhost:9", prefix)


def test_a_plain_word_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account, a word that also names a store is a folder of this name."""
    monkeypatch.chdir(tmp_path)
    store, _ = open_store("blobs")
    assert isinstance(store, DiskDataStore)
    assert store.path == tmp_path / "blobs"


def test_what_names_no_store_is_refused() -> None:
    """Schemes that only read, a bucket without a name, and a store that lacks its account."""
    with pytest.raises(UrlError, match=r"gs://…\. Known: blobs, file, s3"):
        open_store("gs://bucket")
    with pytest.raises(UrlError, match="not an s3 URL"):
        open_store("s3:///prefix")
    with pytest.raises(OptionError, match="account"):
        open_store("blobs://")
