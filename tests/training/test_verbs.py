"""The PyTorch loader over datasets made of others: workers give what one process gives."""

from __future__ import annotations

from typing import Any

import pytest

from atdata import mix
from tests.dataset.test_choose import is_odd
from tests.dataset.test_combine import A, B, pair, several, texts

torch: Any = pytest.importorskip("torch")

DATASETS: dict[str, Any] = {
    "sorted": (A + B).sort("number", descending=True),
    "chosen of filtered": A.filter(is_odd).skip(2),
    "joined with filtered": A + B.filter(is_odd),
    "in turn": A.interleave(B),
    "zipped": A.zip(A, pair),
    "several of one": A.flat_map(several),
    "tokens": texts([3, 9, 2, 7]).pack(length=4),
    "mixed": mix([A, B.take(3)], stop="all"),
}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", DATASETS)
def test_workers_give_what_one_process_gives(name: str, shuffle: bool) -> None:
    """The same batches in the same order from two workers, also after a stop and from a state."""
    field = "tokens" if name == "tokens" else "number"

    def loader(workers: int) -> Any:
        return DATASETS[name].to_torch(3, num_workers=workers, shuffle=shuffle, seed=3)

    whole = [batch[field].tolist() for batch in loader(0)]
    stopped = loader(2)
    found = []
    for batch in stopped:
        found.append(batch[field].tolist())
        state = stopped.state_dict()
        break
    resumed = loader(2)
    resumed.load_state_dict(state)
    assert found + [batch[field].tolist() for batch in resumed] == whole
