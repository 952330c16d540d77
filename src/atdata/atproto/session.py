"""A session: the tokens of one account on one server."""

from __future__ import annotations

import binascii
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atdata._refs import is_did
from atdata._secrets import redacted_repr
from atdata.errors import AtmosphereError, AuthenticationError
from atdata.net.documents import parse_json

_SEPARATOR: Final = ":::"
_MARGIN_SECONDS: Final = 60
"""A token counts as expired this long before its end: a long upload must not outlive it."""


@redacted_repr
@dataclass(frozen=True)
class Session:
    """Tokens of one account. Its repr shows none of them."""

    handle: str
    did: str
    access: str = field(repr=False)
    """Sent with every call; valid for about two hours."""
    refresh: str = field(repr=False)
    """Exchanged for new tokens; valid for about three months."""
    server: str

    @property
    def is_fresh(self) -> bool:
        """Whether the access token is valid by its own expiry; True if it has none."""
        return _expiry(self.access) > time.time() + _MARGIN_SECONDS

    def to_string(self) -> str:
        """One line for `from_string`; a secret. Other clients use the same format."""
        parts = (self.handle, self.did, self.access, self.refresh, self.server)
        return _SEPARATOR.join(parts)

    @classmethod
    def from_string(cls, text: str) -> Session:
        """Read a saved session.

        Raises:
            AuthenticationError: Not a session. The message does not repeat it.
        """
        parts = str(text).strip().split(_SEPARATOR)
        if len(parts) != 5 or not all(parts) or not is_did(parts[1]):
            raise AuthenticationError(
                "This is not a session string: expected five parts joined by ':::', found "
                f"{len(parts)}. Save client.session_string, or call "
                "client.login(handle, password)."
            )
        if not parts[4].startswith(("https://", "http://")):
            raise AuthenticationError("The session string does not end in its server's URL.")
        return cls(*parts)

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], server: str) -> Session:
        """Read the answer to a login or a refresh; an AtmosphereError if it is no session."""
        names = ("handle", "did", "accessJwt", "refreshJwt")
        values = [answer.get(name) for name in names]
        if not all(isinstance(v, str) and v and _SEPARATOR not in v for v in values):
            raise AtmosphereError(f"{server} did not answer a login with a session.")
        handle, did, access, refresh = (str(v) for v in values)
        return cls(handle, did, access, refresh, server)


def _expiry(token: str) -> float:
    """When a JWT expires, in Unix seconds; infinity for anything else."""
    try:
        payload = token.split(".")[1]
        claims = parse_json(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return float("inf")
