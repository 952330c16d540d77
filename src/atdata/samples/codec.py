"""Sample ↔ msgpack: each sample type has one codec, made with the class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from atdata._limits import limits
from atdata._warnings import warn
from atdata.errors import DecodeError, EncodeError, SampleTypeError, UnknownFieldWarning
from atdata.samples.axes import NamedAxes
from atdata.samples.kinds import (
    Array,
    Field,
    JsonValue,
    Kind,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    depth_of,
)
from atdata.samples.packing import Packer, map_head, map_key, packer_of
from atdata.samples.wire import check_readable, unpack_map
from atdata.system.forks import once

T = TypeVar("T")

SPECIAL: Final = frozenset({"__key__", "__url__"})
"""Fields that are a sample's key and its shard, in shards of many members."""
_MISSING: Final = object()
_MAX_WARNED: Final = 100
"""Unknown fields of a type that are warned of."""


class SampleCodec(Generic[T]):
    """How the samples of one type are written and read.

    Args:
        sample_type: The class.
        name: Its qualified name, ``{module}.{Class}``.
        fields: Its fields, in order.
        defaults: Field name → a function that gives the value of a missing field.
        plain: Instances may be built by setting ``__dict__``.
        positional: Calling the class with the values in order only stores them.
        description: What the samples are, for people.
    """

    untyped = False
    """Whether each sample has fields of its own."""
    selected: tuple[str, ...] | None = None
    """The only fields that are read, where each sample has fields of its own; None: all."""
    whole: SampleCodec[Any] | None = None
    """The codec of the type whose fields these are some of; the others are skipped."""

    def __init__(
        self,
        sample_type: type[T],
        name: str,
        fields: tuple[Field, ...],
        defaults: Mapping[str, Callable[[], Any]],
        *,
        plain: bool,
        positional: bool,
        description: str | None = None,
    ) -> None:
        self.description = description
        self.named_axes = NamedAxes.of(fields)
        """Checks axes that have names; None: no two axes have the same."""
        self.sample_type = sample_type
        self.name = name
        self.fields = fields
        self.defaults = dict(defaults)
        for field in fields:
            if field.optional:
                self.defaults.setdefault(field.name, _none)
        self.plain = plain
        self.positional = positional
        self.depth = max((depth_of(field.kind) for field in fields), default=0)
        """How deep lists, maps and samples are nested in a sample, at most."""
        self.by_name = {field.name: field for field in fields}
        self._steps = tuple((field.name, field.value_kind) for field in fields)
        head = map_head(len(fields))
        self._empty = head
        self._packers: list[tuple[str, Packer]] = []
        for field in fields:
            packer = packer_of(field.value_kind, head + map_key(field.name))
            self._packers.append((field.name, packer))
            head = b""
        self._names = frozenset(field.name for field in fields)
        # msgpack silently keeps the last of two equal keys; at the top level the count shows it.
        self.containers = frozenset(f.name for f in fields if _holds_others(f.kind))
        """Names of the fields that hold lists or maps."""
        self._maps_inside = any(_holds_map(field.kind) for field in fields)
        self._warned: set[str] = set()

    @once
    def unrecorded(self) -> frozenset[str]:
        """Names of the fields whose default no schema has: another one than None, if optional."""
        return frozenset(
            name
            for name, default in self.defaults.items()
            if name not in SPECIAL and (not self.by_name[name].optional or default() is not None)
        )

    def pack(self, sample: T) -> bytes:
        """A sample as msgpack bytes, fields in order.

        Raises:
            EncodeError: A value does not fit its field, and the message has its path; or there are
                more lists and maps than ``limits.containers``.
        """
        if not self._packers:
            return self._empty
        pieces: list[Any] = []
        name = ""
        try:
            for name, pack in self._packers:
                pack(getattr(sample, name), pieces)
        except Misfit as misfit:
            raise EncodeError(f"{self.sample_type.__name__} {misfit.at(f'.{name}')}") from None
        if self.named_axes is not None:
            try:
                self.named_axes.check(sample)
            except Misfit as misfit:
                raise EncodeError(f"{self.sample_type.__name__} {misfit}") from None
        packed = b"".join(pieces)
        if self.containers and len(packed) > limits.containers:
            self._check_containers(sample, packed)
        return packed

    def _check_containers(self, sample: T, packed: bytes) -> None:
        pieces: list[Any] = []
        for name, pack in self._packers:
            if name in self.containers:
                pack(getattr(sample, name), pieces)
        if sum(map(len, pieces)) > limits.containers:
            check_readable(packed)

    def unpack(self, payload: bytes | memoryview) -> T:
        """The opposite of `pack`. Arrays are writable and own their memory.

        Raises:
            DecodeError: The bytes are not a sample of this type; names the path.
        """
        data = unpack_map(payload, nested=self._maps_inside)
        try:
            return self.from_wire(data)
        except Misfit as misfit:
            raise DecodeError(f"{self.sample_type.__name__} {misfit}") from None

    def checked(self, made: Any) -> T:
        """What a user's function returned, a sample or a mapping, as a sample; values are checked.

        A sample is returned as it is. Arrays are not copied.

        Raises:
            Misfit: Neither of them, a value does not fit, a field has neither value nor default,
                or a key is not a field.
        """
        if isinstance(made, self.sample_type):
            for name, kind in self._steps:
                _at(name, kind.checked, getattr(made, name))
            return made
        if not isinstance(made, Mapping):
            raise Misfit(self.sample_type.__name__, made)
        for name in made:
            if name not in self._names:
                raise Misfit(f"fields among {', '.join(self.by_name)}", repr(name))
        return self.build(
            {
                name: _at(name, kind.checked, made[name]) if name in made else self.missing(name)
                for name, kind in self._steps
            }
        )

    def from_mapping(self, data: Mapping[str, Any]) -> T:
        """A sample of field values, each checked. Arrays are copied.

        An array field also takes the bytes of an encoded array.

        Raises:
            EncodeError: A value does not fit, or a field has neither value nor default.
        """
        wire: dict[str, Any] = {}
        try:
            for name, kind in self._steps:
                if name in data:
                    value = data[name]
                    ready = isinstance(value, bytes) and _is_array(kind)
                    wire[name] = value if ready else _at(name, kind.encode, value)
            if unknown := sorted(set(data) - self._names):
                raise Misfit("no such field", "a value").at(f".{unknown[0]}")
            made = self.from_wire(wire)
            if self.named_axes is not None:
                self.named_axes.check(made)
            return made
        except Misfit as misfit:
            raise EncodeError(f"{self.sample_type.__name__} {misfit}") from None

    def to_wire(self, sample: T) -> dict[str, Any]:
        """A sample as the map that msgpack packs.

        Raises:
            Misfit: A value does not fit its field.
        """
        wire = {}
        for name, kind in self._steps:
            try:
                wire[name] = kind.encode(getattr(sample, name))
            except Misfit as misfit:
                raise misfit.at(f".{name}") from None
        if self.named_axes is not None:
            self.named_axes.check(sample)
        return wire

    def from_wire(self, wire: dict[str, Any]) -> T:
        """A map that msgpack unpacked, as a sample.

        Raises:
            Misfit: A value does not fit its field, or a field without default is missing.
        """
        values: dict[str, Any] = {}
        for name, kind in self._steps:
            found = wire.get(name, _MISSING)
            if found is _MISSING:
                values[name] = self.missing(name)
                continue
            try:
                values[name] = kind.decode(found)
            except Misfit as misfit:
                raise misfit.at(f".{name}") from None
        if len(wire) > len(self._steps) or not wire.keys() <= self._names:
            self.warn_of_unknown(set(wire) - self._names)
        return self.build(values)

    def missing(self, name: str) -> Any:
        """The value of a field that a stored sample lacks.

        Raises:
            Misfit: The field has no default.
        """
        default = self.defaults.get(name)
        if default is None:
            field = self.by_name[name]
            hint = (
                f"{self.sample_type.__name__} needs it; the samples may be of another type, which "
                "atdata.DictSample shows. Give the field a default to read samples that lack it."
            )
            raise Misfit(field.kind.describe(), "no such field in the sample", hint).at(f".{name}")
        return default()

    def warn_once_with(self, other: SampleCodec[Any]) -> None:
        """Do not name unknown fields again that another codec named, nor the other way round."""
        self._warned = other._warned

    def warn_of_unknown(self, names: set[str]) -> None:
        """Warn that stored samples have fields that the type lacks; each field is named once."""
        if self.whole is not None:
            names = names - self.whole._names
        new = sorted(names - self._warned)[: _MAX_WARNED - len(self._warned)]
        if not new:
            return
        self._warned.update(new)
        fields = "a field" if len(new) == 1 else "fields"
        ignored = "it is" if len(new) == 1 else "they are"
        warn(
            UnknownFieldWarning(
                f"Samples hold {fields} {', '.join(map(repr, new))} that "
                f"{self.sample_type.__name__} does not have; {ignored} ignored. Read them as "
                "atdata.DictSample to see all fields."
            )
        )

    def build(self, values: dict[str, Any]) -> T:
        """An instance with these values, which are checked already and may be kept as its dict.

        Neither ``__init__`` nor ``__post_init__`` runs: the sample is what was stored.
        """
        sample = object.__new__(self.sample_type)
        # object.__setattr__, since a frozen class refuses plain assignment.
        if self.plain:
            object.__setattr__(sample, "__dict__", values)
        else:
            for name, value in values.items():
                object.__setattr__(sample, name, value)
        return sample


