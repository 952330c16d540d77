"""Sample types with some of the fields of another one."""

from __future__ import annotations

import copyreg
import dataclasses
from functools import partial
from typing import Any, ClassVar, cast
from weakref import WeakValueDictionary

from atdata.errors import OptionError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.packable import equip
from atdata.system.forks import ForkLock


class _SelectedType(type):
    """The class of the types made here; see `_reduce`."""


class _Selected(metaclass=_SelectedType):
    __atdata_selected_of__: ClassVar[tuple[type, tuple[str, ...]]]


_lock = ForkLock()
_made: WeakValueDictionary[tuple[type, tuple[str, ...]], type] = WeakValueDictionary()


def selected_type(sample_type: type, names: tuple[str, ...]) -> type:
    """The type of samples that have some of a type's fields, as described there.

    Equal arguments give the same class, and other processes find it by these.

    Args:
        sample_type: A packable class.
        names: Which fields, in the order of the new type.

    Raises:
        OptionError: It has no such field; lists those that it has.
    """
    check_names(names, sample_type.__name__, tuple(codec_of(sample_type).by_name))
    whole, _ = sample_type.__dict__.get("__atdata_selected_of__", (sample_type, ()))
    with _lock:
        made = _made.get((whole, names))
        if made is None:
            made = _made[whole, names] = _make(whole, names)
        return made


class LackedError(Exception):
    """A sample lacks a field of a `strict_type`, which the message names."""


def strict_type(sample_type: type, names: tuple[str, ...]) -> type:
    """As `selected_type`, but reading a sample that lacks a field is a `LackedError`."""
    whole, _ = sample_type.__dict__.get("__atdata_selected_of__", (sample_type, ()))
    made = _make(whole, names)
    made.__name__ = whole.__name__
    codec: SampleCodec[Any] = codec_of(made)
    codec.defaults = {name: partial(_lacked, name) for name in names}
    codec.warn_once_with(codec_of(whole))
    return made


def _lacked(name: str) -> Any:
    raise LackedError(name)


def check_names(names: tuple[str, ...], of: str, known: tuple[str, ...]) -> None:
    """Refuse names of fields that there are not.

    Raises:
        OptionError: Lists those that there are.
    """
    for name in names:
        if name not in known:
            raise OptionError(
                f"select({name!r:.80}): {of} has no such field. It has: {', '.join(known)}."
            )


def _make(whole: type, names: tuple[str, ...]) -> type:
    codec: SampleCodec[Any] = codec_of(whole)
    found = {field.name: field for field in dataclasses.fields(whole)}
    specs, after_default = [], False
    for name in names:
        field = found[name]
        options: dict[str, Any] = {"metadata": field.metadata, "compare": field.compare}
        if field.default_factory is not dataclasses.MISSING:
            options["default_factory"] = field.default_factory
        elif field.default is not dataclasses.MISSING:
            options["default"] = field.default
        else:
            options["kw_only"] = after_default
        after_default = after_default or "kw_only" not in options
        specs.append((name, field.type, dataclasses.field(**options)))
    namespace = {
        "__doc__": f"Some fields of {whole.__name__}: {', '.join(names)}.",
        "__atdata_selected_of__": (whole, names),
    }
    made = dataclasses.make_dataclass(
        f"{whole.__name__}View", specs, bases=(_Selected,), namespace=namespace
    )
    made.__module__ = whole.__module__
    fields = tuple(codec.by_name[name] for name in names)
    equip(made, f"{codec.name}View", fields, made.__doc__)
    cast(Any, made).__atdata_codec__.whole = codec
    return made


def _reduce(cls: type) -> str | tuple[Any, ...]:
    """Pickle a type that no module has as what it was made of."""
    parts = cls.__dict__.get("__atdata_selected_of__")
    return (selected_type, parts) if parts is not None else cls.__qualname__


copyreg.pickle(cast(Any, _SelectedType), cast(Any, _reduce))
