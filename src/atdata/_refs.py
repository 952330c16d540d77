"""Every reference syntax, parsed and printed.

========================  ===================================================
local schema              ``atdata://local/sampleSchema/{Class}@{version}``
legacy local schema       ``local://schemas/{[module.]Class}@{version}``, read only
network record            ``at://{did or handle}/{collection}/{rkey}``
blob shard                ``at://{did}/blob/{cid}``
dataset by name           ``@local/{name}``, ``@{handle}/{name}``, ``…@{version}``
========================  ===================================================
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from atdata._digest import RAW, blob_cid, cid_sha256
from atdata._secrets import redacted_repr
from atdata.errors import DatasetNameError, RefError, SchemaRefError

SCHEMA_COLLECTION: Final = "ac.foundation.dataset.sampleSchema"
DATASET_COLLECTION: Final = "ac.foundation.dataset.record"
LENS_COLLECTION: Final = "ac.foundation.dataset.lens"
SHARD_BLOBS_COLLECTION: Final = "ac.foundation.dataset.shardBlobs"
"""Records that keep the blobs of a dataset whose own record has no room to name them."""
ALT_SCHEMA_COLLECTION: Final = "science.alt.dataset.schema"
ALT_DATASET_COLLECTION: Final = "science.alt.dataset.entry"
ALT_LENS_COLLECTION: Final = "science.alt.dataset.lens"
ALT_LABEL_COLLECTION: Final = "science.alt.dataset.label"
"""The alt family of records, which is read, and written if a caller asks for it; lenses are only
read. A label gives a dataset's name a version."""
MAX_NAME_LENGTH: Final = 256
"""Longest dataset name, in characters."""

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
_RKEY = re.compile(r"[A-Za-z0-9._~:-]{1,512}")
# https://atproto.com/specs/did, https://atproto.com/specs/handle, https://atproto.com/specs/nsid
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,2000}(?<![:%])")
_HANDLE = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_NSID = re.compile(
    r"[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+"
)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A semantic version, ordered."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """``"1.2.3"`` → Version.

        Raises:
            SchemaRefError: Not three numbers with dots.
        """
        if not isinstance(text, str) or not (match := _VERSION.fullmatch(text)):
            raise SchemaRefError(
                f"{text!r} is not a version. Write major.minor.patch, for example '1.0.0'."
            )
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@redacted_repr
@dataclass(frozen=True, slots=True)
class LocalSchemaRef:
    """A schema of a local index."""

    class_name: str
    """The class's own name, without its module."""
    version: str

    def __str__(self) -> str:
        return f"atdata://local/sampleSchema/{self.class_name}@{self.version}"


@redacted_repr
@dataclass(frozen=True, slots=True)
class AtUri:
    """A record on the network."""

    authority: str
    """DID or handle of the account."""
    collection: str
    rkey: str

    def __str__(self) -> str:
        return f"at://{self.authority}/{self.collection}/{self.rkey}"


@redacted_repr
@dataclass(frozen=True, slots=True)
class BlobRef:
    """A shard that is a blob in an account's repository."""

    did: str
    cid: str

    @classmethod
    def of(cls, did: str, sha256: str) -> BlobRef:
        """The blob of an account whose bytes have this SHA-256, in hex."""
        return cls(did, blob_cid(sha256))

    @property
    def sha256(self) -> str:
        """Of its bytes, in hex."""
        return cid_sha256(self.cid)

    def __str__(self) -> str:
        return f"at://{self.did}/blob/{self.cid}"


@redacted_repr
@dataclass(frozen=True, slots=True)
class NameRef:
    """A dataset by name: ``@local/mnist``, ``@alice.example.com/mnist@1.0.0``."""

    owner: str
    """``local``, or a handle or DID."""
    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"@{self.owner}/{self.name}" + (f"@{self.version}" if self.version else "")


