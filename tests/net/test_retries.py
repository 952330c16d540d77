"""How many failures one download may have."""

from __future__ import annotations

import pytest

from atdata._limits import limits
from atdata.errors import SourceError
from atdata.net.retries import Retries, RetryPolicy

QUICK = RetryPolicy(first_pause=0.0)


def test_drops_far_apart_are_no_reason_to_give_up() -> None:
    """A shard of any size arrives over a network that drops every connection after 1 MB."""
    retries = Retries("a.tar", QUICK)
    for _ in range(3_000):
        retries.wait("the connection was closed")
        for _ in range(15):
            retries.progressed(64 << 10)


def test_drips_are_given_up() -> None:
    """A server that sends a little each time is given up after a thousand failures."""
    retries = Retries("a.tar", QUICK)
    for _ in range(999):
        retries.wait("it dripped")
        retries.progressed(100 << 10)
    with pytest.raises(SourceError, match=r"a\.tar: it dripped\. Gave up after 1000 attempts in"):
        retries.wait("it dripped")


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def refused_for_ever(retries: Retries, *, restarting: bool) -> None:
    while True:
        retries.wait("refused", connecting=True, restarting=restarting)


@pytest.mark.parametrize("seconds", [120, 10, 600])
def test_a_restart_is_waited_for(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """A server that answered before gets two minutes, or the time that the limits give it."""
    clock = Clock()
    monkeypatch.setattr("atdata.net.retries.time", clock)
    assert limits.patience == 120
    with (
        limits.set(patience=seconds),
        pytest.raises(SourceError, match=r"a\.tar: refused\. Gave up after \d+ attempts"),
    ):
        refused_for_ever(Retries("a.tar"), restarting=True)
    assert seconds - 2 <= clock.now <= seconds


def test_a_server_that_never_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address is an error within seconds: after more than 1.5 and fewer than 10."""
    clock = Clock()
    monkeypatch.setattr("atdata.net.retries.time", clock)
    with pytest.raises(SourceError, match="Gave up after 6 attempts"):
        refused_for_ever(Retries("a.tar"), restarting=False)
    assert 1.5 <= clock.now <= 10


def test_a_wait_that_is_asked_for_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that a server asks for is granted up to the caller's total, and then not begun."""
    clock = Clock()
    monkeypatch.setattr("atdata.net.retries.time", clock)
    retries = Retries("a.tar", RetryPolicy(first_pause=0.0, total_paused=10.0))
    assert retries.again(asked=6.0)
    assert not retries.again(asked=6.0)
    assert clock.now == retries.paused == 6.0
