"""Access tokens as a server makes them, expired ones among them."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any

from atdata.testing.network import Server


def access_token(server: Server, did: str, *, expires_in: int) -> str:
    """A token that the server has signed, by its own secret."""
    claims = {
        "scope": "com.atproto.access",
        "aud": server.did,
        "sub": did,
        "iat": 1,
        "exp": int(time.time()) + expires_in,
    }
    message = f"{_part({'typ': 'at+jwt', 'alg': 'HS256'})}.{_part(claims)}"
    signature = hmac.new(server.jwt_secret.encode(), message.encode(), "sha256").digest()
    return f"{message}.{_base64(signature)}"


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