def pasted(text: str) -> str:
    """A reference without the spaces and invisible characters that copying adds around it.

    Web pages wrap handles in characters for the direction of text (U+202A, U+2068, …), and files
    may begin with U+FEFF.
    """
    start, end = 0, len(text)
    while start < end and _is_unseen(text[start]):
        start += 1
    while end > start and _is_unseen(text[end - 1]):
        end -= 1
    return text[start:end]


def reference(text: str) -> str:
    """`pasted` for ``@owner/name`` and AT URIs. Other text, a path or a name, is unchanged."""
    bare = pasted(text)
    if not bare.startswith(("@", "at://")):
        return text
    start = "@" if bare.startswith("@") else "at://"
    owner, slash, rest = bare.removeprefix(start).partition("/")
    plain = f"{start}{pasted(owner)}{slash}{rest}"
    return text if text == plain else plain  # a LocatedUrl knows its shards


def account_of(text: str) -> str:
    """A handle or DID as `pasted`, without a leading ``@``."""
    return pasted(pasted(text).removeprefix("@"))


def unseen_in(text: str) -> str:
    """A sentence about the first invisible character of a text, for errors; "" if there is none."""
    for char in text:
        if _is_unseen(char) and char != " ":
            name = unicodedata.name(char, "a control character")
            return f" It has the invisible character U+{ord(char):04X} ({name}): type it again."
    return ""


