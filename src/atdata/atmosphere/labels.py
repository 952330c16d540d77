"""Labels: versions of a dataset's name, each a record that points to one dataset.

They are records of the newer family, the only one that has any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atdata._refs import ALT_LABEL_COLLECTION, AtUri, Version, check_name, parse_at_uri
from atdata._secrets import redacted_repr
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.key_ranges import foreign_records, records_in
from atdata.atmosphere.record_keys import label_range, label_rkey
from atdata.atproto.client import AtmosphereClient, put_if_unchanged
from atdata.atproto.data_model import now
from atdata.atproto.reader import Reader, Record
from atdata.errors import AtmosphereError, IntegrityError, LabelExistsError, RefError

_MAX_TRIES: Final = 10


@redacted_repr
@dataclass(frozen=True)
class Labelled:
    """The dataset that a label leads to."""

    uri: str
    cid: str | None
    """Of the record that was labelled."""
    label: AtUri

    def leads_to(self, entry: AtmosphereIndexEntry) -> bool:
        """Whether it leads to this dataset, as its record is now."""
        return self.uri == entry.uri and (self._is_own or self.cid in (None, entry.cid))

    @property
    def _is_own(self) -> bool:
        return parse_at_uri(self.uri).authority == self.label.authority

    def check(self, entry: AtmosphereIndexEntry) -> AtmosphereIndexEntry:
        """The dataset, if it is what was labelled.

        The labeller's own records may change: their keys are of what they hold. Another account
        could put anything into the place of a dataset that somebody has labelled.

        Raises:
            IntegrityError: It is of another account, and has been changed since.
        """
        if self._is_own or self.cid in (None, entry.cid):
            return entry
        raise IntegrityError(
            f"this record of another account was changed after {self.label} had labelled it: "
            f"expected {self.cid}, found {entry.cid}. Open it by its AT URI if you trust it",
            shard=self.uri,
        )


def find_label(reader: Reader, did: str, name: str, version: str | None = None) -> Labelled | None:
    """What an account's newest label of this name, and version if one is given, leads to.

    Labels with keys of ours count; where there are none, those of other tools.
    """
    start = label_range(name) if version is None else label_rkey(name, version)
    ours = records_in(reader, did, ALT_LABEL_COLLECTION, start)
    return _newest(ours, name, version) or _newest(
        foreign_records(reader, did, ALT_LABEL_COLLECTION), name, version
    )


def label_versions(reader: Reader, did: str, name: str) -> list[str]:
    """The versions that an account's labels of this name have, in order."""
    ours = records_in(reader, did, ALT_LABEL_COLLECTION, label_range(name))
    found: set[Version] = set()
    for record in (*ours, *foreign_records(reader, did, ALT_LABEL_COLLECTION)):
        try:
            if record.value.get("name") == name:
                found.add(Version.parse(record.value["version"]))
        except (KeyError, RefError):
            continue
    return [str(version) for version in sorted(found)]


def _newest(records: Iterable[Record], name: str, version: str | None) -> Labelled | None:
    found: list[tuple[str, str, Labelled]] = []
    for record in records:
        created, labelled = record.value.get("createdAt"), _labelled(record)
        says = record.value.get("name"), record.value.get("version")
        matches = says[0] == name and version in (None, says[1])
        if matches and labelled is not None and isinstance(created, str):
            found.append((created, labelled.uri, labelled))
    return max(found, key=lambda row: row[:2])[2] if found else None


def _labelled(record: Record) -> Labelled | None:
    uri, cid = record.value.get("datasetUri"), record.value.get("datasetCid")
    if not isinstance(uri, str):
        return None
    return Labelled(uri, cid if isinstance(cid, str) else None, record.uri)


def set_label(
    client: AtmosphereClient,
    name: str,
    version: str,
    entry: AtmosphereIndexEntry,
    *,
    move: bool,
) -> str:
    """See `AtmosphereIndex.label`."""
    rkey = label_rkey(check_name(name), str(Version.parse(version)))
    record = {
        "$type": ALT_LABEL_COLLECTION,
        "name": name,
        "version": version,
        "datasetUri": entry.uri,
        "datasetCid": entry.cid,
        "createdAt": now(),
    }
    for _ in range(_MAX_TRIES):
        same_start = records_in(client, client.did, ALT_LABEL_COLLECTION, rkey)
        # 1.0.1 is what 1.0.10 begins with.
        existing = next((record for record in same_start if record.uri.rkey == rkey), None)
        current = None if existing is None else _labelled(existing)
        if current is None and not move:
            # Ours would come before the one that another tool has set, and so take its place.
            foreign = foreign_records(client, client.did, ALT_LABEL_COLLECTION)
            current = _newest(foreign, name, version)
        if current is not None and current.leads_to(entry):
            return str(current.label)
        if (current is not None or existing is not None) and not move:
            target = current.uri if current else "something else"
            raise LabelExistsError(
                f"{name}@{version} already leads to {target}. "
                "Choose another version, or pass move=True. Nothing was changed."
            )
        at = AtUri(client.did, ALT_LABEL_COLLECTION, rkey)
        replaces = None if existing is None else existing.cid
        if put_if_unchanged(client, at, record, replaces=replaces):
            return str(at)
    raise AtmosphereError(f"The label {name}@{version} is changed by others again and again.")
