"""The public names are as checked in, on a page, and all that ``dir`` shows."""

from __future__ import annotations

import re
from typing import Any

import pytest

import atdata
from atdata import errors, local
from tests.public_names import FILE, PAGE, ROOT, names, page, public

AGAIN = "If the change is meant, run: python -m tests.public_names"


def test_names_and_signatures_are_as_checked_in() -> None:
    """A name that goes, or a signature that changes, is seen in review."""
    assert list(names()) == FILE.read_text().splitlines(), AGAIN


def test_every_public_name_stands_on_the_page() -> None:
    """docs/reference.md lists each with the first line of its docstring."""
    assert page() == PAGE.read_text(), AGAIN
    assert "|  |" not in page()


@pytest.mark.parametrize("module", [atdata, local], ids=lambda module: module.__name__)
def test_dir_shows_public_names_alone(module: Any) -> None:
    """What an editor completes is what a user may call, also before it is loaded."""
    assert dir(module) == sorted(module.__all__)


def test_every_error_stands_on_its_page() -> None:
    """docs/errors.md says of each error and warning when it is raised."""
    text = (ROOT / "docs" / "errors.md").read_text()
    assert [name for name in public(errors) if not re.search(rf"`(atdata\.)?{name}`", text)] == []