def is_sample_type(cls: object) -> bool:
    """Whether ``cls`` is a packable class or `DictSample`."""
    codec = cls.__dict__.get("__atdata_codec__") if isinstance(cls, type) else None
    # @dataclass(slots=True) above @packable copies the class with its codec.
    return codec is not None and codec.sample_type is cls


def check_sample_type(cls: object) -> None:
    """Refuse what is not a sample type.

    Raises:
        SampleTypeError: It is not; says what to pass.
    """
    if is_sample_type(cls):
        return
    if isinstance(cls, type) and "__atdata_codec__" in cls.__dict__:
        raise SampleTypeError(
            f"{cls.__qualname__} is a copy of the class that was made a sample type. Put "
            "@atdata.packable above @dataclass(slots=True), not below it."
        )
    if isinstance(cls, type):
        raise SampleTypeError(
            f"{cls.__qualname__} is not a sample type. Decorate it with @atdata.packable, "
            "or use atdata.DictSample for data without a type."
        )
    hint = f" Pass the class, {type(cls).__name__}, itself." if is_sample_type(type(cls)) else ""
    if isinstance(cls, str):
        hint = " Pass the class itself, not its name: without quotes."
    raise SampleTypeError(f"Expected a sample type, found {cls!r:.80}.{hint}")