def _is_unseen(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cf", "Cc")


def is_did(text: str) -> bool:
    """Whether ``text`` has the form of a DID."""
    return len(text) <= 2048 and _DID.fullmatch(text) is not None


def is_handle(text: str) -> bool:
    """Whether ``text`` has the form of a handle, a domain name."""
    return len(text) <= 253 and _HANDLE.fullmatch(text) is not None


def is_email(text: str) -> bool:
    """Whether ``text`` has the form of an e-mail address."""
    user, at, host = text.rpartition("@")
    return bool(user and at) and not any(map(_is_unseen, user)) and is_handle(host)


def is_rkey(text: str) -> bool:
    """Whether ``text`` may be a record key."""
    return _RKEY.fullmatch(text) is not None and text not in (".", "..")


def parse_schema_ref(ref: str) -> LocalSchemaRef | AtUri:
    """Parse a schema reference, local (new or legacy) or of the network.

    Raises:
        SchemaRefError: It has none of the known forms, which the message lists.
    """
    text = str(ref)
    if text.startswith("at://"):
        try:
            return parse_at_uri(text)
        except RefError as error:
            raise SchemaRefError(str(error)) from error
    for prefix in ("atdata://local/sampleSchema/", "local://schemas/"):
        if text.startswith(prefix):
            return _class_at_version(text.removeprefix(prefix), text)
    raise SchemaRefError(
        f"{text!r} is not a schema reference. Write "
        "'atdata://local/sampleSchema/Name@1.0.0' or 'at://did:plc:…/"
        f"{SCHEMA_COLLECTION}/…'. index.list_schemas() shows what is published."
    )


def _class_at_version(body: str, whole: str) -> LocalSchemaRef:
    qualified, at, version = body.rpartition("@")
    if not at:
        raise SchemaRefError(
            f"{whole!r} has no version. Write name@major.minor.patch, for example "
            f"'{body or 'Name'}@1.0.0'. index.list_schemas() shows what is published."
        )
    class_name = qualified.rpartition(".")[2]
    if not class_name.isidentifier():
        raise SchemaRefError(f"{whole!r}: {class_name!r} is not the name of a class.")
    return LocalSchemaRef(class_name, str(Version.parse(version)))


def parse_at_uri(uri: str) -> AtUri:
    """Parse ``at://authority/collection/rkey``.

    Raises:
        RefError: It has another form; the message says which part is wrong.
    """
    parts = str(uri).removeprefix("at://").split("/")
    if not str(uri).startswith("at://") or len(parts) != 3:
        raise RefError(f"{uri!r} is not an AT URI. Write at://did/collection/rkey.")
    authority, collection, rkey = parts
    if not (is_did(authority) or is_handle(authority)):
        raise RefError(
            f"{uri!r}: {authority!r} is neither a DID nor a handle.{unseen_in(authority)}"
        )
    if len(collection) > 317 or not _NSID.fullmatch(collection):
        raise RefError(f"{uri!r}: {collection!r} is not the name of a collection.")
    if not is_rkey(rkey):
        raise RefError(f"{uri!r}: {rkey!r} is not a record key.")
    return AtUri(authority, collection, rkey)


def parse_blob_ref(url: str) -> BlobRef:
    """Parse ``at://did/blob/cid``.

    Raises:
        RefError: Another form, or a CID that is not one of raw bytes.
    """
    parts = str(url).removeprefix("at://").split("/")
    if not str(url).startswith("at://") or len(parts) != 3 or parts[1] != "blob":
        raise RefError(f"{url!r} is not a blob reference. Write at://did/blob/cid.")
    if not is_did(parts[0]):
        raise RefError(f"{url!r}: {parts[0]!r} is not a DID.")
    cid_sha256(parts[2], codec=RAW)
    return BlobRef(parts[0], parts[2])


def parse_name_ref(ref: str) -> NameRef:
    """Parse ``@local/name``, ``@handle/name`` or ``@did/name``, each with an optional version.

    Raises:
        RefError: Another form.
        DatasetNameError: The name is not allowed.
    """
    text = pasted(str(ref))
    owner, slash, rest = text.partition("/")
    if not text.startswith("@") or not slash:
        raise RefError(f"{ref!r} is not a dataset by name. Write @local/name or @handle/name.")
    owner = account_of(owner)
    if owner != "local" and not (is_did(owner) or is_handle(owner)):
        raise RefError(
            f"{ref!r}: {owner!r} is neither 'local' nor a handle nor a DID.{unseen_in(owner)}"
        )
    name, version = split_version(rest)
    return NameRef(owner, known_name(name), version)


def split_version(text: str) -> tuple[str, str | None]:
    """``name@1.0.0`` → the name and the version; the whole text and None if it ends with none."""
    name, at, version = text.rpartition("@")
    return (name, version) if at and _VERSION.fullmatch(version) else (text, None)


def check_name(name: str) -> str:
    """A name, unchanged, if a new dataset may have it.

    Raises:
        DatasetNameError: `known_name` refuses it; or it has an invisible character; or it ends with
            a version, so that references would mean another dataset, or none.
    """
    known_name(name)
    if bad := [char for char in name if unicodedata.category(char) == "Cf"]:
        raise DatasetNameError(f"The dataset's name {name!r} cannot be typed.{unseen_in(bad[0])}")
    start, version = split_version(name)
    if version is not None:
        raise DatasetNameError(
            f"The dataset's name {name!r} ends with a version, as a label of {start!r} would be "
            f"named. Insert it under another name; index.label({start!r}, {version!r}, entry) "
            "gives it a version."
        )
    return name


def known_name(name: str) -> str:
    """A name, unchanged, if an existing dataset may have it.

    Raises:
        DatasetNameError: It is empty, over MAX_NAME_LENGTH characters, has control characters,
            begins or ends with a space, begins with ``@``, or looks like a URL.
    """
    hint = "A name has 1 to 256 characters, none of them control characters."
    if not isinstance(name, str):
        raise DatasetNameError(f"A dataset's name is a str, not {type(name).__name__}. {hint}")
    if not name.strip():
        raise DatasetNameError(f"The dataset's name is empty. {hint}")
    if len(name) > MAX_NAME_LENGTH:
        raise DatasetNameError(f"The dataset's name has {len(name)} characters. {hint}")
    if bad := [c for c in name if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]:
        raise DatasetNameError(
            f"The dataset's name {name!r} has the character U+{ord(bad[0]):04X}. {hint}"
        )
    if name != name.strip():
        raise DatasetNameError(f"The dataset's name {name!r} begins or ends with a space.")
    if name.startswith("@") or "://" in name:
        raise DatasetNameError(
            f"{name!r} reads as a reference, not as a name; leave out '@' and '://'."
        )
    return name
