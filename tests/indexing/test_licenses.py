"""Licences are SPDX expressions."""

from __future__ import annotations

import pytest

from atdata.errors import OptionError
from atdata.indexing.licenses import check_license


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("", ""),
    ],
)
def test_written_as_spdx_writes_them(given: str, written: str) -> None:
    """An expression is returned in SPDX's own capitals, so that programs can compare it."""
    assert check_license(given) == written


@pytest.mark.parametrize(
    ("given", "hint"),
    [("CC-BY", "CC-BY-"), ("apache 2.0", "Apache-2.0"), ("gpl 3", "GPL-3.0"), ("MTI", "MIT")],
)
def test_what_is_none_is_refused(given: str, hint: str) -> None:
    """Anything else is refused, with those that are like it."""
    with pytest.raises(OptionError, match=r"spdx\.org.*LicenseRef") as caught:
        check_license(given)
    assert f"Did you mean '{hint}" in str(caught.value)


def test_what_is_like_none_is_refused() -> None:
    """Words that are like no licence are refused without a guess."""
    with pytest.raises(OptionError, match=r"'free as air' is not an SPDX expression\. Write"):
        check_license("free as air")
