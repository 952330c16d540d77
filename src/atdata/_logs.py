"""What this library logs, and has other libraries log, without secrets."""

from __future__ import annotations

import importlib.util
import logging
import pkgutil
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from atdata._secrets import redacted


class _Hiding(logging.Filter):
    """Takes every record, with what is secret in its text hidden."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:
            return True  # wrong arguments, of which logging itself informs
        if (shown := redacted(text)) != text:
            record.msg, record.args = shown, None
        if record.exc_info and (error := record.exc_info[1]) is not None:
            trace = "".join(traceback.format_exception(error)).rstrip("\n")
            if (shown := redacted(trace)) != trace:
                # Handlers print the text, or else what it is made of.
                record.exc_text, record.exc_info = shown, None
        return True


_HIDING: Final = _Hiding()
_done: set[str] = set()


def logger(name: str) -> logging.Logger:
    """The logger of this name, whose records show no secrets, whichever handler prints them."""
    found = logging.getLogger(name)
    found.addFilter(_HIDING)
    return found


def hide_in_logs(*packages: str) -> None:
    """Have packages that we call log no secrets: their DEBUG records hold whole requests.

    Filters of a logger do not act on those below it, so each module's own gets one, those that
    are not loaded yet as well. A package that is not installed is skipped. Only the first call
    for a package costs anything.
    """
    for package in packages:
        if package not in _done:
            _done.add(package)
            for name in _modules(package):
                logger(name)


def _modules(package: str) -> Iterator[str]:
    yield package
    spec = importlib.util.find_spec(package)
    if spec is not None:
        yield from _below(package, spec.submodule_search_locations or ())


def _below(package: str, places: Iterable[str]) -> Iterator[str]:
    for module in pkgutil.iter_modules(places):
        name = f"{package}.{module.name}"
        yield name
        if module.ispkg:
            yield from _below(name, [str(Path(place) / module.name) for place in places])
