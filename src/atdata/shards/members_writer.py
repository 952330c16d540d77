"""Samples → members of a tar, as WebDataset has them: the opposite of `codec`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from atdata._limits import limits
from atdata.errors import EncodeError, SampleTypeError, ShardError
from atdata.samples.codec import SPECIAL, SampleCodec
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import (
    Array,
    Encoded,
    Field,
    FixedTuple,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Misfit,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    TupleOf,
)
from atdata.samples.media import Media
from atdata.samples.ndarray import encode_array
from atdata.samples.packing import pack_wire
from atdata.samples.pickling import defined_again
from atdata.shards.layouts.codec import Plan, find_members
from atdata.shards.layouts.decode import members_decoder
from atdata.shards.layouts.names import split_name
from atdata.shards.layouts.values import (
    ARRAY,
    AUDIO,
    IMAGE,
    INTEGER,
    JSON,
    MSGPACK,
    TEXT,
    ending_of,
    fits,
    too_many_containers,
)
from atdata.shards.tar.header import BLOCK, padded
from atdata.shards.tar.ustar import check_key, headers_of, number_key
from atdata.shards.writer import PackedSample

T = TypeVar("T")

_FORMATS: Final = {
    "jpeg": ("jpg", "jpeg", "jpe"),
    "tiff": ("tif", "tiff"),
    "jpeg2000": ("jp2",),
    "ppm": ("ppm", "pgm"),
    "ogg": ("ogg", "oga", "opus"),
    "aiff": ("aif", "aiff"),
}
"""Format of encoded media → the endings of its files, where these are not its name alone."""


def packed_members(samples: Iterable[Any], codec: SampleCodec[Any]) -> Iterator[PackedSample]:
    """Samples as ranges of a tar. The key is the number of a sample, or what its ``__key__`` says.

    Raises:
        EncodeError: A value does not fit its field or its member; names the sample and the path.
        SampleTypeError: A sample of another type.
        ShardError: A key that cannot be written, or a sample is too large.
    """
    for number, sample in enumerate(samples):
        if type(sample) is not codec.sample_type:
            again = defined_again(codec.sample_type, type(sample))
            raise SampleTypeError(
                f"Sample {number}: expected {codec.sample_type.__name__} like the first, found "
                f"{type(sample).__name__}. {again or 'A dataset has samples of one type.'}"
            )
        try:
            yield pack_members(sample, codec, key_of(sample, codec, number_key(number)))
        except EncodeError as error:
            raise EncodeError(f"sample {number}: {error}") from None


def key_of(sample: Any, codec: SampleCodec[Any], key: str) -> str:
    """The key of a sample: what its ``__key__`` says, where its type has one.

    Raises:
        EncodeError: That is no text.
    """
    if "__key__" not in codec.by_name:
        return key
    try:
        own: str = codec.by_name["__key__"].kind.encode(sample.__key__)
    except Misfit as misfit:
        raise EncodeError(f"{codec.sample_type.__name__} {misfit.at('.__key__')}") from None
    return own


def pack_members(sample: Any, codec: SampleCodec[Any], key: str) -> PackedSample:
    """One sample as a range of a tar, under a key; the errors are those of `packed_members`."""
    try:
        members = _untyped(sample) if codec.untyped else _typed(sample, codec)
    except Misfit as misfit:
        raise EncodeError(f"{codec.sample_type.__name__} {misfit}") from None
    check_key(key)
    return _packed(key, members)


def repacked(
    data: memoryview, linked: Callable[[int], memoryview] | None, key: str
) -> PackedSample:
    """A stored sample as it is written again: its links as files, under a key.

    Args:
        data: As for `find_members`.
        linked: As for `find_members`.
        key: The key.
    """
    found = find_members(data, linked)
    values = zip(found.fields, map(bytes, found.values), strict=True)
    check_key(key)
    return _packed(key, dict(values))


def _packed(key: str, members: dict[str, bytes]) -> PackedSample:
    if split_name(f"{key}.x".encode()) is None:
        problem = "WebDataset takes names that begin with such a word for metadata, not for samples"
        raise ShardError(problem, key=key[:200])
    pieces: list[bytes] = []
    data = b""
    # A shard whose first member is msgpack would be taken for one of the other layout.
    ordered = sorted(members.items(), key=lambda item: ending_of(item[0])[0] in MSGPACK)
    for name, data in ordered:
        pieces += headers_of(f"{key}.{name}".encode(), len(data)), data
        pieces.append(bytes(padded(len(data)) - len(data)))
    if not pieces or ending_of(ordered[0][0])[0] in MSGPACK:
        problem = "a sample without a member" if not pieces else "a sample of msgpack alone"
        raise ShardError(f'{problem}; write it with layout="msgpack"', key=key)
    whole = b"".join(pieces[:-1])
    if len(whole) > limits.sample_bytes:
        raise ShardError(f"a sample of {len(whole):,} bytes", key=key)
    return PackedSample(key, whole[BLOCK:], head=whole[:BLOCK])


def _typed(sample: Any, codec: SampleCodec[Any]) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    written: dict[str, str] = {}
    for field in codec.fields:
        value = getattr(sample, field.name)
        if field.name in SPECIAL or (value is None and field.optional):
            continue
        try:
            wire = field.kind.encode(value)
            name = _member_of(field, wire)
            data = _encoded(name, field.kind, wire)
        except Misfit as misfit:
            raise misfit.at(f".{field.name}") from None
        _add(members, name, data)
        written[field.name] = name
    _check_read_back(written, members_decoder(codec).codec.plan(tuple(members)))
    return members


def _check_read_back(written: dict[str, str], plan: Plan) -> None:
    """Each field must be read from the member that it is written to."""
    names = list(written.values())
    read = {field: names[at] for field, at, _ in plan.steps}
    for field in read.keys() | written.keys():
        if read.get(field) != written.get(field):
            raise Misfit(
                "a field that is read from its own member",
                f"the member {written.get(field)!r} written, and {read.get(field)!r} read",
                'Give each field a name of its own: Annotated[…, atdata.Member("…")].',
            ).at(f".{field}")


def _add(members: dict[str, bytes], name: str, data: bytes) -> None:
    if name in members:
        raise Misfit("a member of its own", f"another field's member {name!r}").at(f".{name}")
    members[name] = data


def _member_of(field: Field, wire: Any) -> str:
    """The name of the member that a value is written to."""
    endings = _endings(field.kind, wire)
    for name in field.members:
        if ending_of(name)[0] in endings and not ending_of(name)[1]:
            return name
    for name in field.members:
        return name
    name = field.name.lower()
    return name if fits(name, field.kind) and name in endings else f"{name}.{endings[0]}"


def _endings(kind: Kind, wire: Any) -> tuple[str, ...]:
    """The endings of members that say what a value is, the usual one first."""
    match kind:
        case Encoded(name):
            form = Encoded(name).made(wire).format
            return _FORMATS.get(form or "", (form or "bin",))
        case Array():
            return ("npy",)
        case Primitive("bytes"):
            return ("bin",)
        case Primitive("int"):
            return ("cls", *sorted(INTEGER))
        case Primitive("str"):
            return ("txt", *sorted(TEXT))
        case Primitive("bool") | JsonValue() | OneOf() | Nested() | MapOf():
            return ("json", "jsn") if _is_json(wire) else ("mp", "msgpack", "msg")
        case ListOf() | TupleOf() | FixedTuple() | SetOf():
            return ("json", "jsn") if _is_json(wire) else ("mp", "msgpack", "msg")
        case _:
            return ("cls",) if isinstance(wire, int) else ("txt",)


def _encoded(name: str, kind: Kind, wire: Any) -> bytes:
    ending, compressed = ending_of(name)
    if compressed:
        return _compressed(_encoded(name.removesuffix(".gz"), kind, wire))
    if isinstance(wire, bytes):
        return wire
    if kind == Primitive("str") or ending in TEXT | INTEGER:
        return _as_text(wire)
    return _as_value(ending, wire)


def _compressed(data: bytes) -> bytes:
    # Without the time, so that the same samples are the same bytes.
    return gzip.compress(data, mtime=0)


def _as_text(wire: Any) -> bytes:
    if isinstance(wire, str):
        return wire.encode()
    if isinstance(wire, (int, float)) and not isinstance(wire, bool):
        return repr(wire).encode()
    raise Misfit("text or a number, as its member holds", wire)


def _as_value(ending: str, wire: Any) -> bytes:
    if ending in MSGPACK:
        return pack_wire(wire)
    if ending in JSON and not _is_json(wire):
        raise Misfit("what JSON can hold", wire, 'Name a member of msgpack: Member("mp").')
    if ending not in JSON and not isinstance(wire, (str, int, float)):
        raise Misfit("bytes, text or a number, as its member holds", wire)
    if ending not in JSON:
        return _as_text(wire)
    raw = json.dumps(wire, ensure_ascii=False).encode()
    if many := too_many_containers(raw):
        raise Misfit("a value that can be read back", many)
    return raw


def _is_json(wire: Any) -> bool:
    if isinstance(wire, list):
        return all(map(_is_json, wire))
    if isinstance(wire, dict):
        return all(map(_is_json, wire.values()))
    return wire is None or isinstance(wire, (bool, int, float, str))


def _untyped(sample: DictSample) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for field, value in DictSample.items(sample):
        try:
            name, data = _by_value_in(field.lower(), value)
        except Misfit as misfit:
            raise misfit.at(f".{field}") from None
        if "/" in name or name in SPECIAL:
            raise Misfit("a name that a member can have", repr(field)).at(f".{field}")
        _add(members, name, data)
    return members


def _by_value_in(name: str, value: Any) -> tuple[str, bytes]:
    """As `_by_value`, packed again where the field is that of a packed member: ``json.gz``."""
    if ending_of(name)[1]:
        inner = name.removesuffix(".gz")
        fitting, data = _by_value(inner, value)
        if fitting == inner:
            return name, _compressed(data)
    return _by_value(name, value)


def _by_value(name: str, value: Any) -> tuple[str, bytes]:
    """The member of a field without a type: its own name where that says what the value is."""
    ending, compressed = ending_of(name)
    if isinstance(value, Media):
        return name, value.bytes
    if isinstance(value, bytes):
        known = TEXT | INTEGER | JSON | MSGPACK | ARRAY
        return (f"{name}.bin" if ending in known or compressed else name), value
    other = ending in IMAGE | AUDIO or compressed
    for sort, endings, encode in (
        (str, TEXT, _as_text),
        (int, INTEGER, _as_text),
    ):
        if type(value) is sort and not (ending in JSON | MSGPACK and not compressed):
            fitting = ending in endings and not other
            return (name if fitting else f"{name}.{'txt' if sort is str else 'cls'}"), encode(value)
    wire = DictSample.__atdata_codec__.to_wire(DictSample({"value": value}))["value"]
    if isinstance(wire, bytes):
        return (name if ending in ARRAY and not compressed else f"{name}.npy"), encode_array(value)
    endings = JSON | MSGPACK if _is_json(wire) else MSGPACK
    if ending not in endings or compressed:
        ending = "json" if _is_json(wire) else "mp"
        name = f"{name}.{ending}"
    return name, _as_value(ending, wire)
