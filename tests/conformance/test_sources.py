"""The suite for data sources, over a reader of every registered scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from atdata import _registry
from atdata._protocols import DataSource
from atdata.sources.s3 import S3Source
from atdata.sources.url import URLSource
from atdata.testing.network import Network
from atdata.testing.sources import SourceSuite
from tests.conformance.blobs import log_in, publish_blob
from tests.services.s3 import S3Server
from tests.sources.web import web_server

Stored = Callable[[Mapping[str, bytes]], DataSource]


class TestDisk(SourceSuite):
    """Files."""

    scheme = "file"

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Stored:
        def put(shards: Mapping[str, bytes]) -> DataSource:
            folder = tmp_path / "folder {a,b} [1]"
            folder.mkdir()
            for name, body in shards.items():
                (folder / name).write_bytes(body)
            return URLSource(folder)

        return put


class TestWeb(SourceSuite):
    """A web server."""

    scheme = "http"

    @pytest.fixture
    def stored(self) -> Iterator[Stored]:
        with web_server() as web:

            def put(shards: Mapping[str, bytes]) -> DataSource:
                web.files = {f"/d/{name}": body for name, body in shards.items()}
                return URLSource([f"{web.url}/d/{name}" for name in shards])

            yield put


class TestS3(SourceSuite):
    """A bucket."""

    scheme = "s3"

    @pytest.fixture
    def stored(self, s3_server: S3Server, s3_bucket: str) -> Stored:
        def put(shards: Mapping[str, bytes]) -> DataSource:
            for name, body in shards.items():
                s3_server.client().put_object(Bucket=s3_bucket, Key=f"d/{name}", Body=body)
            return S3Source.from_credentials(s3_server.credentials(), bucket=s3_bucket, prefix="d/")

        return put


class TestBlob(SourceSuite):
    """Blobs of an account."""

    scheme = "at"

    @pytest.fixture
    def stored(self, network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stored:
        client = log_in(network, monkeypatch, tmp_path)

        def put(shards: Mapping[str, bytes]) -> DataSource:
            return URLSource([publish_blob(client, body) for body in shards.values()])

        return put


class TestFsspec(SourceSuite):
    """One of fsspec's file systems, standing at the scheme of a service that needs an account."""

    scheme = "az"

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Iterator[Stored]:
        with folder_as("az", tmp_path):

            def put(shards: Mapping[str, bytes]) -> DataSource:
                (tmp_path / "container").mkdir()
                for name, body in shards.items():
                    (tmp_path / "container" / name).write_bytes(body)
                return URLSource("az://container/*.tar")

            yield put


@contextmanager
def folder_as(scheme: str, folder: Path) -> Iterator[None]:
    """Let fsspec find a scheme's files in a folder."""
    from fsspec import register_implementation
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.registry import _registry as installed

    class Named(DirFileSystem):  # type: ignore[misc]
        protocol = scheme

        def __init__(self, **options: Any) -> None:
            super().__init__(str(folder), LocalFileSystem(), **options)

    register_implementation(scheme, Named, clobber=True)
    try:
        yield
    finally:
        installed.pop(scheme)


class Custom:
    """A class of a user's, with the three members and nothing else."""

    def __init__(self, shards: Mapping[str, Path]) -> None:
        self._shards = dict(shards)

    @property
    def shard_list(self) -> list[str]:
        return list(self._shards)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for shard in self._shards:
            with self.open_shard(shard) as stream:
                yield shard, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return self._shards[shard_id].open("rb")


class TestCustom(SourceSuite):
    """A source as the documents describe one of the user's own."""

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Stored:
        def put(shards: Mapping[str, bytes]) -> DataSource:
            for name, body in shards.items():
                (tmp_path / name).write_bytes(body)
            return Custom({name: tmp_path / name for name in shards})

        return put


def test_every_registered_reader_is_held_to_the_suite() -> None:
    """No scheme is registered here whose reader this file does not test."""
    suites = (TestDisk, TestWeb, TestS3, TestBlob, TestFsspec)
    tested = {_registry.SHARD_SCHEMES.ours[suite.scheme].target for suite in suites}
    assert tested == {provider.target for provider in _registry.SHARD_SCHEMES.ours.values()}