def fields_of(sample_type: type) -> Mapping[str, Field]:
    """The fields of a packable class, by name; empty for any other class and for `DictSample`."""
    return sample_type.__atdata_codec__.by_name if is_sample_type(sample_type) else {}  # type: ignore[attr-defined]


def codec_of(sample_type: type[T]) -> SampleCodec[T]:
    """The codec of a packable class.

    Raises:
        SampleTypeError: It is not one.
    """
    check_sample_type(sample_type)
    return sample_type.__atdata_codec__  # type: ignore[attr-defined,no-any-return]


def _holds_map(kind: Kind) -> bool:
    return isinstance(kind, MapOf | Nested | JsonValue) or any(map(_holds_map, kind.parts()))


def _holds_others(kind: Kind) -> bool:
    return isinstance(kind, JsonValue) or depth_of(kind) > 1


def _is_array(kind: Kind) -> bool:
    return isinstance(kind.kind if isinstance(kind, Maybe) else kind, Array)


def _at(name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except Misfit as misfit:
        raise misfit.at(f".{name}") from None


def _none() -> None:
    return None


def defaults_of(cls: type) -> dict[str, Callable[[], Any]]:
    """Field name → a function that gives its default, for the fields that have one."""
    found: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(cls):
        if field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory
        elif field.default is not dataclasses.MISSING:
            found[field.name] = _constant(field.default)
    return found


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value
