"""Write typed samples to shards and read them back: one by one, in batches, by position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import atdata


class Recording(atdata.PackableSample):
    """A short recording and what was said."""

    waveform: NDArray[np.float32]
    rate_hz: int
    text: str
    speaker: str | None = None


def recordings(number: int) -> list[Recording]:
    """Noise, in place of recordings of your own."""
    random = np.random.default_rng(0)
    return [
        Recording(random.normal(size=400).astype(np.float32), 16_000, f"sentence {i}")
        for i in range(number)
    ]


def main() -> None:
    """Write 1,000 recordings as four shards, and read them in three ways."""
    # A generator works as well: samples are written as they come.
    dataset = atdata.write_samples(recordings(1_000), "recordings.tar", maxcount=250)
    print(f"wrote {len(dataset)} samples as {dataset.shard_list}")

    # Another program opens the same files by their pattern.
    dataset = atdata.Dataset[Recording]("recordings-{000000..000003}.tar")
    longest = max(dataset, key=lambda recording: len(recording.text))
    print(f"the longest text is {longest.text!r}")

    for batch in dataset.ordered(batch_size=100):
        loudness = np.abs(batch.waveform).mean(axis=1)  # batch.waveform has shape (100, 400)
        print(f"{batch.text[0]} to {batch.text[-1]}: {loudness.mean():.3f}")

    print(f"sample 617 says {dataset[617].text!r}, the last one {dataset[-1].text!r}")


if __name__ == "__main__":
    main()
