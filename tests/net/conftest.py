"""The web server of the tests of sources, here as well."""

from tests.sources.conftest import web

__all__ = ["web"]
