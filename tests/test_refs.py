"""Every reference syntax: what is taken, what is refused, and that printing gives it back."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata._digest import DAG_CBOR, RAW, blob_cid, cid_sha256, record_cid
from atdata._refs import (
    AtUri,
    BlobRef,
    LocalSchemaRef,
    NameRef,
    Version,
    account_of,
    check_name,
    is_did,
    is_handle,
    is_rkey,
    known_name,
    parse_at_uri,
    parse_blob_ref,
    parse_name_ref,
    parse_schema_ref,
    reference,
)
from atdata.atmosphere import AtmosphereClient
from atdata.errors import DatasetNameError, IdentityError, RefError, SchemaRefError
from atdata.net.identity import resolve_handle

BLOB = blob_cid(hashlib.sha256(b"hello").hexdigest())


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("atdata://local/sampleSchema/Image@1.0.0", LocalSchemaRef("Image", "1.0.0")),
        ("local://schemas/my.module.Image@1.2.3", LocalSchemaRef("Image", "1.2.3")),
        ("local://schemas/Image@1.2.3", LocalSchemaRef("Image", "1.2.3")),
        (
            "at://did:plc:abc123/ac.foundation.dataset.sampleSchema/m.Image:1.0.0",
            AtUri("did:plc:abc123", "ac.foundation.dataset.sampleSchema", "m.Image:1.0.0"),
        ),
    ],
)
def test_schema_references(text: str, parsed: LocalSchemaRef | AtUri) -> None:
    """Local, legacy and network schema references are all read."""
    assert parse_schema_ref(text) == parsed
    if not text.startswith("local://"):
        assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "mnist", "atdata://local/sampleSchema/Image", "local://schemas/Image@1"),
        *("atdata://local/sampleSchema/@1.0.0", "atdata://local/sampleSchema/a b@1.0.0"),
        *("at://did:plc:abc/x", "at://nobody/a.b.c/r", "at://did:plc:abc/a.b.c/.", "at://"),
        *("at://did:plc:abc/a.b.c/a@b", "atdata://local/sampleSchema/Image@01.0.0"),
    ],
)
def test_malformed_schema_references_are_refused(text: str) -> None:
    """A malformed reference is a ValueError of ours that says what to write."""
    with pytest.raises(SchemaRefError):
        parse_schema_ref(text)


def test_a_missing_version_is_named() -> None:
    """The commonest mistake gets the fix in the message."""
    with pytest.raises(SchemaRefError, match=r"has no version.*'Image@1\.0\.0'"):
        parse_schema_ref("atdata://local/sampleSchema/Image")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("@local/mnist", NameRef("local", "mnist")),
        ("@alice.example.com/mnist@1.0.0", NameRef("alice.example.com", "mnist", "1.0.0")),
        ("@did:plc:abc/a b/c", NameRef("did:plc:abc", "a b/c")),
        ("@local/me@home", NameRef("local", "me@home")),
    ],
)
def test_names(text: str, parsed: NameRef) -> None:
    """Datasets by name, with and without a version, are read and printed back."""
    assert parse_name_ref(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize("name", ["", "  ", " x", "a\nb", "a\0", "x" * 257, "@a", "s3://b", 3])
def test_bad_names_are_refused(name: str) -> None:
    """Empty, long, control characters and things that read as references are no names."""
    for check in (check_name, known_name):
        with pytest.raises(DatasetNameError):
            check(name)


@pytest.mark.parametrize(
    "char", ["\u200b", "\u202e", "\u2068", "\ufeff", "\u00ad", "\u2028", "\x85"]
)
@pytest.mark.parametrize("form", ["{}ab", "a{}b", "ab{}"])
def test_a_new_name_has_no_character_that_nobody_sees(char: str, form: str) -> None:
    """The error names the character, by its number too."""
    with pytest.raises(DatasetNameError, match=f"U\\+{ord(char):04X}"):
        check_name(form.format(char))


@given(st.text(st.characters() | st.sampled_from("@.0\u200b\u202e\ufeff"), max_size=12))
def test_a_new_name_is_what_its_reference_means(name: str) -> None:
    """Whatever may be given to a dataset is reached by @local/name, and by nothing else."""
    with suppress(DatasetNameError):
        ref = f"@local/{check_name(name)}"
        assert parse_name_ref(ref) == parse_name_ref(reference(ref)) == NameRef("local", name)
        assert parse_name_ref(f"{ref}@1.0.0") == NameRef("local", name, "1.0.0")


@pytest.mark.parametrize("name", ["d@1.0.0", "a b@0.0.12", "d@1.0.0@2.0.0"])
def test_a_new_name_does_not_end_as_a_label(name: str) -> None:
    """``@local/d@1.0.0`` would mean another dataset once ``d`` has this label."""
    with pytest.raises(DatasetNameError, match="ends with a version"):
        check_name(name)
    assert known_name(name) == name
    assert check_name(f"{name}-rc1") == f"{name}-rc1"


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No parser of references fails in another way than its own error."""
    for parse in (parse_schema_ref, parse_at_uri, parse_blob_ref, parse_name_ref, Version.parse):
        for value in (text, f"at://{text}", f"@local/{text}", f"at://did:plc:a/{text}"):
            with suppress(RefError):
                parse(value)


