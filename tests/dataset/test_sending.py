"""Datasets on their way to other processes: what cannot go says so, and what to do."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import EncodeError, NotSendableError, SampleTypeError


@atdata.packable
class Box:
    x: int

    @atdata.packable
    class Inner:
        x: int


def even(sample: Box) -> bool:
    return sample.x % 2 == 0


def beyond(sample: Box, limit: int) -> bool:
    return sample.x > limit


def doubled(sample: Box) -> Box:
    return Box(2 * sample.x)


@atdata.lens
def as_inner(box: Box) -> Box.Inner:
    return Box.Inner(box.x)


class Above:
    """A function that is an object."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, sample: Box) -> bool:
        return sample.x > self.limit


def boxes(path: Path, sample_type: Any = Box) -> atdata.Dataset[Any]:
    return atdata.write_samples([sample_type(i) for i in range(6)], path / "boxes.tar")


def test_what_can_be_found_by_name_is_sent(tmp_path: Path) -> None:
    """Functions and classes of modules, partials, objects, methods, built-in functions, lenses."""
    dataset = boxes(tmp_path)
    found = boxes(tmp_path / "inner", Box.Inner)
    assert list(pickle.loads(pickle.dumps(found)).ordered()) == list(found.ordered())
    chain = dataset.filter(even).filter(functools.partial(beyond, limit=1)).map(doubled)
    chain = chain.filter(Above(5)).map(dataclasses.replace)
    again = pickle.loads(pickle.dumps(chain))
    assert [sample.x for sample in again.ordered()] == [8]
    seen = pickle.loads(pickle.dumps(dataset.as_type(Box.Inner)))
    assert [sample.x for sample in seen.ordered()] == list(range(6))


def test_lambdas_and_local_functions_are_named(tmp_path: Path) -> None:
    """The error has the step, and says what to write."""

    def local(sample: Box) -> bool:
        return True

    dataset = boxes(tmp_path)
    odd = {
        r"filter\(\) .*<lambda> is a lambda": dataset.filter(lambda sample: True),
        r"map\(\) .*<lambda> is a lambda": dataset.map(lambda sample: sample),
        r"filter\(\) .*local is defined inside a function": dataset.filter(local),
        r"filter\(\) .*local is defined": dataset.filter(functools.partial(local)),
        r"local is defined inside": atdata.mix([dataset.filter(local)]),
    }
    for message, sent in odd.items():
        with pytest.raises(NotSendableError, match=f"{message}.* top of a module"):
            pickle.dumps(sent)
    with pytest.raises(TypeError):
        pickle.dumps(dataset.filter(local))
    assert len(list(dataset.filter(local).ordered())) == 6


def test_local_classes_are_named(tmp_path: Path) -> None:
    """A class that a function made, as the type of the samples or of what a map gives."""

    @atdata.packable
    class Local:
        x: int

    with pytest.raises(NotSendableError, match=r"class .*Local is defined inside a function"):
        pickle.dumps(boxes(tmp_path, Local))


def test_a_class_made_of_a_schema_is_sent(tmp_path: Path) -> None:
    """No module has it; it goes as its schema."""
    from atdata.schema.build import build_type
    from atdata.schema.model import Schema
    from atdata.schema.reflect import schema_of

    made = build_type(Schema("nowhere.Made", "1.0.0", schema_of(Box).fields))
    dataset = boxes(tmp_path, made)
    assert list(pickle.loads(pickle.dumps(dataset)).ordered()) == list(dataset.ordered())


def test_with_a_pickler_that_needs_no_names(tmp_path: Path) -> None:
    """cloudpickle and its like send lambdas and local classes; they are let."""
    module = types.ModuleType("somewhere.cloudpickle")
    # As their `dump` does, it calls the C pickler from a frame of its own.
    module.dumps = types.FunctionType(  # type: ignore[attr-defined]
        by_value.__code__, {**globals(), "__name__": "somewhere.cloudpickle"}
    )
    assert module.dumps(boxes(tmp_path).filter(lambda sample: True)) == "asked for its parts"


def by_value(dataset: Any) -> str:
    """Ask a dataset for what a pickler sends."""
    dataset.__reduce__()
    return "asked for its parts"


CELL = """
@atdata.packable
class Cell:
    x: int
"""
OUTER = """
@atdata.packable
class Outer:
    cell: Cell
"""


@pytest.fixture
def notebook() -> Any:
    """A module in which classes are defined again and again."""
    module = types.ModuleType("a_notebook")
    module.atdata = atdata  # type: ignore[attr-defined]
    sys.modules["a_notebook"] = module
    yield module
    del sys.modules["a_notebook"]


def run(cell: str, notebook: types.ModuleType) -> None:
    exec(cell, notebook.__dict__)


def test_a_class_that_was_defined_again_is_said_to_be(notebook: Any, tmp_path: Path) -> None:
    """Not "expected Cell, found Cell": a nested sample, a mixture of samples, of datasets."""
    run(CELL, notebook)
    run(OUTER, notebook)
    old, old_outer = notebook.Cell, notebook.Outer
    before = boxes(tmp_path / "old", old)
    run(CELL, notebook)
    new = notebook.Cell
    after = boxes(tmp_path / "new", new)
    again = "Cell was defined again"
    with pytest.raises(EncodeError, match=rf"\$\.cell: .*{again}"):
        _ = old_outer(new(1)).packed
    with pytest.raises(SampleTypeError, match=f"Sample 1: .*{again}"):
        atdata.write_samples([old(1), new(1)], tmp_path / "a.tar")
    with pytest.raises(SampleTypeError, match=f"several types.*{again}"):
        atdata.mix([before, after])
    with pytest.raises(SampleTypeError, match=again):
        list(after.map(lambda sample: old(sample.x), sample_type=new).packed())
    with pytest.raises(NotSendableError, match=r"class Cell was defined again"):
        pickle.dumps(before)
    assert list(pickle.loads(pickle.dumps(after)).ordered()) == list(after.ordered())
    # Two classes that merely have one name are something else.
    with pytest.raises(SampleTypeError) as caught:
        atdata.mix([after, boxes(tmp_path, Box)])
    assert "again" not in str(caught.value)


def xs(dataset: Any) -> list[int]:
    return [sample.x for sample in dataset.ordered()]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_starts_anew_gets_the_error_before_it_starts(
    method: str, tmp_path: Path
) -> None:
    """Where the process would be made, not in the child as an AttributeError."""
    dataset = boxes(tmp_path)
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=xs, args=(dataset.filter(lambda sample: True),))
    with pytest.raises(NotSendableError, match="lambda"):
        process.start()


def test_a_class_of_a_session_is_not_sent_to_a_new_process(tmp_path: Path) -> None:
    """A notebook's classes are in `__main__`, which a spawned process has not."""
    code = f"""
        import multiprocessing
        import atdata

        @atdata.packable
        class Cell:
            x: int

        dataset = atdata.write_samples([Cell(1)], {str(tmp_path / "a.tar")!r})
        process = multiprocessing.get_context("spawn").Process(target=print, args=(dataset,))
        try:
            process.start()
        except atdata.errors.NotSendableError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-"],
        input=textwrap.dedent(code),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "class Cell was defined in a notebook or a session" in done.stdout
