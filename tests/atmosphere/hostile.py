"""A hostile server of the network, with one account that it speaks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata.atmosphere import Mirror
from atdata.atproto.dag import cid_of
from atdata.local import LocalIndex
from tests.atmosphere.publishing import DATASET, dataset_record
from tests.sources.web import WebServer, web_server

Page = Callable[[dict[str, str]], dict[str, Any]]
BY_COLLECTION = "/xrpc/com.atproto.sync.listReposByCollection"
ALL = "/xrpc/com.atproto.sync.listRepos"
RECORDS = "/xrpc/com.atproto.repo.listRecords"


def row(rkey: str, of: str | None = None, collection: str = DATASET) -> dict[str, Any]:
    """A record as a server lists it."""
    value = dataset_record(of or OWNER[0], rkey)
    return {
        "uri": f"at://{of or OWNER[0]}/{collection}/{rkey}",
        "cid": cid_of(value),
        "value": value,
    }


OWNER = [""]
"""DID of the account of the server of the test that runs."""


def serve(web: WebServer, path: str, page: Page) -> None:
    """Answer so at a path."""
    web.programs[path] = lambda query: json.dumps(page(query)).encode()


def update(index: LocalIndex, home: WebServer) -> Mirror:
    """A mirror that was brought up to date."""
    mirror = Mirror(index.mirrored)
    mirror.update(home.url)
    return mirror


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WebServer]:
    """A hostile server, with one account, on a network of one's own."""
    with web_server() as web:
        host = web.url.removeprefix("http://127.0.0.1")
        web.url = f"http://localhost{host}"
        OWNER[0] = f"did:web:localhost{host.replace(':', '%3A')}"
        service = [{"id": "#atproto_pds", "serviceEndpoint": web.url}]
        document = {"id": OWNER[0], "service": service, "alsoKnownAs": []}
        web.files["/.well-known/did.json"] = json.dumps(document).encode()
        status = {"did": OWNER[0], "active": True, "rev": "3aaaaaaaaaa2a"}
        web.files["/xrpc/com.atproto.sync.getRepoStatus"] = json.dumps(status).encode()
        serve(web, BY_COLLECTION, lambda query: {"repos": [{"did": OWNER[0]}]})
        serve(web, RECORDS, lambda query: {"records": []})
        monkeypatch.setenv("ATDATA_PLC_URL", web.url)
        monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
        yield web
