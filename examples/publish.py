"""Publish a dataset on an AT Protocol network, and load it as anyone would.

`atdata sandbox` runs a network on this machine and prints what to export. To publish for real,
export ATDATA_HANDLE and ATDATA_PASSWORD (an app password) of your own account instead.
"""

from __future__ import annotations

import os

import atdata
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex
from atdata.promote import plan_promotion, promote_to_atmosphere


class Sentence(atdata.PackableSample):
    """A sentence in two languages."""

    english: str
    danish: str


SENTENCES = [Sentence("good morning", "godmorgen"), Sentence("thank you", "tak")]


def main() -> None:
    """Insert, plan, promote, and load by name."""
    index = LocalIndex("index.db")
    written = atdata.write_samples(SENTENCES, "sentences.tar")
    entry = index.insert_dataset(
        written,
        name="two-languages",
        description="A few sentences in English and Danish.",
        tags=["text", "translation"],
        license="CC0-1.0",
    )

    client = AtmosphereClient()
    client.login(os.environ["ATDATA_HANDLE"], os.environ["ATDATA_PASSWORD"])
    blobs = PDSBlobStore(client)

    # The plan says what would be sent, and what is in the way. It writes nothing.
    plan = plan_promotion(entry, index, client, data_store=blobs)
    print(plan)
    if not plan.ok:
        raise SystemExit(1)
    uri = promote_to_atmosphere(entry, index, client, data_store=blobs)
    print(f"published as {uri}")

    # Idempotent: nothing is sent twice, and the URI stays.
    assert promote_to_atmosphere(entry, index, client, data_store=blobs) == uri

    published = atdata.load_dataset(uri, Sentence, split="train")  # needs no login
    for sentence in published:
        print(f"{sentence.english} → {sentence.danish}")


if __name__ == "__main__":
    main()
