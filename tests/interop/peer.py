"""Run by the peer's own Python: ``write FOLDER``, or ``read FOLDER``, which prints JSON.

A case is one shard, ``NAME.tar``, and again several, ``NAME-000000.tar`` and so on.
"""

import json
import sys
from pathlib import Path
from typing import Any

import webdataset
from cases import CASES, SHARD_SAMPLES, digest, digest_sample, shard_count

import atdata


def write(folder: Path) -> None:
    """Every case, as the peer's users write it."""
    for name, case in CASES.items():
        one, many = folder / f"{name}.tar", folder / f"{name}-%06d.tar"
        if hasattr(atdata, "write_samples"):
            atdata.write_samples(case.samples(), one)
            atdata.write_samples(case.samples(), many, maxcount=SHARD_SAMPLES)
            continue
        with webdataset.writer.TarWriter(str(one)) as sink:
            for sample in case.samples():
                sink.write(sample.as_wds)
        with webdataset.writer.ShardWriter(str(many), maxcount=SHARD_SAMPLES, verbose=0) as sink:
            for sample in case.samples():
                sink.write(sample.as_wds)


def read(folder: Path) -> dict[str, Any]:
    """What the peer finds: by case, by number of shards, by way of reading."""
    found: dict[str, Any] = {}
    for name, case in CASES.items():
        kind = case.sample_type
        many = f"{name}-{{000000..{shard_count(case) - 1:06d}}}.tar"
        for label, pattern in (("one", f"{name}.tar"), ("many", many)):
            dataset = atdata.Dataset[kind](str(folder / pattern))
            batches = dataset.ordered(batch_size=3)
            found[f"{name}, {label}, each"] = [digest_sample(s, kind) for s in dataset.ordered()]
            found[f"{name}, {label}, batches"] = [
                digest_sample(sample, kind) for batch in batches for sample in batch.samples
            ]
    untyped = atdata.Dataset[atdata.DictSample](str(folder / "wide.tar"))
    found["wide"] = [digest(dict(sample.items())) for sample in untyped.ordered()]
    return found


if __name__ == "__main__":
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "write":
        write(target)
    else:
        print(json.dumps(read(target)))
