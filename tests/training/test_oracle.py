"""Random programs over loaders, against a plain model: `oracle.py` has it, and runs many more.

Needs PyTorch, which is not among the locked packages: `make test-torch` says how to run these.
"""

from __future__ import annotations

import pytest

pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch runs these tests with it"
)

from tests.training.oracle import run


@pytest.mark.parametrize("seed", range(4))
def test_loops_of_any_kind_are_as_the_model_has_them(seed: int) -> None:
    """Left early, nested, resumed elsewhere, cut off: batches, lengths and states are right."""
    for case in range(30):
        run(seed, case, workers_every=30)
