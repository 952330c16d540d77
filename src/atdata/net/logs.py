"""Logging without secrets, for our loggers and those of client libraries."""

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
    """Lets every record pass, its secrets hidden."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:
            return True  # wrong arguments, which logging reports itself
        if (shown := redacted(text)) != text:
            record.msg, record.args = shown, None
        if record.exc_info and (error := record.exc_info[1]) is not None:
            trace = "".join(traceback.format_exception(error)).rstrip("\n")
            if (shown := redacted(trace)) != trace:
                # Handlers print exc_text if it is set, else they format exc_info.
                record.exc_text, record.exc_info = shown, None
        return True


_HIDING: Final = _Hiding()
_done: set[str] = set()


def logger(name: str) -> logging.Logger:
    """The logger of this name; its records show no secrets in any handler."""
    found = logging.getLogger(name)
    found.addFilter(_HIDING)
    return found


def hide_in_logs(*packages: str) -> None:
    """Hide secrets in the logs of packages that we call; their DEBUG records hold whole requests.

    A logger's filters do not apply to its children, so every module's logger gets one, even
    before the module is loaded. A package that is not installed is skipped. Only the first call
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
