"""``python -m bench.pictures``: JPEGs decoded, cropped and resized to 224 in batches of 256.

Makes JPEGs of 500 × 375, stores them in shards, and prints pictures a second: the best of some
rounds in turns, by the clock and by the time that the processors spent. The limit is simplejpeg on
all processors, from memory, its pixels thrown away: without a shard, a crop or a batch.

``--peers`` measures other packages in the same rounds, in an environment of 6 GB below ``.cache``:
``TORCH="torch torchvision" python -m bench.pictures --peers``.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import simplejpeg
from PIL import Image as PillowImage

import atdata
from atdata.dataset.decode.crops import Box
from atdata.dataset.decode.resize import resized
from atdata.dataset.decode.threads import processors
from bench.picture_peers import BATCH, SIZE, Peers

DIFFERENT: Final = 64
"""Different pictures, which are repeated."""


@atdata.packable
class Picture:
    image: atdata.Image
    label: int


def jpegs(count: int) -> list[bytes]:
    """JPEGs of 500 × 375, of about 60 kB, with detail of all sizes."""
    made = []
    for number in range(min(count, DIFFERENT)):
        random = np.random.default_rng(number)
        coarse = PillowImage.fromarray(random.integers(0, 256, (40, 53, 3), np.uint8))
        large = np.asarray(coarse.resize((500, 375), PillowImage.Resampling.BICUBIC))
        noisy = np.clip(large + random.normal(0, 8, large.shape), 0, 255).astype(np.uint8)
        out = io.BytesIO()
        PillowImage.fromarray(noisy).save(out, "JPEG", quality=85)
        made.append(out.getvalue())
    return [made[number % len(made)] for number in range(count)]


def on_all(call: Callable[[bytes], object], pictures: list[bytes]) -> None:
    """Call a function for each picture, in as many threads as there are processors."""
    with ThreadPoolExecutor(processors()) as pool:
        for _ in pool.map(call, pictures, chunksize=32):
            pass


def by_simplejpeg(data: bytes) -> None:
    simplejpeg.decode_jpeg(data)


def by_simplejpeg_scaled(data: bytes) -> None:
    """What simplejpeg alone makes of it: 313 × 235, by a scaled inverse transform."""
    simplejpeg.decode_jpeg(data, min_height=SIZE, min_width=SIZE)


def by_simplejpeg_resized(data: bytes) -> None:
    """The same pixels as ours, without a shard or a batch."""
    resized(simplejpeg.decode_jpeg(data), Box(62.5, 0, 437.5, 375), (SIZE, SIZE))


def by_pillow(data: bytes) -> None:
    """What a transform of Pillow does, to the same part and size."""
    picture: PillowImage.Image = PillowImage.open(io.BytesIO(data))
    picture = picture.convert("RGB") if picture.mode != "RGB" else picture
    box = (62.5, 0, 437.5, 375)
    np.asarray(picture.resize((SIZE, SIZE), PillowImage.Resampling.BILINEAR, box))


def ways(dataset: atdata.Dataset[Picture], pictures: list[bytes]) -> dict[str, Callable[[], None]]:
    """What is measured."""
    stats = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    made: dict[str, atdata.Decode] = {
        "atdata": atdata.Decode(size=SIZE),
        "atdata, random parts, mirrored": atdata.Decode(size=SIZE, crop="random"),
        "atdata, float32 CHW": atdata.Decode(size=SIZE, layout="CHW", **stats),  # type: ignore[arg-type]
        "atdata, one thread": atdata.Decode(size=SIZE, threads=1),
    }

    def reading(how: atdata.Decode) -> Callable[[], None]:
        def read() -> None:
            for batch in dataset.batches(BATCH, decode={"image": how}):
                assert batch["image"].shape[1:] in ((SIZE, SIZE, 3), (3, SIZE, SIZE))

        return read

    def encoded() -> None:
        for batch in dataset.batches(BATCH):
            assert batch["image"][0].size == (500, 375)

    return {
        "limit: simplejpeg from memory, not resized": lambda: on_all(by_simplejpeg, pictures),
        "simplejpeg from memory, cropped and resized": lambda: on_all(
            by_simplejpeg_resized, pictures
        ),
        "simplejpeg from memory, scaled to 313 × 235": lambda: on_all(
            by_simplejpeg_scaled, pictures
        ),
        **{name: reading(how) for name, how in made.items()},
        "Pillow from memory, resized": lambda: on_all(by_pillow, pictures),
        "atdata, not decoded": encoded,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--pictures", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    arguments = parser.parse_args()
    pictures = jpegs(arguments.pictures)
    with tempfile.TemporaryDirectory() as folder:
        samples = (Picture(atdata.Image(data), n) for n, data in enumerate(pictures))
        atdata.write_samples(samples, Path(folder) / "pictures.tar", maxcount=1024)
        dataset = atdata.Dataset[Picture](f"{folder}/pictures-*.tar")
        measured = {name: partial(timed, call) for name, call in ways(dataset, pictures).items()}
        peers = Peers(stored(pictures, Path(folder) / "peers")) if arguments.peers else None
        if peers is not None:
            measured |= {name: partial(peers.read, name) for name in peers.names}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
        # The first round starts processes and threads.
        for number in range(arguments.rounds + 1):
            for name, call in measured.items():
                took = call()
                found[name] += [took] if number else []
        if peers is not None:
            peers.end()
    size = sum(map(len, pictures)) / len(pictures)
    print(f"{len(pictures):,} JPEGs of 500 × 375, {size / 1000:.0f} kB; {processors()} processors")
    print("| | pictures/s | of the limit | processor time a picture | of the limit |")
    print("| --- | ---: | ---: | ---: | ---: |")
    limit = best(found["limit: simplejpeg from memory, not resized"])
    for name, times in found.items():
        clock, spent = best(times)
        print(
            f"| {name} | {len(pictures) / clock:,.0f} | {limit[0] / clock:.2f} | "
            f"{spent / len(pictures) * 1e6:,.0f} µs | {limit[1] / spent:.2f} |"
        )


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock and of processors that a call took."""
    clock, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - spent


def stored(pictures: list[bytes], folder: Path) -> Path:
    """A new folder with a file for each picture."""
    folder.mkdir()
    for number, data in enumerate(pictures):
        (folder / f"{number:09d}.jpg").write_bytes(data)
    return folder


def best(times: list[tuple[float, float]]) -> tuple[float, float]:
    """The least of each."""
    clock: Any = min(clock for clock, _ in times)
    return clock, min(spent for _, spent in times)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
