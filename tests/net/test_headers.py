"""Numbers and waits in headers."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atdata.net.headers import retry_after, whole_number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), (" 120 ", 120), ("9" * 300, 30 * 86_400), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_waits(text: str, seconds: float) -> None:
    """A number or a date is a wait, never a negative one, never of more than 30 days."""
    assert retry_after({"Retry-After": text}) == seconds


def test_a_date_ahead() -> None:
    """A date in the future is a wait until then."""
    found = retry_after({"Retry-After": formatdate(time() + 3600, usegmt=True)})
    assert found is not None
    assert 3000 < found <= 3600


@pytest.mark.parametrize("text", ["", "-5", "soon", "\u00b2", "9" * 5_000, "1.5"])
def test_no_wait(text: str) -> None:
    """Anything but a number or a date is no wait."""
    assert retry_after({"Retry-After": text}) is None
    assert retry_after({}) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} -?\d+ \d+:\d+:\d+ \S+"))
@example("Wed, 21 Oct 2099999 07:28:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 +" + "9" * 22)
def test_any_text(text: str) -> None:
    """Whatever a server sends, there is a bounded wait or none."""
    found = retry_after({"Retry-After": text})
    assert found is None or 0 <= found <= 30 * 86_400


def test_whole_numbers() -> None:
    """Only plain digits are a number, and only as many as bytes or seconds can have."""
    assert whole_number("0123") == 123
    for text in (None, "", "-1", "+1", " 1", "1_0", "\u0661", "1" * 19):
        assert whole_number(text) is None
