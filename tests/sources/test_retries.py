"""How many failures one download may have."""

from __future__ import annotations

import pytest

from atdata.errors import SourceError
from atdata.sources.retries import Patience, Retries

QUICK = Patience(first_wait=0.0)


def test_drops_far_apart_are_no_reason_to_give_up() -> None:
    """A shard of any size arrives over a network that drops every connection after 1 MB."""
    retries = Retries("a.tar", QUICK)
    for _ in range(3_000):
        retries.wait("the connection was closed")
        for _ in range(15):
            retries.progressed(64 << 10)


def test_drips_are_given_up() -> None:
    """A server that gives a little each time is left after a thousand failures."""
    retries = Retries("a.tar", QUICK)
    for _ in range(999):
        retries.wait("it dripped")
        retries.progressed(100 << 10)
    with pytest.raises(SourceError, match=r"a\.tar: it dripped\. Gave up after 1000 attempts in"):
        retries.wait("it dripped")
