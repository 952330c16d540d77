"""Fixtures of the tests of sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.web import WebServer, web_server


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server of this test alone."""
    with web_server() as server:
        yield server
