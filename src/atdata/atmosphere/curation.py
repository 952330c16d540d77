"""What one does with published datasets beside finding them: labels, lenses, taking back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from atdata._refs import reference
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.labels import set_label
from atdata.atmosphere.lenses import Code, LensEntry, list_lenses, publish_lens
from atdata.atmosphere.unpublish import Unpublished, unpublish
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import refuse_secret
from atdata.lenses.lens import Lens


class Curation(ABC):
    """The part of `AtmosphereIndex` that is about what is published already."""

    client: AtmosphereClient

    @abstractmethod
    def get_dataset(self, ref: str) -> AtmosphereIndexEntry:
        """The dataset behind a reference."""

    @abstractmethod
    def _uri_of(self, ref: str) -> str:
        """The AT URI of the dataset that a name means, whether its shards can be named or not."""

    @abstractmethod
    def publish_schema(self, sample_type: type) -> str:
        """The AT URI of a type's schema, published if it is not there."""

    def label(
        self, name: str, version: str, entry: AtmosphereIndexEntry | str, *, move: bool = False
    ) -> str:
        """Let ``@handle/name@version`` mean this dataset, whatever is published later.

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

        Labels that lead to a dataset go with it. Who has read it has it still.

        Args:
            ref: Its AT URI; or of a dataset its name or ``@handle/name``, which mean its newest
                revision. Older ones stay, and the name then means the newest of those.

        Returns:
            What is gone, with the blobs that no other dataset of the account has.

        Raises:
            DatasetNotFoundError, SchemaNotFoundError: There is none.
            SchemaInUseError: Something of the account refers to this schema.
            RefError: Not of the account that is logged in.
        """
        ref = reference(ref)
        if not ref.startswith("at://"):
            ref = self._uri_of(ref)
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
        said = {"getter": getter.to_record(), "putter": putter.to_record()}
        refuse_secret({**said, "description": description}, "$")
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
        """The lenses of an account. The code that they name is for people to read.

        Args:
            repo: Handle or DID; None: the account that is logged in.
            source: AT URI of a schema: only lenses that see it.
            target: AT URI of a schema: only lenses that see something as it.
        """
        did = self.client.did if repo is None else self.client.did_of(repo)
        return list_lenses(self.client, did, source=source, target=target)
