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


@pytest.mark.parametrize(
    "place", ["copies", "file", "./blobs", "./s3:bucket", r"C:\data", "notes:2024"]
)
def test_a_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """So is one with a drive, with a colon that no scheme has before it, and any that has ./."""
    monkeypatch.chdir(tmp_path)
    store, _ = open_store(place)
    assert isinstance(store, DiskDataStore)
    assert store.path == tmp_path / place


@pytest.mark.parametrize(
    ("place", "advice"),
    [("blobs", "for promotion.*'./blobs'"), ("s3", "s3://bucket/prefix.*'./s3'")],
)
def test_the_name_of_a_store_is_no_folder(place: str, advice: str) -> None:
    """The error says what to write for a store, and for a folder of this name."""
    with pytest.raises(OptionError, match=advice):
        open_store(place)


@pytest.mark.parametrize(
    "place", ["s3:bucket/x", "S3:/bucket", "s3//bucket", "jar:/x:s3cret@y", "file:/x"]
)
def test_a_url_that_lacks_a_slash_makes_no_folder(place: str) -> None:
    """It is refused, whether or not a store has the scheme; a password in it is not shown."""
    with pytest.raises(
        UrlError, match=r"://, with a colon and two slashes\. Known: file, s3"
    ) as caught:
        open_store(place)
    assert "s3cret" not in str(caught.value)


def test_an_existing_folder_is_one_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that looks like a URL can be written to again, as an index of such a name can."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jar:").mkdir()
    assert isinstance(open_store("jar:/")[0], DiskDataStore)


def test_what_names_no_store_is_refused() -> None:
    """Schemes that only read, a bucket without a name, and a store that lacks its account."""
    with pytest.raises(UrlError, match=r"gs://…\. Known: file, s3;"):
        open_store("gs://bucket")
    with pytest.raises(UrlError, match="not an s3 URL"):
        open_store("s3:///prefix")
    with pytest.raises(OptionError, match="account"):
        open_store("blobs://")
