"""A lens: one sample type seen as another, and the way back."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Generic, TypeVar

from atdata.errors import LensError
from atdata.samples.pickling import check_name

S = TypeVar("S")
V = TypeVar("V")
W = TypeVar("W")

EXAMPLE = "Write it as:\n  @atdata.lens\n  def name(source: Source) -> View: ..."


class Lens(Generic[S, V]):
    """Converts samples of one type (source) to another (view), and puts changes back.

    A lens with a putter should obey three laws, which are not checked:

    - GetPut: ``put(get(s), s) == s``.
    - PutGet: ``get(put(v, s)) == v``.
    - PutPut: ``put(v, put(w, s)) == put(v, s)``.

    Args:
        source_type: The type of the source.
        view_type: The type of the view.
        get: Source → view.
        put: View and the source that it came from → source.
        name: Name in errors and repr; None: that of ``get``.
        renames: Field of the view → field of the source, if the lens only selects and renames
            fields, and values are the same objects.
        recipe: How pickle rebuilds it: a function and its arguments; None: it is found by the name
            of ``get``.
    """

    def __init__(
        self,
        source_type: type[S],
        view_type: type[V],
        get: Callable[[S], V],
        put: Callable[[V, S], S] | None = None,
        *,
        name: str | None = None,
        renames: Mapping[str, str] | None = None,
        recipe: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
    ) -> None:
        self.source_type = source_type
        self.view_type = view_type
        self.name = name or getattr(get, "__name__", "lens")
        self.renames = None if renames is None else dict(renames)
        self._get = get
        self._put = put
        self._recipe = recipe
        self.__doc__ = getattr(get, "__doc__", None)

    def get(self, source: S) -> V:
        """The view of a sample.

        Raises:
            LensError: The function returned something other than its view type.
        """
        view = self._get(source)
        if not isinstance(view, self.view_type):
            raise self._gave(view, self.view_type)
        return view

    def __call__(self, source: S) -> V:
        """As `get`."""
        return self.get(source)

    def put(self, view: V, source: S) -> S:
        """A new sample: the source with the view's values put into it.

        Raises:
            LensError: The lens has no putter, or it returned something other than the source type.
        """
        if self._put is None:
            raise LensError(
                f"{self} cannot put: it has no putter. Write one:\n"
                f"  @{self.name}.putter\n  def name(view: {self.view_type.__name__}, "
                f"source: {self.source_type.__name__}) -> {self.source_type.__name__}: ..."
            )
        made = self._put(view, source)
        if not isinstance(made, self.source_type):
            raise self._gave(made, self.source_type)
        return made

    @property
    def can_put(self) -> bool:
        """Whether there is a putter."""
        return self._put is not None

    def putter(self, function: Callable[[V, S], S]) -> Callable[[V, S], S]:
        """Decorator: make ``function(view, source)`` the putter. Returns the function.

        Raises:
            LensError: Its parameters are not a view and a source, in this order.
        """
        parameters = positional_parameters(function)
        hints = annotations_of(function, sys._getframe(1).f_locals)
        wanted = (self.view_type, self.source_type)
        found = [hints.get(name, want) for name, want in zip(parameters, wanted, strict=False)]
        if len(parameters) != 2 or tuple(found) != wanted:
            raise LensError(
                f"{described(function)} cannot be the putter of {self}: its parameters must be "
                f"(view: {wanted[0].__name__}, source: {wanted[1].__name__})."
            )
        self._put = function
        return function

    def then(self, following: Lens[V, W]) -> Lens[S, W]:
        """This lens followed by another. It can put if both can.

        Raises:
            LensError: The other does not begin where this one ends.
        """
        if following.source_type is not self.view_type:
            raise LensError(f"{following} does not begin where {self} ends.")

        def get(source: S) -> W:
            return following.get(self.get(source))

        def put(view: W, source: S) -> S:
            return self.put(following.put(view, self.get(source)), source)

        renames = None
        if self.renames is not None and following.renames is not None:
            renames = {new: self.renames[old] for new, old in following.renames.items()}
        return Lens(
            self.source_type,
            following.view_type,
            get,
            put if self.can_put and following.can_put else None,
            name=f"{self.name} | {following.name}",
            renames=renames,
            recipe=(Lens.then, (self, following)),
        )

    def __or__(self, following: Lens[V, W]) -> Lens[S, W]:
        """``a | b`` is ``a.then(b)``."""
        return self.then(following)

    def __repr__(self) -> str:
        return f"<Lens {self.name}: {self.source_type.__name__} → {self.view_type.__name__}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._recipe is not None:
            return self._recipe
        if isinstance(self._get, FunctionType):
            check_name(self, self._get, f"the lens {self.name}")
        self.__module__ = self._get.__module__
        return str(getattr(self._get, "__qualname__", self.name))

    def _gave(self, found: object, expected: type) -> LensError:
        return LensError(
            f"{self}: expected {expected.__name__}, the function returned {type(found).__name__}."
        )


def positional_parameters(function: Callable[..., Any]) -> list[str]:
    """Names of the positional parameters without defaults."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise LensError(f"{function!r:.80} cannot be a lens: it is no function.") from None
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def annotations_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(names))
    except (NameError, TypeError) as error:
        raise LensError(f"{described(function)} cannot be a lens: {error}. {EXAMPLE}") from None


def described(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', repr(function))}()"
