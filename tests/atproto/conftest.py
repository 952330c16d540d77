"""The account and the client of the tests of the network, here as well."""

from tests.atmosphere.conftest import account, at_home, client, index, login

__all__ = ["account", "at_home", "client", "index", "login"]
