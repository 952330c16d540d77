"""Licences of datasets: SPDX expressions in canonical form."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Final

from atdata.errors import OptionError
from atdata.system.forks import importing

_COMMON: Final = (
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GPL-2.0-only",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "LGPL-2.1-only",
    "LGPL-3.0-only",
    "AGPL-3.0-only",
    "MPL-2.0",
    "ISC",
    "Unlicense",
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-3.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-NC-ND-4.0",
    "CC-BY-ND-4.0",
    "ODbL-1.0",
    "ODC-By-1.0",
    "PDDL-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "C-UDA-1.0",
    "OGL-UK-3.0",
    "etalab-2.0",
)
"""The usual licences of data and code, suggested for a misspelled one."""
_ENDINGS: Final = ("", "-1.0", "-2.0", "-3.0", "-4.0", ".0", "-only", ".0-only")


def check_license(text: str) -> str:
    """The canonical form of an SPDX expression: ``mit`` becomes ``MIT``. "" stays.

    Raises:
        OptionError: Not an SPDX expression; suggests similar licences.
    """
    if not text:
        return text
    if (found := _canonical(text)) is not None:
        return found
    meant = list(dict.fromkeys(_alike(text)))[:3]
    hint = f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
    raise OptionError(
        f"license={text!r} is not an SPDX expression.{hint} Write one such as 'MIT', 'CC-BY-4.0' "
        "or 'MIT OR Apache-2.0' (https://spdx.org/licenses), or 'LicenseRef-Name' for one of your "
        "own. Nothing was written."
    )


def _canonical(text: str) -> str | None:
    # Imported on first use: its table of licences is large.
    with importing():
        from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def _alike(text: str) -> Iterator[str]:
    wanted = re.sub(r"[\s_]+", "-", text.strip().lower())
    for ending in _ENDINGS:
        if (found := _canonical(f"{wanted}{ending}")) is not None:
            yield found
    names = {name.lower(): name for name in _COMMON}
    for close in difflib.get_close_matches(wanted, names, cutoff=0.65):
        yield names[close]
    for name in _COMMON:
        if name.lower().startswith(f"{wanted}-"):
            yield name