def test_identifiers_follow_their_specifications() -> None:
    """DIDs, handles and record keys: the legal ones pass, near misses do not."""
    assert all(map(is_did, ("did:plc:abc", "did:web:example.com", "did:web:localhost%3A80")))
    assert not any(map(is_did, ("did:", "did:plc:", "DID:plc:a", "did:plc:a:", "did:plc:a b")))
    assert all(map(is_handle, ("a.b", "alice.pds0.test", "xn--a.example")))
    assert not any(map(is_handle, ("a", ".b", "a.", "a_b.c", "a.1", "-a.b")))
    assert all(map(is_rkey, ("a", "m.C:1.0.0", "~", "self")))
    assert not any(map(is_rkey, ("", ".", "..", "a@b", "a/b", "x" * 513)))


def test_blob_references() -> None:
    """A blob reference names an account and the hash of the bytes."""
    ref = parse_blob_ref(f"at://did:plc:abc/blob/{BLOB}")
    assert ref == BlobRef("did:plc:abc", BLOB)
    assert cid_sha256(BLOB, codec=RAW) == hashlib.sha256(b"hello").hexdigest()
    for bad in (f"at://alice.test/blob/{BLOB}", "at://did:plc:abc/blob/bafy", f"{BLOB}"):
        with pytest.raises(RefError):
            parse_blob_ref(bad)


def test_cids_are_those_of_the_network() -> None:
    """CIDs of blobs and records are the ones that servers of the network compute."""
    # Known answers: the raw CID of b"hello", and the DAG-CBOR CID of {"hello": "world"}.
    assert BLOB == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
    cid = record_cid({"hello": "world"})
    assert cid == "bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae"
    assert len(cid_sha256(cid, codec=DAG_CBOR)) == 64
    with pytest.raises(RefError):
        cid_sha256(cid, codec=RAW)


def test_versions_are_ordered() -> None:
    """1.10.0 comes after 1.9.0."""
    assert Version.parse("1.10.0") > Version.parse("1.9.0")
    assert str(Version.parse("1.10.0")) == "1.10.0"


INVISIBLE = "\u200b\u200e\u202a\u202c\u2066\u2068\u2069\ufeff\u00ad \n\t"
"""What web pages and files put around a handle, or into it."""


MARKS = st.text(INVISIBLE, max_size=3)


@given(MARKS, MARKS, MARKS)
def test_marks_around_what_is_pasted_do_not_count(before: str, between: str, after: str) -> None:
    """A handle copied from a page means the handle; a path or a name stays as it is."""
    assert account_of(f"{before}@{between}alice.example.com{after}") == "alice.example.com"
    ref = f"{before}@{between}alice.example.com{after}/digits"
    assert reference(ref) == "@alice.example.com/digits"
    assert parse_name_ref(ref) == NameRef("alice.example.com", "digits")
    assert reference(f"{before}at://did:plc:abc/a.b/c{after}") == "at://did:plc:abc/a.b/c"
    for other in (f"{before}folder/digits.tar{after}", f"digits{after}"):
        assert reference(other) is other


@pytest.mark.parametrize("mark", INVISIBLE.replace(" ", ""))
def test_a_mark_within_a_handle_is_named(mark: str) -> None:
    """In the middle it could make another account's handle of it: an error says where it is."""
    handle = f"alice{mark}.example.com"
    with pytest.raises(RefError, match=f"invisible character U\\+{ord(mark):04X}"):
        parse_name_ref(f"@{handle}/digits")
    with pytest.raises(IdentityError, match=f"invisible character U\\+{ord(mark):04X}"):
        resolve_handle(handle)
    with pytest.raises(IdentityError, match=f"invisible character U\\+{ord(mark):04X}"):
        AtmosphereClient("https://pds.example.com").login(handle, "password")
