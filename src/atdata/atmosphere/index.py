"""AtmosphereIndex: the datasets and schemas of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from atdata._protocols import AbstractDataStore, Packable
from atdata._refs import known_name, reference
from atdata._secrets import redacted
from atdata._shardlist import Layout
from atdata._warnings import warn
from atdata.atmosphere.discover import accounts
from atdata.atmosphere.entry import AtmosphereIndexEntry, age
from atdata.atmosphere.find_dataset import find_dataset, find_newest, uri_of_dataset
from atdata.atmosphere.labels import set_label
from atdata.atmosphere.lenses import Code, LensEntry, list_lenses, publish_lens
from atdata.atmosphere.manifest import ObjectPlace, as_far_as_known, followed
from atdata.atmosphere.metadata import pack_metadata
from atdata.atmosphere.parsing import list_entries
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
from atdata.atmosphere.unpublish import Unpublished, unpublish
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import refuse_secret
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    AtdataError,
    AtdataWarning,
    AtmosphereError,
    OptionError,
    RecordError,
)
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import (
    PlacedShards,
    Sharding,
    check_as_stored,
    check_has_store,
    check_insertable,
    check_is_store,
    check_schema_fits,
    leave_in_place,
    s3_address,
    write_to_store,
)
from atdata.lenses.lens import Lens
from atdata.samples.dict_sample import DictSample
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of


class AtmosphereIndex:
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
        check_is_store(data_store, "PDSBlobStore(client)")
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
        layout: Layout | None = None,
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        license: str | None = None,
    ) -> AtmosphereIndexEntry:
        """Publish a dataset; with a data store, write every sample there first.

        The arguments are those of `AbstractIndex.insert_dataset`; ``schema_ref`` is an AT URI, and
        ``layout`` is as for `LocalIndex.insert_dataset`. The
        same content under the same name gives the same URI. Other content is a new record next to
        the old one, and becomes what the name means.

        Raises:
            AuthenticationError: Not logged in, or the session has expired.
            DatasetNameError: ``name`` cannot be one.
            PrivateUrlError: A shard that others cannot read.
            SecretUrlError: A shard's URL, or one in the description or metadata, carries a secret.
            SchemaConflictError: The schema does not describe the samples.
            AtmosphereError: A server fails; no record was written, and trying again resumes.
        """
        sharding = Sharding(prefix, maxcount, maxsize, layout)
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
            Publication(
                spec, schema_uri, placed, object_place=ObjectPlace.next_to(placed.shards, store)
            ),
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
        """The dataset that an AT URI names, or the newest of a name.

        Args:
            ref: ``at://…``, ``@handle/name``, or the name of a dataset of the account that is
                logged in. ``@handle/name@1.2.0`` is what this label leads to, else the
                newest with this version of the schema.

        Raises:
            DatasetNotFoundError: Not found.
            RecordError: The record is not a dataset's.
            IntegrityError: A label led to a record that its account has changed since.
            RefError: ``ref`` can be none of these.
            IdentityError: The handle does not resolve.
        """
        return find_dataset(self.client, ref)

    def list_datasets(self, repo: str | None = None) -> Iterator[AtmosphereIndexEntry]:
        """Every dataset of an account, its newest revision, in order of name.

        Malformed records are skipped. Where the shards of a dataset are in a manifest that cannot
        be read, they are missing.

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

        Read from each account's own server. Malformed records, and accounts that are gone or do
        not answer, are skipped.

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
            DatasetNotFoundError: Not found.
        """
        did = self.client.did
        named = [entry for entry in list_entries(self.client, did) if entry.name == name]
        if not named:
            find_newest(self.client, did, known_name(name), name)
        return [as_far_as_known(entry) for entry in sorted(named, key=age)]

    def delete_dataset(self, name: str) -> int:
        """Delete every record of a name of one's own. Blobs that only they reference go too.

        Returns:
            How many there were.

        Raises:
            DatasetNotFoundError: Not found.
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

        Arguments and errors are those of `AbstractIndex.publish_schema`.

        Returns:
            Its AT URI.

        Raises:
            AuthenticationError: Not logged in.
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
            SchemaNotFoundError: Not found.
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
        """The schema that an AT URI names, nested ones filled in. Errors as for `get_schema`."""
        return read_schema(self.client, ref)

    def decode_schema(self, ref: str) -> type[Packable]:
        """The sample type that a schema describes. Equal schemas give the same class.

        Raises:
            SchemaNotFoundError: Not found.
            SchemaError: The record is malformed.
            UnknownKindError: It has a kind that this version does not know; the data are
                readable as `DictSample`.
        """
        return build_type(read_schema(self.client, ref))

    def label(
        self, name: str, version: str, entry: AtmosphereIndexEntry | str, *, move: bool = False
    ) -> str:
        """Make ``@handle/name@version`` mean this dataset, whatever is published later.

        Args:
            name: 1 to 256 characters; mostly the dataset's own.
            version: ``major.minor.patch``.
            entry: The dataset, or its AT URI; of any account.
            move: Whether a label that leads elsewhere is moved.

        Returns:
            The AT URI of the label.

        Raises:
            LabelExistsError: It leads to another dataset, and ``move`` is False.
            DatasetNotFoundError: There is no such dataset.
            AuthenticationError: Not logged in.
        """
        # An entry may be of a record that was never written, or was deleted since.
        found = self.get_dataset(entry if isinstance(entry, str) else entry.uri)
        return set_label(self.client, name, version, found, move=move)

    def unpublish(self, ref: str) -> Unpublished:
        """Delete a dataset, schema, lens or label of one's own.

        Labels that lead to a dataset go with it. Copies that others have made stay. If it is
        interrupted, call it again.

        Args:
            ref: Its AT URI; or of a dataset its name or ``@handle/name``, which mean its newest
                revision. Older ones stay, and the name then means the newest of those.

        Returns:
            What was deleted, with the blobs that no other dataset of the account has.

        Raises:
            DatasetNotFoundError, SchemaNotFoundError: Not found.
            SchemaInUseError: A dataset, schema or lens of the account refers to this schema. Those
                of other accounts cannot be known.
            RefError: Not of the account that is logged in.
        """
        ref = reference(ref)
        if not ref.startswith("at://"):
            ref = uri_of_dataset(self.client, ref)
        return unpublish(self.client, ref)

    def publish_lens(
        self, lens: Lens[Any, Any], *, getter: Code, putter: Code, description: str | None = None
    ) -> LensEntry:
        """Publish a lens with the schemas of its two types. Its code is named, not sent.

        Args:
            lens: The lens.
            getter: Where people find the code that makes a view of a sample.
            putter: Where they find the code of the way back.
            description: What it is for.

        Raises:
            AuthenticationError: Not logged in.
            OptionError: The place of the code is empty.
            SecretUrlError: It carries a password or a token.
        """
        description = description or lens.__doc__
        # Before the schemas are published.
        code = {"getter": getter.to_record(), "putter": putter.to_record()}
        refuse_secret({**code, "description": description}, "$")
        return publish_lens(
            self.client,
            name=str(lens.name),
            source_schema=self.publish_schema(lens.source_type),
            target_schema=self.publish_schema(lens.view_type),
            getter=getter,
            putter=putter,
            description=description,
        )

    def list_lenses(
        self, repo: str | None = None, *, source: str | None = None, target: str | None = None
    ) -> Iterator[LensEntry]:
        """The lenses of an account; malformed ones are skipped.

        The code that they name is for people to read.

        Args:
            repo: Handle or DID; None: the account that is logged in.
            source: AT URI of a schema: only lenses that see it.
            target: AT URI of a schema: only lenses that see something as it.
        """
        did = self.client.did if repo is None else self.client.did_of(repo)
        return list_lenses(self.client, did, source=source, target=target)

    def __repr__(self) -> str:
        store = f", data_store={self.data_store!r}" if self.data_store is not None else ""
        return redacted(f"AtmosphereIndex({self.client!r}{store})")
