"""The network of lenses finds the shortest way from one type to another."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import atdata
from atdata.errors import LensNotFoundError, SampleTypeError
from atdata.lenses.lens import Lens
from atdata.lenses.network import LensNetwork, find_lens, lens
from atdata.schema.build import build_type
from atdata.schema.reflect import schema_of


@atdata.packable
class A:
    a: int
    extra: str = ""


@atdata.packable
class B:
    b: int


@atdata.packable
class C:
    c: int


@atdata.packable
class D:
    d: int


@atdata.packable
class OnlyA:
    a: int


@atdata.packable
class Celsius:
    degrees: float


@atdata.packable
class Fahrenheit:
    degrees: float


@atdata.packable
class Kelvin:
    degrees: float


@lens
def a_to_b(a: A) -> B:
    return B(a.a + 1)


@a_to_b.putter
def b_to_a(view: B, source: A) -> A:
    return dataclasses.replace(source, a=view.b - 1)


@lens
def b_to_c(b: B) -> C:
    return C(b.b * 10)


@b_to_c.putter
def c_to_b(view: C, source: B) -> B:
    return B(view.c // 10)


@lens
def c_to_d(c: C) -> D:
    return D(-c.c)


@lens
def to_fahrenheit(c: Celsius) -> Fahrenheit:
    return Fahrenheit(c.degrees * 9 / 5 + 32)


def test_a_registered_lens_is_found_as_it_is() -> None:
    """The lens that was written for two types is the one that is used."""
    assert find_lens(A, B) is a_to_b
    assert LensNetwork().find(A, B) is a_to_b


def test_a_chain_is_found_and_puts_back() -> None:
    """A → B → C is found though nobody wrote A → C, and changes go all the way back."""
    found: Lens[A, C] = find_lens(A, C)
    assert found(A(1)) == C(20)
    assert found.put(C(50), A(1, "kept")) == A(4, "kept")
    assert find_lens(A, D)(A(1)) == D(-20)
    assert not find_lens(A, D).can_put


def test_the_shortest_chain_wins() -> None:
    """A shorter way is taken as soon as there is one."""

    @atdata.packable
    class Near:
        n: int

    @atdata.packable
    class Mid:
        m: int

    @atdata.packable
    class Far:
        f: int

    @lens
    def near_mid(n: Near) -> Mid:
        return Mid(n.n)

    @lens
    def mid_far(m: Mid) -> Far:
        return Far(m.m)

    assert find_lens(Near, Far)(Near(1)) == Far(1)

    @lens
    def near_far(n: Near) -> Far:
        return Far(n.n + 100)

    assert find_lens(Near, Far) is near_far


def test_a_lens_comes_before_a_view() -> None:
    """Types of equal fields that mean different things go through the lens, never around it."""
    assert find_lens(Celsius, Fahrenheit)(Celsius(100.0)) == Fahrenheit(212.0)
    assert find_lens(Celsius, Kelvin)(Celsius(1.0)) == Kelvin(1.0)


def test_a_plain_view_is_found_where_no_lens_leads() -> None:
    """Fields that agree by name and kind need no lens."""
    assert find_lens(A, OnlyA).renames == {"a": "a"}
    assert find_lens(A, OnlyA)(A(3, "x")) == OnlyA(3)


def test_a_type_is_a_view_of_itself() -> None:
    """From a type to itself nothing changes."""
    assert find_lens(A, A)(A(3, "x")) == A(3, "x")


def test_lenses_of_a_class_serve_its_decoded_type() -> None:
    """Data whose type came from an index go through lenses that were written for the class."""
    decoded_a: Any = build_type(schema_of(A))
    decoded_c: Any = build_type(schema_of(C))
    sample = decoded_a(a=1, extra="kept")
    assert find_lens(decoded_a, B)(sample) == B(2)
    assert find_lens(decoded_a, C)(sample) == C(20)
    assert find_lens(decoded_a, decoded_c)(sample) == decoded_c(c=20)
    assert find_lens(decoded_a, decoded_c).put(decoded_c(c=50), sample).a == 4
    assert find_lens(decoded_a, A)(sample) == A(1, "kept")


def test_nothing_found_says_what_was_tried() -> None:
    """The error names where lenses lead, why it is no view, and shows the lens to write."""
    with pytest.raises(LensNotFoundError) as caught:
        find_lens(D, A)
    message = str(caught.value)
    assert "no lens leads from D" in message
    assert "D has no field 'a'" in message
    assert "def name(source: D) -> A" in message
    with pytest.raises(LensNotFoundError, match="lenses lead from A to B only"):
        find_lens(A, Celsius)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("wrong", [int, "A", A(1)])
def test_what_is_no_sample_type_is_refused(wrong: Any) -> None:
    """Lenses lead between sample types only."""
    with pytest.raises(SampleTypeError):
        find_lens(A, wrong)
