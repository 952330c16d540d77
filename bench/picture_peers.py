"""Pictures read by other packages: what `bench.pictures` runs in an environment of their own.

Each gives batches of 256 pictures, cropped in the middle and resized to 224, from the same JPEGs,
by as many worker processes as there are processors. All have torchvision's decoder and its resizing
of tensors, which is faster than its resizing of Pillow's pictures: a row of its own shows that one.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from bench.envs import ANY_PYTHON, ROOT, TORCH, Environment

# What mosaicml-streaming needs for texts alone would need an older `datasets`.
ENVIRONMENT: Final = Environment(
    "pictures",
    (
        "webdataset==1.0.2",
        "litdata==0.2.76",
        "mosaicml-streaming==0.13.0",
        "datasets==5.2.0",
        "numpy>=2",
    ),
    ANY_PYTHON,
    without=("transformers",),
).with_torch()
SIZE: Final = 224
BATCH: Final = 256
SHARDS: Final = 2
_TICK: Final = os.sysconf("SC_CLK_TCK")


class Peers:
    """The process in which they run, one after the other as they are asked for.

    Args:
        folder: Of a file for each picture, and where they store their own.
    """

    def __init__(self, folder: Path) -> None:
        if not any("torchvision" in requirement for requirement in TORCH):
            raise SystemExit('Other packages need torchvision: TORCH="torch torchvision"')
        command = [str(ENVIRONMENT.python()), "-m", "bench.picture_peers", str(folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.names: list[str] = self._answer()

    def read(self, name: str) -> tuple[float, float]:
        """One epoch of one of them: seconds of the clock, and of processors."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        clock, spent = self._answer()
        return clock, spent

    def end(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("answer: "):
            if not line:
                raise SystemExit("The process of the other packages ended.")
        return json.loads(line.removeprefix("answer: "))


def from_tensors(data: bytes) -> Any:
    """A picture as torchvision makes it of tensors."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    picture = decode_jpeg(encoded, mode=ImageReadMode.RGB)
    side = min(picture.shape[1:])
    part = functional.center_crop(picture, [side, side])
    return functional.resize(part, [SIZE, SIZE], antialias=True)


def from_pillow(data: bytes) -> Any:
    """A picture as torchvision makes it of one of Pillow."""
    from PIL import Image
    from torchvision.transforms.v2 import functional

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(picture.size)
    part = functional.center_crop(picture, [side, side])
    return functional.pil_to_tensor(functional.resize(part, [SIZE, SIZE]))


class Mapped:
    """Samples by position, of whatever gives their bytes."""

    def __init__(
        self, stored: Any, data: Callable[[Any], bytes], decoded: Callable[[bytes], Any]
    ) -> None:
        self._stored = stored
        self._data = data
        self._decoded = decoded

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, position: int) -> Any:
        return self._decoded(self._data(self._stored[position]))


def itself(data: bytes) -> bytes:
    return data


def field(sample: Any) -> bytes:
    data: bytes = sample["image"]
    return data


def of_struct(sample: Any) -> bytes:
    data: bytes = sample["image"]["bytes"]
    return data


def member(sample: dict[str, Any]) -> Any:
    return from_tensors(sample["jpg"])


def transformed(sample: Any) -> Any:
    return from_tensors(field(sample))


def loaded(dataset: Any, loader: Any = None, *, size: int | None = BATCH) -> Iterable[Any]:
    """Batches of a dataset, by worker processes that stay for the next epoch."""
    from torch.utils.data import DataLoader

    made: Iterable[Any] = (loader or DataLoader)(
        dataset,
        batch_size=size,
        num_workers=len(os.sched_getaffinity(0)),
        persistent_workers=True,
    )
    return made


def loaders(pictures: list[bytes], folder: Path) -> dict[str, Iterable[Any]]:
    """A loader of each package, of pictures that it stored."""
    import datasets
    import litdata
    import torch
    import webdataset
    from litdata.streaming.cache import Cache

    streaming = _streaming()
    size = -(-len(pictures) // SHARDS)
    with webdataset.ShardWriter(str(folder / "wds-%06d.tar"), maxcount=size, verbose=0) as sink:
        for number, data in enumerate(pictures):
            sink.write({"__key__": f"{number:09d}", "jpg": data, "cls": number})
    cache = Cache(str(folder / "litdata"), chunk_size=size)
    for number, data in enumerate(pictures):
        cache[number] = {"image": data, "label": number}
    cache.done()
    cache.merge()
    columns = {"image": "bytes", "label": "int"}
    with streaming.MDSWriter(out=str(folder / "mosaicml"), columns=columns) as out:
        for number, data in enumerate(pictures):
            out.write({"image": data, "label": number})
    datasets.disable_progress_bars()
    rows = {"image": [{"bytes": data} for data in pictures], "label": range(len(pictures))}
    datasets.Dataset.from_dict(rows).cast_column(
        "image", datasets.Image(decode=False)
    ).save_to_disk(folder / "datasets", num_shards=SHARDS)
    shards = [str(path) for path in sorted(folder.glob("wds-*.tar"))]
    split = webdataset.WebDataset(shards, shardshuffle=False).map(member)
    local = streaming.LocalDataset(str(folder / "mosaicml"))
    arrow = datasets.load_from_disk(folder / "datasets")
    return {
        "torchvision from memory": loaded(Mapped(pictures, itself, from_tensors)),
        "torchvision from memory, by Pillow": loaded(Mapped(pictures, itself, from_pillow)),
        "webdataset": loaded(
            split.batched(BATCH, collation_fn=torch.stack), webdataset.WebLoader, size=None
        ),
        "litdata": loaded(
            litdata.StreamingDataset(str(folder / "litdata"), transform=transformed),
            litdata.StreamingDataLoader,
        ),
        "datasets": loaded(Mapped(arrow, of_struct, from_tensors)),
        "mosaicml-streaming": loaded(Mapped(local, field, from_tensors)),
    }


def _streaming() -> Any:
    """mosaicml-streaming, without transformers, of whose batches it asks only the types."""
    for path, name in {
        "transformers.feature_extraction_utils": "BatchFeature",
        "transformers.tokenization_utils_base": "BatchEncoding",
        "transformers.models.auto.tokenization_auto": "AutoTokenizer",
    }.items():
        setattr(sys.modules.setdefault(path, ModuleType(path)), name, type(name, (), {}))
    return importlib.import_module("streaming")


def spent() -> float:
    """Seconds of processors that this process and its children have spent."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    seconds = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            seconds += (int(fields[11]) + int(fields[12])) / _TICK
    return seconds


def main() -> None:
    """Say which packages there are, and then read an epoch of each that is asked for."""
    folder = Path(sys.argv[1])
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    found = loaders(pictures, folder)
    print("answer:", json.dumps(list(found)), flush=True)
    for name in sys.stdin:
        began, before = time.perf_counter(), spent()
        count = 0
        for batch in found[name.strip()]:
            assert tuple(batch.shape[1:]) == (3, SIZE, SIZE)
            count += len(batch)
        assert count == len(pictures), (name, count)
        took = time.perf_counter() - began, spent() - before
        print("answer:", json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
