"""All lenses of the process, and the shortest path between two sample types."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias, TypeVar

from atdata.errors import LensError, LensNotFoundError
from atdata.lenses.lens import EXAMPLE, Lens, annotations_of, described, positional_parameters
from atdata.lenses.views import field_view, same_structure, view_problems
from atdata.samples.codec import SampleCodec, codec_of, is_sample_type
from atdata.samples.kinds import Field
from atdata.system.forks import ForkLock

S = TypeVar("S")
V = TypeVar("V")
AnyLens: TypeAlias = Lens[Any, Any]
Node: TypeAlias = tuple[str, tuple[Field, ...]]
"""A type in the network: its qualified name and fields. A class and the type built from its
schema are one node, so that a lens for the class also works on data from an index."""


class LensNetwork:
    """Every lens of this process. All instances share one network. Thread-safe."""

    _lock = ForkLock()
    _lenses: dict[Node, dict[Node, AnyLens]] = {}  # noqa: RUF012 (shared on purpose)

    def register(self, lens: AnyLens) -> None:
        """Add a lens; it replaces one between the same types."""
        source, view = _node(lens.source_type), _node(lens.view_type)
        with self._lock:
            self._lenses.setdefault(source, {})[view] = lens

    def find(self, source_type: type[S], view_type: type[V]) -> Lens[S, V]:
        """A lens from one type to the other.

        Tried in this order: a registered lens; a plain view between types with equal fields; the
        shortest chain of registered lenses; a plain view by field names (see `field_view`).

        Raises:
            SampleTypeError: One of them is not a sample type.
            LensNotFoundError: None of these exists; says what was tried.
        """
        start, goal = _node(source_type), _node(view_type)
        with self._lock:
            chain = self._chain(start, goal)
        if start == goal or (len(chain) != 1 and same_structure(source_type, view_type)):
            return field_view(source_type, view_type)
        if chain:
            return _join(source_type, chain, view_type)
        try:
            return field_view(source_type, view_type)
        except LensError:
            raise self._not_found(source_type, view_type) from None

    def _chain(self, start: Node, goal: Node) -> list[AnyLens]:
        """The shortest chain of lenses; of several, the one whose lenses were registered first."""
        came: dict[Node, tuple[Node, AnyLens]] = {}
        todo = deque([start])
        while todo:
            here = todo.popleft()
            for there, lens in self._lenses.get(here, {}).items():
                if there == start or there in came:
                    continue
                came[there] = here, lens
                if there == goal:
                    return _steps(came, start, goal)
                todo.append(there)
        return []

    def _not_found(self, source_type: type, view_type: type) -> LensNotFoundError:
        source, view = source_type.__name__, view_type.__name__
        with self._lock:
            leads = [lens.view_type.__name__ for lens in self._from(source_type)]
        tried = (
            f"lenses lead from {source} to {', '.join(leads[:10])} only"
            if leads
            else (f"no lens leads from {source}")
        )
        problems = view_problems(source_type, view_type)
        return LensNotFoundError(
            f"No lens from {source} to {view}: {tried}, and there is no plain view: "
            f"{'; '.join(problems[:5])}. Write a lens:\n"
            f"  @atdata.lens\n  def name(source: {source}) -> {view}: ..."
        )

    def _from(self, source_type: type) -> list[AnyLens]:
        return list(self._lenses.get(_node(source_type), {}).values())


def lens(function: Callable[[S], V]) -> Lens[S, V]:
    """Decorator: make a function from one sample type to another a registered lens.

    ``dataset.as_type(View)`` then finds it, alone or in a chain. A later lens between the same
    types replaces it.

    Args:
        function: Takes the source and returns the view, both annotated with their sample types.

    Raises:
        LensError: The annotations are missing or are not sample types.

    Example:
        >>> @lens
        ... def label_only(image: Image) -> Label:
        ...     return Label(label=image.label)
        >>> @label_only.putter
        ... def put_label(view: Label, source: Image) -> Image:
        ...     return dataclasses.replace(source, label=view.label)
    """
    parameters = positional_parameters(function)
    if len(parameters) != 1:
        raise LensError(
            f"{described(function)} cannot be a lens: it takes {len(parameters)} arguments, not "
            f"one, the source. {EXAMPLE}"
        )
    hints = annotations_of(function, sys._getframe(1).f_locals)
    types: list[Any] = []
    for name, role in ((parameters[0], "source"), ("return", "view")):
        found = hints.get(name)
        if not is_sample_type(found):
            shown = "missing" if found is None else f"{found!r:.80}, not a sample type"
            raise LensError(
                f"{described(function)} cannot be a lens: the type of its {role} is {shown}. "
                f"{EXAMPLE}"
            )
        types.append(found)
    made: Lens[S, V] = Lens(types[0], types[1], function)
    LensNetwork().register(made)
    return made


def find_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """A lens from one type to the other; see `LensNetwork.find`.

    Raises:
        SampleTypeError: One of them is not a sample type.
        LensNotFoundError: None was found; says what was tried.
    """
    return LensNetwork().find(source_type, view_type)


def _node(sample_type: type) -> Node:
    codec: SampleCodec[Any] = codec_of(sample_type)
    return codec.name, codec.fields


def _steps(came: dict[Node, tuple[Node, AnyLens]], start: Node, goal: Node) -> list[AnyLens]:
    steps: list[AnyLens] = []
    here = goal
    while here != start:
        here, lens = came[here]
        steps.append(lens)
    return steps[::-1]


def _join(source_type: type[S], chain: list[AnyLens], view_type: type[V]) -> Lens[S, V]:
    """The chain as one lens, with a plain view between two classes of one node."""
    links: list[AnyLens] = []
    here: type = source_type
    for lens in chain:
        if lens.source_type is not here:
            links.append(field_view(here, lens.source_type))
        links.append(lens)
        here = lens.view_type
    if here is not view_type:
        links.append(field_view(here, view_type))
    return reduce(Lens.then, links)
