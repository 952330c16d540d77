"""Labels: versions of a dataset's name, each a record that leads to one dataset.

They are records of the newer family, the only one that has any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atdata._refs import NEWER_LABEL_COLLECTION, AtUri, Version, check_name, parse_at_uri
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.data_model import now
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.keys import label_range, label_rkey
from atdata.atmosphere.lookup import foreign_records, records_in
from atdata.atmosphere.reader import Reader, Record
from atdata.errors import AtmosphereError, IntegrityError, LabelExistsError, XrpcError

_TRIES: Final = 10


@dataclass(frozen=True)
class Labelled:
    """The dataset that a label leads to."""

    uri: str
    cid: str | None
    """Of the record that was labelled."""
    label: AtUri

    def check(self, entry: AtmosphereIndexEntry) -> AtmosphereIndexEntry:
        """The dataset, if it is what was labelled.

        The labeller's own records may change: their keys are of what they hold. Another account
        could put anything into the place of a dataset that somebody has labelled.

        Raises:
            IntegrityError: It is of another account, and has been changed since.
        """
        own = parse_at_uri(self.uri).authority == self.label.authority
        if own or self.cid in (None, entry.cid):
            return entry
        raise IntegrityError(
            f"this record of another account was changed after {self.label} had labelled it: "
            f"expected {self.cid}, found {entry.cid}. Open it by its AT URI if you trust it",
            shard=self.uri,
        )


def find_label(reader: Reader, did: str, name: str, version: str | None = None) -> Labelled | None:
    """What an account's newest label of this name leads to.

    Labels with keys of ours count; where there are none, those of other tools.

    Args:
        reader: Access to the network.
        did: The account.
        name: The label's name.
        version: The label's version; None: any.
    """
    start = label_range(name) if version is None else label_rkey(name, version)
    ours = records_in(reader, did, NEWER_LABEL_COLLECTION, start)
    return _newest(ours, name, version) or _newest(
        foreign_records(reader, did, NEWER_LABEL_COLLECTION), name, version
    )


def _newest(records: Iterable[Record], name: str, version: str | None) -> Labelled | None:
    found: list[tuple[str, str, Labelled]] = []
    for record in records:
        value = record.value
        uri, created = value.get("datasetUri"), value.get("createdAt")
        matches = value.get("name") == name and version in (None, value.get("version"))
        if matches and isinstance(uri, str) and isinstance(created, str):
            cid = value.get("datasetCid")
            labelled = Labelled(uri, cid if isinstance(cid, str) else None, record.uri)
            found.append((created, uri, labelled))
    return max(found, key=lambda row: row[:2])[2] if found else None


def set_label(
    client: AtmosphereClient,
    name: str,
    version: str,
    entry: AtmosphereIndexEntry,
    *,
    move: bool = False,
) -> str:
    """Let a name and version lead to a dataset.

    Returns:
        The AT URI of the label's record.

    Raises:
        LabelExistsError: It leads to another dataset, and ``move`` is False.
        DatasetNameError: ``name`` cannot be one.
        SchemaRefError: ``version`` is not one.
    """
    rkey = label_rkey(check_name(name), str(Version.parse(version)))
    record = {
        "$type": NEWER_LABEL_COLLECTION,
        "name": name,
        "version": version,
        "datasetUri": entry.uri,
        "datasetCid": entry.cid,
        "createdAt": now(),
    }
    for _ in range(_TRIES):
        same_start = records_in(client, client.did, NEWER_LABEL_COLLECTION, rkey)
        # 1.0.1 is what 1.0.10 begins with.
        there = next((record for record in same_start if record.uri.rkey == rkey), None)
        if there is not None and there.value.get("datasetUri") == entry.uri:
            return str(there.uri)
        if there is not None and not move:
            raise LabelExistsError(
                f"{name}@{version} already leads to {there.value.get('datasetUri')}. Choose "
                "another version, or pass move=True. Nothing was changed."
            )
        replaces = None if there is None else there.cid
        try:
            written = client.put_record(NEWER_LABEL_COLLECTION, rkey, record, replaces=replaces)
            return str(written.uri)
        except XrpcError as error:
            if error.code != "InvalidSwap":
                raise
    raise AtmosphereError(f"The label {name}@{version} is changed by others again and again.")
