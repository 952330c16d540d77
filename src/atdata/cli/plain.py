"""Text made safe to print on a terminal."""

from __future__ import annotations

import unicodedata


def plain(text: str, *, lines: bool = False) -> str:
    """Make text safe to print: characters that would control a terminal are escaped.

    With ``lines``, line breaks are kept.
    """
    return "".join(c if _prints(c) or (lines and c == "\n") else _escaped(c) for c in text)


def _prints(char: str) -> bool:
    # Cc and Cf hold escape sequences and the marks that reverse the direction of text.
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
