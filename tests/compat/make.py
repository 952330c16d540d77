"""Write what this version writes, to be read by the next: ``python -m tests.compat.make FOLDER``.

It uses the public face alone, so that it runs with older versions as well. ``--network`` adds the
records that a promotion leaves on a server. What it wrote is kept in ``tests/compat/data``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np

import atdata
from atdata.local import LocalIndex
from tests.compat.samples import Pair, Point, Rich, Sample, pair, rich, sample

SAMPLES = 50
DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
"""Whose records are kept: another account is made in each run."""
URL = "https://example.org/data-{0:06d}.tar"


def _numbers(rows: Any) -> list[int]:
    return [row.number for row in rows]


def _state(reading: Any, taken: int) -> dict[str, Any]:
    """A state after some samples, and the numbers of those that are left."""
    rows = iter(reading)
    for _ in range(taken):
        next(rows)
    return {"state": reading.state_dict(), "rest": _numbers(rows)}


def make(folder: Path) -> None:
    """Write shards with tables, states of readings, and an index in SQLite."""
    dataset = atdata.write_samples(map(sample, range(SAMPLES)), folder / "data.tar", maxcount=20)
    atdata.write_columns(
        {"x": np.arange(30) / 4, "y": np.arange(30)},
        folder / "points.tar",
        sample_type=Point,
        maxcount=20,
    )
    make_newer(folder)
    both = atdata.mix([dataset, dataset], weights=[2, 1], seed=5)
    states = {
        "ordered": _state(dataset.ordered(), 13),
        "shuffled": _state(dataset.shuffled(seed=5), 13),
        "rank": _state(dataset.split(1, 2).shuffled(seed=5), 7),
        "mix": _state(both.shuffled(), 13),
    }
    (folder / "states.json").write_text(json.dumps(states, indent=1) + "\n")
    with LocalIndex(folder / "index.db") as index:
        refs = [index.publish_schema(Sample, version=v) for v in ("1.0.0", "1.1.0")]
        for number, ref in enumerate(refs):
            shards = [
                atdata.ShardInfo(URL.format(i), 20, 1_000 + i, f"{i:064x}")
                for i in range(number + 1)
            ]
            urls = [shard.url for shard in shards]
            entry = index.add_entry(
                atdata.Dataset.of(Sample, urls, shards=shards),
                name="digits",
                schema_ref=ref,
                description=f"Revision {number}",
                tags=["small", "kept"],
                license="MIT",
                metadata={"number": number, "table": {"a": [1, 2.5, None]}},
            )
            index.label("digits", f"{number + 1}.0.0", entry)


def make_newer(folder: Path) -> None:
    """Write shards of the newer kinds, and of members, with tables and the types of samples."""
    atdata.write_samples(map(rich, range(SAMPLES)), folder / "rich.tar")
    atdata.write_samples(map(pair, range(SAMPLES)), folder / "pairs.tar", layout="members")


def make_records(folder: Path) -> None:
    """Promote a dataset as blobs on a network of its own, and keep the records of the account."""
    from atdata.atmosphere import AtmosphereClient, PDSBlobStore
    from atdata.promote import promote_to_atmosphere
    from atdata.testing import network

    with network.start() as net, LocalIndex(folder / "promoted.db") as index:
        account = net.accounts[0]
        os.environ["ATDATA_PLC_URL"] = net.plc_url
        os.environ["ATDATA_PDS_URL"] = account.server_url
        os.environ["ATDATA_ALLOW_PRIVATE"] = "1"
        client = AtmosphereClient()
        client.login(account.handle, account.password)
        digits = atdata.Dataset[Sample](sorted(folder.glob("data-*.tar")))
        points = atdata.Dataset[Point](sorted(folder.glob("points-*.tar")))
        kept: list[tuple[str, atdata.Dataset[Any], Any]] = [
            ("digits", digits, "ac.foundation.dataset"),
            ("points", points, "science.alt.dataset"),
            ("rich", atdata.Dataset[Rich](folder / "rich.tar"), "ac.foundation.dataset"),
            ("rich-alt", atdata.Dataset[Rich](folder / "rich.tar"), "science.alt.dataset"),
            ("pairs", atdata.Dataset[Pair](folder / "pairs.tar"), "ac.foundation.dataset"),
        ]
        for name, dataset, family in kept:
            entry = index.insert_dataset(dataset, name=name, tags=["kept"], license="MIT")
            store = PDSBlobStore(client)
            promote_to_atmosphere(entry, index, client, data_store=store, family=family)
        records: dict[str, Any] = {}
        for collection in _get(account, "describeRepo")["collections"]:
            found = _get(account, "listRecords", collection=collection)["records"]
            records |= {record["uri"]: record for record in found}
    text = json.dumps(records, indent=1).replace(account.did, DID)
    (folder / "records.json").write_text(text + "\n")
    (folder / "promoted.db").unlink()


def _get(account: Any, method: str, **parameters: str) -> Any:
    query = urlencode({"repo": account.did, **parameters})
    with urlopen(f"{account.server_url}/xrpc/com.atproto.repo.{method}?{query}") as answer:
        return json.load(answer)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    make(arguments.folder)
    if arguments.network:
        make_records(arguments.folder)


if __name__ == "__main__":
    main()
