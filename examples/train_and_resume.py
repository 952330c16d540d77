"""Train with PyTorch, stop anywhere, and resume at the next batch.

Run it twice: the first run stops in the middle of an epoch, the second one continues from the
checkpoint. Needs PyTorch: ``pip install torch``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import atdata

CHECKPOINT = Path("checkpoint.json")
WEIGHTS = Path("weights.pt")
STOP_AFTER = 25
EPOCHS = 2


class Example(atdata.PackableSample):
    """A point and the class that it belongs to."""

    features: NDArray[np.float32]
    label: int


def open_or_make() -> atdata.Dataset[Example]:
    """The dataset in data/; made on the first run."""
    folder = Path("data")
    if not folder.exists():
        random = np.random.default_rng(0)
        points = random.normal(size=(5_000, 16)).astype(np.float32)
        examples = (Example(point, int(point.sum() > 0)) for point in points)
        folder.mkdir()
        atdata.write_samples(examples, folder / "train.tar", maxcount=1_000)
    return atdata.Dataset[Example](folder)


def main() -> None:
    """Two epochs, in two runs of this program."""
    loader = open_or_make().to_torch(128, shuffle=True, seed=0, num_workers=2, drop_last=True)
    model: Any = torch.nn.Linear(16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    done = 0
    if CHECKPOINT.exists():
        checkpoint = json.loads(CHECKPOINT.read_text())
        done = checkpoint["batches"]
        loader.load_state_dict(checkpoint["loader"])
        model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
        print(f"resuming after batch {done}")

    while done < EPOCHS * len(loader):
        for batch in loader:  # each loop is an epoch, or the rest of the one that was loaded
            loss = torch.nn.functional.cross_entropy(model(batch["features"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == STOP_AFTER and not CHECKPOINT.exists():
                # The state is JSON. It counts what the loop was given, not what was prefetched.
                state = {"batches": done, "loader": loader.state_dict()}
                torch.save(model.state_dict(), WEIGHTS)
                CHECKPOINT.write_text(json.dumps(state))
                print(f"stopped after batch {done}")
                return
    print(f"finished after batch {done}, loss {float(loss.detach()):.3f}")


if __name__ == "__main__":
    main()
