"""Logging in to the account that a command publishes under."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from atdata._refs import account_of
from atdata.errors import AuthenticationError

if TYPE_CHECKING:
    from atdata.atmosphere import AtmosphereClient

PASSWORD: Final = "ATDATA_PASSWORD"
"""Environment variable with the password. Not an option: process lists show options."""

_HANDLE: Final = typer.Option(
    "--handle",
    metavar="HANDLE",
    envvar="ATDATA_HANDLE",
    help=f"Account to publish under. The password comes from {PASSWORD}, or is asked for.",
)
Handle: TypeAlias = Annotated[str, _HANDLE]
OwnHandle: TypeAlias = Annotated[str | None, _HANDLE]
"""The same, for commands that do not always need an account."""


def signed_in(handle: str) -> AtmosphereClient:
    """A client that is logged in to this account.

    Raises:
        AuthenticationError: There is no password, or the server refuses it.
        IdentityError: The handle is invalid or cannot be resolved.
    """
    from atdata.atmosphere import AtmosphereClient
    from atdata.atproto.client import check_login_name

    check_login_name(account_of(handle))
    client = AtmosphereClient()
    client.login(handle, _password(handle))
    return client


def _password(handle: str) -> str:
    given = os.environ.get(PASSWORD)
    if given:
        return given
    if not sys.stdin.isatty():
        raise AuthenticationError(
            f"No password for {handle}: export {PASSWORD}, or run this in a terminal."
        )
    asked: str = typer.prompt(f"Password of {handle}", hide_input=True, err=True)
    return asked
