"""AtmosphereIndex: the datasets and schemas of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from atdata._protocols import AbstractDataStore, Packable
from atdata._refs import (
    DATASET_COLLECTION,
    NEWER_DATASET_COLLECTION,
    NameRef,
    account_of,
    known_name,
    parse_at_uri,
    parse_name_ref,
    reference,
)
from atdata._secrets import redacted
from atdata._warnings import warn
from atdata.atmosphere.curation import Curation
from atdata.atmosphere.discover import accounts
from atdata.atmosphere.entry import AtmosphereIndexEntry, age
from atdata.atmosphere.labels import find_label, label_versions
from atdata.atmosphere.manifest import Shelf, as_far_as_known, followed
from atdata.atmosphere.parsing import entries_of, list_entries, read_entry
from atdata.atmosphere.publicity import check_public, check_store, name_warning
from atdata.atmosphere.publish import Publication, publish_dataset
from atdata.atmosphere.schemas import (
    SchemaRecord,
    list_schema_records,
    parsed_schema,
    publish_next,
    publish_schema,
    read_schema,
    schema_record,
)
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import pack_metadata
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    AtdataError,
    AtdataWarning,
    AtmosphereError,
    DatasetNotFoundError,
    NotFoundError,
    OptionError,
    RecordError,
    RefError,
)
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.did_you_mean import did_you_mean
from atdata.indexing.placement import (
    PlacedShards,
    Sharding,
    check_as_stored,
    check_has_store,
    check_insertable,
    check_schema_fits,
    leave_in_place,
    s3_address,
    write_to_store,
)
from atdata.samples.dict_sample import DictSample
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of

_LOOKED_AT: Final = 1_000
"""Datasets of an account whose names are compared with one that is not there."""


class AtmosphereIndex(Curation):
    """Datasets by AT URI and by name, those of any account; and one's own to publish.

    Reading needs no login. Every call asks the servers: nothing is kept.

    Args:
        client: Access to the network.
        data_store: Where `insert_dataset` writes shards; None: it records the URLs as they are.
    """

    def __init__(
        self, client: AtmosphereClient, *, data_store: AbstractDataStore | None = None
    ) -> None:
        if not isinstance(client, AtmosphereClient):
            raise OptionError(
                f"Expected an AtmosphereClient, found {type(client).__name__}. Make one with "
                "AtmosphereClient() and client.login(handle, password)."
            )
        if data_store is not None and not isinstance(data_store, AbstractDataStore):
            raise OptionError(
                f"data_store: expected a store such as PDSBlobStore(client), found "
                f"{type(data_store).__name__}."
            )
        self.client = client
        self.data_store = data_store

    def insert_dataset(
        self,
        ds: Dataset[Any],
        *,
        name: str,
        schema_ref: str | None = None,
        prefix: str | None = None,
        maxcount: int | None = None,
        maxsize: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        license: str | None = None,
    ) -> AtmosphereIndexEntry:
        """Publish a dataset; with a data store, write every sample there first.

        The record is written last. The same content under the same name gives the same URI.
        Other content is a new record next to the old one, and becomes what the name means.
        Description, tags, licence and metadata stay as they are in the newest record of the
        name unless they are given; an empty one (``""``, ``[]``, ``{}``) clears it.

        Args:
            ds: The dataset. Without a data store it must be as stored: no filter, map or
            lens, and no rank's part.
            name: 1 to 256 characters.
            schema_ref: AT URI of the samples' schema; None: that of ``ds.sample_type``,
                published with ``version=None``.
            prefix: Path in the store below which shards are placed; None: one of the name.
            maxcount: Most samples in a shard; for the store.
            maxsize: Most bytes in a shard; for the store.
            metadata: Whatever should be kept with it: None, bool, int, float, str, bytes, lists
                and dicts with str keys.
            description: What it is.
            tags: At most 30 words to find it by.
            license: SPDX identifier, for example ``MIT``.

        Raises:
            AuthenticationError: Not logged in, or the session has expired.
            DatasetNameError: ``name`` cannot be one.
            PrivateUrlError: A shard that others cannot read.
            SecretUrlError: A shard's URL, or one in what is said of it, carries a secret.
            SchemaConflictError: The schema does not describe the samples.
            AtmosphereError: A server fails; no record was written, and trying again goes on.
        """
        sharding = Sharding(prefix, maxcount, maxsize)
        spec = DatasetSpec(name, description, tags, license, metadata).checked()
        if spec.metadata is not None:
            pack_metadata(spec.metadata)  # refuses what is too large, before anything is written
        check_insertable(ds)
        store = self.data_store
        if store is None:
            in_place = self._in_place(ds, name, sharding)
        else:
            check_store(store, self.client)
        self.client.check_session()
        schema_uri = self._schema_uri(ds, schema_ref)

        def written() -> PlacedShards:
            if store is None:
                return in_place
            placed = write_to_store(store, ds, sharding, name=name, schema_ref=schema_uri)
            check_public([shard.url for shard in placed.shards], endpoint=placed.endpoint)
            return placed

        placed = written()
        return publish_dataset(
            self.client,
            Publication(spec, schema_uri, placed, shelf=Shelf.beside(placed.shards, store)),
            resend=None if store is None else lambda: written().shards,
        )

    def _in_place(self, ds: Dataset[Any], name: str, sharding: Sharding) -> PlacedShards:
        """The shards where they are, if others can read them there."""
        check_has_store(
            None, sharding, make="AtmosphereIndex(client, data_store=PDSBlobStore(client))"
        )
        check_as_stored(ds, name)
        endpoint, _ = s3_address(ds)
        check_public(ds.shard_list, endpoint=endpoint)
        return leave_in_place(ds)

    def _schema_uri(self, ds: Dataset[Any], ref: str | None) -> str:
        """The reference that a record gets; the schema agrees with the dataset's type."""
        if ref is None:
            return self.publish_schema(ds.sample_type)
        record = schema_record(self.client, ref)
        if ds.sample_type is not DictSample:
            check_schema_fits(ds, parsed_schema(self.client, record), ref)
        return str(record.uri)

    def get_dataset(self, ref: str) -> AtmosphereIndexEntry:
        """The dataset behind an AT URI, or the newest of a name.

        Args:
            ref: ``at://…``, ``@handle/name``, or the name of a dataset of the account that is
                logged in. ``@handle/name@1.2.0`` is what this label leads to, else the
                newest with this version of the schema.

        Raises:
            DatasetNotFoundError: There is none.
            RecordError: The record is not a dataset's.
            IntegrityError: A label led to a record that its account has changed since.
            RefError: ``ref`` can be none of these.
            IdentityError: The handle does not resolve.
        """
        if not isinstance(ref, str):
            raise RefError(f"A dataset is named by a str, not by {type(ref).__name__}.")
        ref = reference(ref)
        if ref.startswith("at://"):
            return self._at(ref)
        if not ref.startswith("@"):
            return self._newest(self.client.did, known_name(ref), ref)
        parsed = parse_name_ref(ref)
        if parsed.owner == "local":
            raise RefError(
                f"{ref!r} is a dataset of a local index, not of the network. "
                f"LocalIndex().get_dataset({ref!r}) finds it."
            )
        did = self.client.did_of(parsed.owner)
        if parsed.version is not None:
            if labelled := find_label(self.client, did, parsed.name, parsed.version):
                return labelled.check(self._at(labelled.uri))
            named = entries_of(self.client, did, parsed.name)
            versions: list[str] = []
            for entry in sorted(named, key=age, reverse=True):
                versions.append(self.schema_of_ref(entry.schema_ref).version)
                if versions[-1] == parsed.version:
                    return followed(entry)
            # The version may be the end of a name.
            try:
                return self._newest(did, f"{parsed.name}@{parsed.version}", ref)
            except DatasetNotFoundError:
                raise self._no_version(did, ref, parsed, versions) from None
        return self._newest(did, parsed.name, ref)

    def _uri_of(self, ref: str) -> str:
        did, name = self.client.did, ref
        if ref.startswith("@"):
            parsed = parse_name_ref(ref)
            if parsed.owner == "local" or parsed.version is not None:
                return self.get_dataset(ref).uri
            did, name = self.client.did_of(parsed.owner), parsed.name
        found = entries_of(self.client, did, known_name(name))
        # Without its manifest: what cannot be read can be taken back.
        return max(found, key=age).uri if found else self.get_dataset(ref).uri

    def _at(self, ref: str) -> AtmosphereIndexEntry:
        uri = parse_at_uri(ref)
        if uri.collection not in (DATASET_COLLECTION, NEWER_DATASET_COLLECTION):
            raise RefError(f"{ref!r} is not a dataset: its collection is not {DATASET_COLLECTION}.")
        try:
            record = self.client.get_record(uri)
        except NotFoundError as error:
            raise DatasetNotFoundError(f"There is no dataset {ref}.") from error
        return followed(read_entry(record))

    def _newest(self, did: str, name: str, ref: str) -> AtmosphereIndexEntry:
        found = entries_of(self.client, did, name)
        if not found and (labelled := find_label(self.client, did, name)):
            return labelled.check(self._at(labelled.uri))
        if not found:
            raise self._not_found(did, name, ref)
        return followed(max(found, key=age))

    def _not_found(self, did: str, name: str, ref: str) -> DatasetNotFoundError:
        owner = account_of(ref.partition("/")[0]) if ref.startswith("@") else self.client.handle
        named: set[str] = set()
        with suppress(AtmosphereError):
            named.update(e.name for e in islice(list_entries(self.client, did), _LOOKED_AT))
        hint = did_you_mean(name, named)
        return DatasetNotFoundError(
            f"{owner} has published no dataset {name!r}. {hint}index.list_datasets({owner!r}) "
            "shows all."
        )

    def _no_version(
        self, did: str, ref: str, parsed: NameRef, schemas: list[str]
    ) -> DatasetNotFoundError:
        labels = label_versions(self.client, did, parsed.name)
        if not labels and not schemas:
            return self._not_found(did, parsed.name, ref)
        return DatasetNotFoundError(
            f"{ref}: {parsed.name!r} of {parsed.owner} has no version {parsed.version}. "
            + (f"Its labels: {', '.join(labels)}. " if labels else "It has no labels. ")
            + (f"Versions of its schema: {', '.join(sorted(set(schemas)))}. " if schemas else "")
            + f"@{parsed.owner}/{parsed.name} is the newest."
        )

    def list_datasets(self, repo: str | None = None) -> Iterator[AtmosphereIndexEntry]:
        """Every dataset of an account, its newest revision, in order of name.

        Records that make no sense are passed over. Where a dataset has its shards in a manifest
        that cannot be read, they are missing.

        Args:
            repo: Handle or DID; None: the account that is logged in.
        """
        did = self.client.did if repo is None else self.client.did_of(repo)
        newest: dict[str, AtmosphereIndexEntry] = {}
        for entry in list_entries(self.client, did):
            if entry.name not in newest or age(entry) > age(newest[entry.name]):
                newest[entry.name] = entry
        return (as_far_as_known(newest[name]) for name in sorted(newest))

    def discover(self, server: str) -> Iterator[AtmosphereIndexEntry]:
        """Every dataset of all accounts of a server, or that a relay knows of.

        Read from each account's own server. Records that make no sense, and accounts that are
        gone or do not answer, are passed over.

        Args:
            server: URL of a server or relay.

        Raises:
            AtmosphereError: It cannot be reached or refuses.
        """
        for did in accounts(server):
            # One by one: an account may have more than there is room for.
            with suppress(AtmosphereError, RecordError):
                for entry in list_entries(self.client, did):
                    with suppress(AtdataError):
                        yield followed(entry)

    def history(self, name: str) -> list[AtmosphereIndexEntry]:
        """Every revision of a name of the account that is logged in, oldest first.

        Raises:
            DatasetNotFoundError: There is none.
        """
        did = self.client.did
        named = [entry for entry in list_entries(self.client, did) if entry.name == name]
        if not named:
            self._newest(did, known_name(name), name)
        return [as_far_as_known(entry) for entry in sorted(named, key=age)]

    def delete_dataset(self, name: str) -> int:
        """Delete every record of a name of one's own. Blobs that only they reference go too.

        Returns:
            How many there were.

        Raises:
            DatasetNotFoundError: There is none.
        """
        found = self.history(name)
        for entry in found:
            self.unpublish(entry.uri)
        return len(found)

    def publish_schema(
        self,
        sample_type: type | Schema,
        *,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish the schema of a sample type, those of nested types first.

        Where a schema with the same fields is there under this version, its URI is returned
        and nothing changes, description and metadata included.

        Args:
            sample_type: A packable class, or a Schema, whose version counts where none is given.
            version: ``major.minor.patch``. None: the latest version where its fields agree,
                else the next one: minor where only optional fields were added, else major.
            description: What the samples are.
            metadata: Whatever should be kept with it; JSON without floats.

        Returns:
            Its AT URI.

        Raises:
            AuthenticationError: Not logged in.
            SampleTypeError: Not a packable class, or `DictSample`.
            SchemaConflictError: The version is there with other fields; shows the difference.
            SchemaRefError: ``version`` is not one.
        """
        if isinstance(sample_type, Schema):
            schema, version = sample_type, version or sample_type.version
        else:
            schema = schema_of(sample_type)
        if warning := name_warning(schema.name):
            warn(AtdataWarning(warning))
        if description is not None:
            schema = replace(schema, description=description)
        if metadata is not None:
            schema = replace(schema, metadata=metadata)
        if version is None:
            return publish_next(self.client, schema)
        return publish_schema(self.client, schema.with_version(version))

    def get_schema(self, ref: str) -> SchemaRecord:
        """The record of a schema: a dict with ``name``, ``version``, ``fields``; and ``.ref``.

        Raises:
            SchemaNotFoundError: There is none.
            SchemaRefError: Not the AT URI of a schema.
        """
        return SchemaRecord(schema_record(self.client, ref))

    def list_schemas(self, repo: str | None = None) -> Iterator[SchemaRecord]:
        """Every schema's record of an account.

        Args:
            repo: Handle or DID; None: the account that is logged in.
        """
        did = self.client.did if repo is None else self.client.did_of(repo)
        return list_schema_records(self.client, did)

    def schema_of_ref(self, ref: str) -> Schema:
        """The schema behind an AT URI, nested ones filled in. Errors as for `get_schema`."""
        return read_schema(self.client, ref)

    def decode_schema(self, ref: str) -> type[Packable]:
        """The sample type that a schema describes. Equal schemas give the same class.

        Raises:
            SchemaNotFoundError: There is none.
            SchemaError: The record makes no sense.
            UnknownKindError: It has a kind that this version does not know; the data are
                readable as `DictSample`.
        """
        return build_type(read_schema(self.client, ref))

    def __repr__(self) -> str:
        store = f", data_store={self.data_store!r}" if self.data_store is not None else ""
        return redacted(f"AtmosphereIndex({self.client!r}{store})")
