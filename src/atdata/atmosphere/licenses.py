"""Licences of published datasets: SPDX expressions, as programs compare them."""

from __future__ import annotations

import difflib

from atdata.errors import OptionError


def check_license(text: str) -> str:
    """An SPDX expression as SPDX writes it: ``mit`` becomes ``MIT``. "" stays.

    Raises:
        OptionError: Not one; names those that are like it.
    """
    if not text:
        return text
    # Its table of licences is large: loaded when something is published.
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        raise OptionError(
            f"license={text!r} is no SPDX expression.{_hint(text)} Write one such as 'MIT', "
            "'CC-BY-4.0' or 'MIT OR Apache-2.0' (https://spdx.org/licenses), or "
            "'LicenseRef-Name' for one of your own. Nothing was published."
        ) from None


def _hint(text: str) -> str:
    from packaging.licenses import _spdx

    names = {name: row["id"] for name, row in _spdx.LICENSES.items()}
    wanted = text.strip().lower().replace(" ", "-")
    close = difflib.get_close_matches(wanted, names, cutoff=0.7)
    starting = [name for name in sorted(names) if name.startswith(f"{wanted}-")]
    found = [names[name] for name in (*close, *starting)][:3]
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
