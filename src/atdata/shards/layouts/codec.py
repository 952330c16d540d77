"""Samples of the members layout: the range of a tar that one takes → a sample of a type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import SPECIAL, SampleCodec
from atdata.samples.dict_sample import picked
from atdata.samples.kinds import Field, Misfit
from atdata.shards.layouts.names import field_text, key_text, of_sample
from atdata.shards.layouts.values import Decode, Packed, Unpacked, decoder_of, fits
from atdata.shards.tar.members import Marker, Members, Short

T = TypeVar("T")

_MOST_PLANS: Final = 1024
"""Combinations of members whose plans are kept."""
_NOT_FIRST: Final = 1
"""An offset in a shard that is not its start, where other checks are made."""


class Found(Generic[T]):
    """The members of one sample."""

    __slots__ = ("fields", "key", "values")

    def __init__(self, key: str, fields: tuple[str, ...], values: list[memoryview]) -> None:
        self.key = key
        self.fields = fields
        """In stored order, lower case."""
        self.values = values
        """Their bytes: views of the range."""


def find_members(data: memoryview, linked: Callable[[int], memoryview] | None = None) -> Found[Any]:
    """The members in the range of one sample.

    Args:
        data: From the first header to the end of the last member's data.
        linked: Takes where in it the header of a link begins; gives what the link leads to.

    Raises:
        DecodeError: It is not the range of one sample; or what ``linked`` raises.
    """
    members, at, last = Members(), 0, 0
    raw: bytes | None = None
    fields: list[str] = []
    values: list[memoryview] = []
    try:
        while at < len(data):
            member = members.next(data, at, base=_NOT_FIRST, final=True)
            if isinstance(member, Marker | Short):
                raise DecodeError("the shard ends within this sample")
            at = member.end
            named = of_sample(member)
            if named is None:
                continue
            if raw is None:
                raw = named[0]
            last = member.data_end
            if named[0] != raw or last > len(data) or (member.is_link and linked is None):
                raise DecodeError("the sample table of the shard does not fit its members")
            fields.append(field_text(named[1], 0))
            if member.is_link and linked is not None:
                values.append(linked(member.header))
            else:
                values.append(data[member.data : last])
        key = "" if raw is None else key_text(raw, 0)
    except ShardError as error:
        raise DecodeError(error.problem) from None
    if last != len(data):
        raise DecodeError("the sample table of the shard does not fit its members")
    if len(set(fields)) < len(fields):
        twice = next(name for name in fields if fields.count(name) > 1)
        raise DecodeError(f"the member {twice!r} twice")
    return Found(key, tuple(fields), values)


class Plan:
    """Which member each field of a type is read from, for samples with the same members.

    Args:
        steps: Name of a field, number of its member in the sample, how it is read.
        missing: Fields that no member is read for, which have defaults.
        unknown: Members that no field is read from.

    ``packed`` counts the compressed members, which have one limit together.
    """

    def __init__(
        self, steps: list[tuple[str, int, Decode]], missing: list[str], unknown: list[str]
    ) -> None:
        self.steps = steps
        self.missing = missing
        self.unknown = unknown
        self.packed = sum(isinstance(read, Packed) for _, _, read in steps)


class MembersCodec(Generic[T]):
    """How samples of one type are read from the members layout.

    Args:
        codec: Codec of the type.
    """

    def __init__(self, codec: SampleCodec[T]) -> None:
        self.base = codec
        self._plans: dict[tuple[str, ...], Plan] = {}

    def unpack(
        self,
        payload: bytes | memoryview,
        url: str = "",
        linked: Callable[[int], memoryview] | None = None,
    ) -> T:
        """A sample.

        Args:
            payload: Its range of the tar, from the first header on.
            url: The shard, for a field ``__url__``.
            linked: As for `find_members`.

        Raises:
            DecodeError: It is not a sample of this type; names the path.
        """
        return self.of_members(find_members(memoryview(payload), linked), url)

    def of_members(self, found: Found[T], url: str) -> T:
        """The same, of members that were found."""
        name = self.base.sample_type.__name__
        try:
            plan = self.plan(found.fields)
        except Misfit as misfit:
            raise DecodeError(f"{name} {misfit}") from None
        values, packed = {}, Unpacked()
        for field, at, read in plan.steps:
            within = read.within(packed) if isinstance(read, Packed) else read
            values[field] = decoded(name, field, found, at, within)
        return self.built(values, plan, found.key, url)

    def lacks_unrecorded(
        self, data: memoryview, linked: Callable[[int], memoryview] | None
    ) -> bool:
        """Whether a sample of this type lacks a field whose default no schema has.

        Args:
            data: As for `find_members`.
            linked: As for `find_members`.
        """
        if self.base.untyped or not self.base.unrecorded:
            return False
        missing = self.plan(find_members(data, linked).fields).missing
        return not self.base.unrecorded.isdisjoint(missing)

    def built(self, values: dict[str, Any], plan: Plan, key: str, url: str) -> T:
        """A sample of decoded values, in the order of its type."""
        if self.base.untyped:
            made: T = self.base.from_mapping(values)
            return made
        for field in plan.missing:
            values[field] = self.base.missing(field)
        for special, value in (("__key__", key), ("__url__", url)):
            if special in self.base.by_name:
                values[special] = value
        return self.base.build({field.name: values[field.name] for field in self.base.fields})

    def built_of(self, columns: dict[str, list[Any]], count: int) -> Iterable[T]:
        """Many samples of decoded values, by field.

        Args:
            columns: Each with a value for every sample; of a type, all of its fields.
            count: How many samples.
        """
        base = self.base
        if base.untyped:
            names = list(columns)
            rows = zip(*columns.values(), strict=True) if names else iter([()] * count)
            return (base.from_mapping(dict(zip(names, row, strict=True))) for row in rows)
        values = [columns[field.name] for field in base.fields]
        if base.positional and values:
            return map(base.sample_type, *values)
        names = [field.name for field in base.fields]
        each = zip(*values, strict=True) if values else iter([()] * count)
        return (base.build(dict(zip(names, row, strict=True))) for row in each)

    def plan(self, members: tuple[str, ...]) -> Plan:
        """Which of these members each field is read from.

        Raises:
            Misfit: A field has none, or several could be its own.
        """
        plan = self._plans.get(members)
        if plan is None:
            plan = self._untyped(members) if self.base.untyped else self._typed(members)
            if len(self._plans) < _MOST_PLANS:
                self._plans[members] = plan
        if plan.unknown:
            self.base.warn_of_unknown(set(plan.unknown))
        return plan

    def _untyped(self, members: tuple[str, ...]) -> Plan:
        places = {name: at for at, name in enumerate(members)}
        wanted = places if self.base.selected is None else picked(places, self.base.selected)
        return Plan([(name, at, decoder_of(name)) for name, at in wanted.items()], [], [])

    def _typed(self, members: tuple[str, ...]) -> Plan:
        # What another field takes, this one does not, whether or not that is read.
        whole, kept = self.base.whole or self.base, self.base.by_name
        fields = [field for field in whole.fields if field.name not in SPECIAL]
        left, taken = fields, dict[str, str]()
        for choose in (self._by_name, _by_first_part, _by_kind):
            free = [name for name in members if name not in taken.values()]
            chosen = {field.name: choose(field, free) for field in left}
            for field in sorted(left, key=lambda field: field.name not in kept):
                try:
                    self._check_choice(field, chosen, members)
                except Misfit:
                    if field.name in kept:
                        raise
                    chosen[field.name] = []
            taken |= {name: found[0] for name, found in chosen.items() if found}
            # Where a Member names it, no other member is meant.
            left = [field for field in left if field.name not in taken and not field.members]
        left = [field for field in fields if field.name in kept and field.name not in taken]
        for field in left:
            if field.name not in self.base.defaults:
                raise self._none(field, members)
        steps = []
        for field in self.base.fields:
            if field.name in taken:
                member = taken[field.name]
                try:
                    decode = decoder_of(member, field.value_kind)
                except Misfit as misfit:
                    raise misfit.at(f".{field.name}") from None
                steps.append((field.name, members.index(member), decode))
        unknown = [name for name in members if name not in taken.values()]
        return Plan(steps, [field.name for field in left], unknown)

    @staticmethod
    def _by_name(field: Field, free: list[str]) -> list[str]:
        if field.members:
            return [name for name in field.members if name in free]
        return [name for name in free if name == field.name.lower()]

    def _check_choice(
        self, field: Field, chosen: dict[str, list[str]], members: tuple[str, ...]
    ) -> None:
        found = chosen[field.name]
        rivals = [name for name, others in chosen.items() if name != field.name and others == found]
        if len(found) > 1 or (found and rivals):
            which = f"the fields {field.name} and {rivals[0]}" if len(found) < 2 else "it"
            raise Misfit(
                f"one member for {which}",
                f"{', '.join(map(repr, found))} among {_listed(members)}",
                f'Say which: Annotated[…, atdata.Member("{found[0]}")].',
            ).at(f".{field.name}")

    def _none(self, field: Field, members: tuple[str, ...]) -> Misfit:
        named = " or ".join(map(repr, field.members))
        return Misfit(
            f"a member {named}" if named else f"a member for {field.kind.describe()}",
            f"the members {_listed(members)}",
            'Name it, atdata.Member("…"); or give the field a default, or make it T | None.',
        ).at(f".{field.name}")


def _by_first_part(field: Field, free: list[str]) -> list[str]:
    if field.name in SPECIAL:
        return []
    return [name for name in free if name.partition(".")[0] == field.name.lower()]


def _by_kind(field: Field, free: list[str]) -> list[str]:
    return [name for name in free if fits(name, field.value_kind)]


def _listed(members: Sequence[str]) -> str:
    return ", ".join(map(repr, members[:20])) + (" …" if len(members) > 20 else "")


def decoded(name: str, field: str, found: Found[Any], at: int, read: Decode) -> Any:
    """The value of one field.

    Raises:
        DecodeError: Its member has another one; names the path and the member.
    """
    try:
        return read(found.values[at])
    except Misfit as misfit:
        problem = str(misfit.at(f".{field}"))
    except DecodeError as error:
        problem = f"$.{field}: {error.problem}"
    raise DecodeError(f"{name} {problem} (member {found.fields[at]!r})") from None
