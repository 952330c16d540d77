"""Can others read it?"""

from __future__ import annotations

import warnings

import pytest

from atdata.atmosphere.publicity import check_public
from atdata.errors import NoDataUrlsError, PrivateUrlError


@pytest.mark.parametrize(
    "url",
    [
        "digits.tar",
        "/data/digits.tar",
        "file:///data/digits.tar",
        "FILE:///data/digits.tar",
        "pipe:cat digits.tar",
        "C:\\digits.tar",
        "~/digits.tar",
        "ssh://host/digits.tar",
    ],
)
def test_private(url: str) -> None:
    """A URL that others cannot read is refused, and the message says to copy."""
    with pytest.raises(PrivateUrlError, match="data_store=") as caught:
        check_public(["https://data.example/a.tar", url])
    assert "1 of 2" in str(caught.value)
    assert issubclass(PrivateUrlError, ValueError)


def test_public() -> None:
    """URLs that others can read pass without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_public(
            ["https://data.example/a.tar", "s3://bucket/a.tar", "hf://datasets/a/b.tar"],
            endpoint="https://s3.example",
        )


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("s3://bucket/a.tar", "http://localhost:9000"),
        ("s3://bucket/a.tar", "http://127.0.0.1:9000"),
        ("s3://bucket/a.tar", "http://[::1]:9000"),
        ("http://localhost/a.tar", None),
    ],
)
def test_loopback_is_a_warning(url: str, endpoint: str | None) -> None:
    """A server on this machine's loopback is published, with a warning."""
    with pytest.warns(UserWarning, match="only this machine"):
        check_public([url], endpoint=endpoint)


def test_nothing() -> None:
    """No URLs at all are a ValueError."""
    with pytest.raises(NoDataUrlsError):
        check_public([])
