"""Another checkout of this package, to compare a change with the code before it.

``python -m bench --before ../older --only …`` names the checkout; without it there is none.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Final

from bench.contender import BEFORE, CHECKOUT_VARIABLE, Contender
from bench.contenders import ours
from bench.envs import OURS


def _made(made: Contender, checkout: str) -> Contender:
    environment = replace(OURS, name="before", requirements=("-e", checkout))
    more: dict[str, Any] = {
        "name": BEFORE + made.name,
        "environment": environment,
        "loading": made.loading and environment.with_torch(),
        "reads": made.reads and BEFORE + made.reads,
        "like": made.like and BEFORE + made.like,
    }
    found: Contender = type(f"Before{type(made).__name__}", (type(made),), more)()
    return found


_CHECKOUT: Final = os.environ.get(CHECKOUT_VARIABLE)
CONTENDERS: Final = tuple(
    _made(made, _CHECKOUT)
    for made in ours.CONTENDERS
    if _CHECKOUT and made.reads in (None, "atdata")
)
