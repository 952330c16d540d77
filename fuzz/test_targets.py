"""Random bytes, for a bounded time: the same promises as in the long runs of `fuzz.run`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, seeds

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(CORPUS.glob("*/*"))
SEEDS = {name: found or [b""] for name, found in seeds().items()}


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once(target: str) -> None:
    """Every input that a long run kept still breaks no promise."""
    kept = [path for path in KEPT if path.parent.name == target]
    assert kept
    for path in kept:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes(target: str, data: st.DataObject) -> None:
    """Whatever the bytes are, there is a value or an error of ours, and no promise is broken."""
    TARGETS[target](data.draw(_bytes(target)))


def _bytes(target: str) -> st.SearchStrategy[bytes]:
    """Any bytes, and files of the hostile corpus with a part of them changed."""
    changed = st.builds(
        lambda seed, at, cut, put: (
            seed[: at % (len(seed) + 1)] + put + seed[at % (len(seed) + 1) + cut :]
        ),
        st.sampled_from(SEEDS[target]),
        st.integers(0, 1 << 12),
        st.integers(0, 8),
        st.binary(max_size=8),
    )
    return st.binary(max_size=400) | changed
