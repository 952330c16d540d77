"""Lenses: made by decorating, put back, chained."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.errors import LensError
from atdata.lenses.lens import Lens
from atdata.lenses.network import lens


@atdata.packable
class Person:
    name: str
    age: int


@atdata.packable
class Named:
    name: str


@atdata.packable
class Initial:
    letter: str


@lens
def name_of(person: Person) -> Named:
    """Only the name."""
    return Named(person.name)


@name_of.putter
def put_name(view: Named, source: Person) -> Person:
    return dataclasses.replace(source, name=view.name)


@lens
def initial_of(named: Named) -> Initial:
    return Initial(named.name[:1])


@initial_of.putter
def put_initial(view: Initial, source: Named) -> Named:
    return Named(view.letter[:1] + source.name[1:])


names = st.text(min_size=1, max_size=8)
people = st.builds(Person, names, st.integers(0, 120))
CHAIN: Lens[Person, Initial] = name_of | initial_of


@given(people, st.builds(Named, names))
def test_a_lens_keeps_the_laws(person: Person, view: Named) -> None:
    """What was put is got, and putting back what was got changes nothing."""
    assert name_of.get(person) == Named(person.name)
    assert name_of(person) == name_of.get(person)
    assert name_of.put(name_of.get(person), person) == person
    assert name_of.get(name_of.put(view, person)) == view


@given(people, st.builds(Initial, st.text(min_size=1, max_size=1)))
def test_a_chain_keeps_the_laws(person: Person, view: Initial) -> None:
    """Two lenses one after the other are a lens, with the way back."""
    assert CHAIN.get(person) == Initial(person.name[:1])
    assert CHAIN.put(CHAIN.get(person), person) == person
    assert CHAIN.get(CHAIN.put(view, person)) == view
    assert CHAIN.put(view, person).age == person.age


def test_a_lens_knows_its_types() -> None:
    """The types come from the annotations, also as strings; a lens prints them."""
    assert (name_of.source_type, name_of.view_type) == (Person, Named)
    assert repr(CHAIN) == "<Lens name_of | initial_of: Person → Initial>"
    assert name_of.renames is None
    assert name_of.__doc__ == "Only the name."


def test_a_lens_of_local_classes() -> None:
    """A lens can be written in a function, of classes that only that function knows."""

    @atdata.packable
    class Here:
        x: int

    @lens
    def negated(here: Here) -> Here:
        return Here(-here.x)

    assert negated(Here(2)) == Here(-2)


def test_a_lens_can_be_sent_to_another_process() -> None:
    """Lenses of a module, and chains of them, pickle."""
    person = Person("Ada", 36)
    assert pickle.loads(pickle.dumps(name_of)) is name_of
    assert pickle.loads(pickle.dumps(CHAIN))(person) == Initial("A")


def test_a_lens_without_putter_says_how_to_write_one() -> None:
    """Putting through a lens without a way back is an error that shows one."""

    @lens
    def aged(person: Person) -> Initial:
        return Initial(str(person.age))

    assert not aged.can_put
    assert not (aged | Lens(Initial, Named, lambda i: Named(i.letter))).can_put
    with pytest.raises(LensError, match=r"@aged\.putter\n.*view: Initial, source: Person"):
        aged.put(Initial("1"), Person("Ada", 36))


def test_lenses_that_do_not_meet_are_not_joined() -> None:
    """A chain needs each lens to begin where the one before ends."""
    with pytest.raises(LensError, match="does not begin where"):
        initial_of | name_of  # type: ignore[operator]


def test_a_function_that_gives_something_else_is_told() -> None:
    """A getter or putter that gives another type than it says is found at once."""

    @lens
    def wrong(person: Person) -> Named:
        return person  # type: ignore[return-value]

    @wrong.putter
    def put_wrong(view: Named, source: Person) -> Person:
        return view  # type: ignore[return-value]

    with pytest.raises(LensError, match="expected Named, the function returned Person"):
        wrong(Person("Ada", 36))
    with pytest.raises(LensError, match="expected Person, the function returned Named"):
        wrong.put(Named("Ada"), Person("Ada", 36))


def without_types(person):  # type: ignore[no-untyped-def]
    return person


def without_view(person: Person):  # type: ignore[no-untyped-def]
    return person


def to_int(person: Person) -> int:
    return person.age


def of_two(person: Person, other: Person) -> Named:
    return Named(person.name + other.name)


def of_unknown(person: Persn) -> Named:  # type: ignore[name-defined]  # noqa: F821
    return Named("")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (without_types, "type of its source is missing"),
        (without_view, "type of its view is missing"),
        (to_int, "not a sample type"),
        (of_two, "takes 2 arguments"),
        (of_unknown, "Persn"),
        (3, "no function"),
    ],
)
def test_what_cannot_be_a_lens_is_told_when_decorated(function: Any, says: str) -> None:
    """A function without the right annotations is refused where it is written."""
    with pytest.raises(LensError, match=says):
        lens(function)


def test_a_putter_with_its_arguments_swapped_is_refused() -> None:
    """A putter takes the view first; the reverse is an error at the decorator."""
    with pytest.raises(LensError, match=r"\(view: Named, source: Person\)"):

        @name_of.putter  # type: ignore[arg-type]
        def swapped(source: Person, view: Named) -> Person:
            return source
