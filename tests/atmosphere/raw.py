"""Records as a careless program writes them: held to no lexicon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata._refs import parse_at_uri
from atdata.atmosphere import AtmosphereClient
from atdata.atproto.reader import Record
from atdata.atproto.xrpc import Body


def write_raw(
    client: AtmosphereClient, collection: str, rkey: str, record: Mapping[str, Any]
) -> Record:
    """Write a record of the client's account in the place of what there was, unchecked."""
    body = {"repo": client.did, "collection": collection, "rkey": rkey, "validate": False}
    answer = client._authorized(
        lambda home, token: home.procedure(
            "com.atproto.repo.putRecord", Body.of_json({**body, "record": record}), token=token
        )
    )
    return Record(parse_at_uri(answer["uri"]), answer["cid"], record)
