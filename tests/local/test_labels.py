"""Labels of a local index: each means one revision, for ever."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atdata
from atdata.errors import DatasetNotFoundError, LabelExistsError, SchemaRefError
from atdata.local import LocalDatasetEntry, LocalIndex
from tests.local.conftest import Digit, MakeDigits

RACES = 100


def test_a_label_leads_to_one_revision(index: LocalIndex, digits: MakeDigits) -> None:
    """@local/name@version opens the revision that was labelled, whatever came later."""
    first = index.insert_dataset(digits(1), name="points")
    index.label("points", "2.0.0", first)
    index.label("points", "2.0.0", first)
    second = index.insert_dataset(digits(2, samples=2), name="points")
    assert index.get_dataset("@local/points@2.0.0") == first
    assert index.get_dataset("points") == second
    assert len(atdata.load_dataset("@local/points@2.0.0", split="train", index=index)) == 7
    assert len(atdata.load_dataset("@local/points", split="train", index=index)) == 2
    with pytest.raises(LabelExistsError, match="move=True"):
        index.label("points", "2.0.0", second)
    index.label("points", "2.0.0", second, move=True)
    assert index.get_dataset("@local/points@2.0.0") == second
    # The version of the schema still leads to the newest revision with it.
    assert index.get_dataset("@local/points@1.0.0") == second
    with pytest.raises(SchemaRefError):
        index.label("points", "v2", second)


def test_the_same_bytes_do_not_take_a_label_over(
    index: LocalIndex, digits: MakeDigits, tmp_path: Path
) -> None:
    """Insertions of the same content, under this name or another, leave a label where it is."""
    good = index.insert_dataset(digits(1, folder=tmp_path), name="mine", description="good")
    index.label("mine", "1.0.0", good)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    copies = [shutil.copy(shard.url, scratch) for shard in good.shards]
    other = index.insert_dataset(atdata.Dataset[Digit](copies), name="scratch")
    again = index.insert_dataset(atdata.Dataset[Digit](copies), name="mine", description="bad")
    assert good.cid == other.cid == again.cid
    assert index.get_dataset("@local/mine@1.0.0") == good
    with pytest.raises(LabelExistsError, match="revision 1 of 'mine'"):
        index.label("mine", "1.0.0", again)


def test_a_label_of_what_was_deleted_leads_nowhere(index: LocalIndex, digits: MakeDigits) -> None:
    """After a deletion the label says so; the same data inserted again do not take its place."""
    dataset = digits()
    entry = index.insert_dataset(dataset, name="mine")
    index.label("mine", "1.2.3", entry)
    index.insert_dataset(dataset, name="other")
    index.delete_dataset("mine")
    with pytest.raises(DatasetNotFoundError, match="deleted"):
        index.get_dataset("@local/mine@1.2.3")
    again = index.insert_dataset(dataset, name="mine")
    with pytest.raises(DatasetNotFoundError, match="deleted"):
        index.get_dataset("@local/mine@1.2.3")
    with pytest.raises(LabelExistsError):
        index.label("mine", "1.2.3", again)
    index.label("mine", "1.2.3", again, move=True)
    assert index.get_dataset("@local/mine@1.2.3") == again


def test_only_what_an_index_has_is_labelled(
    index: LocalIndex, digits: MakeDigits, tmp_path: Path
) -> None:
    """An entry of another index, or of a revision that is not here, is refused."""
    with LocalIndex(tmp_path / "other.db") as other:
        foreign = other.insert_dataset(digits(), name="mine")
    with pytest.raises(DatasetNotFoundError, match="no revision 1 of 'mine'"):
        index.label("mine", "1.0.0", foreign)
    index.insert_dataset(digits(2), name="mine")
    with pytest.raises(DatasetNotFoundError, match="no revision 1 of 'mine'"):
        index.label("mine", "1.0.0", foreign)
    with pytest.raises(DatasetNotFoundError, match="no labels"):
        index.get_dataset("@local/mine@7.0.0")


def test_a_label_of_an_older_version_stays_with_its_name(
    index: LocalIndex, digits: MakeDigits
) -> None:
    """Labels that older versions wrote name the content: they lead to its first revision."""
    dataset = digits()
    first = index.insert_dataset(dataset, name="mine")
    note = json.dumps({"name": "mine", "cid": first.cid})
    index._backend.set_note("label/mine/1.0.0", note)
    index.insert_dataset(dataset, name="mine", description="again")
    index.insert_dataset(dataset, name="other")
    assert index.get_dataset("@local/mine@1.0.0") == first
    index.label("mine", "1.0.0", first)


def test_a_missing_version_lists_those_that_exist(index: LocalIndex, digits: MakeDigits) -> None:
    """The error for a version names the labels and the versions of the schema."""
    entry = index.insert_dataset(digits(), name="mine")
    for version in ("1.10.0", "1.2.0"):
        index.label("mine", version, entry)
    with pytest.raises(DatasetNotFoundError) as caught:
        index.get_dataset("@local/mine@9.0.0")
    assert "labels: 1.2.0, 1.10.0" in str(caught.value)
    assert "schema: 1.0.0" in str(caught.value)
    with pytest.raises(DatasetNotFoundError, match="no dataset 'yours'"):
        index.get_dataset("@local/yours@9.0.0")


def test_one_of_two_processes_gets_a_label(place: str, digits: MakeDigits) -> None:
    """If two processes set a label at once, one succeeds and the other gets an error."""
    with LocalIndex(place) as index:
        for number, name in enumerate(("one", "two")):
            index.insert_dataset(digits(number), name=name)
        context = multiprocessing.get_context("spawn")
        barrier, answers = context.Barrier(2), context.SimpleQueue()
        workers = [
            context.Process(target=_take_labels, args=(place, name, barrier, answers))
            for name in ("one", "two")
        ]
        for worker in workers:
            worker.start()
        taken = dict(answers.get() for _ in workers)
        for worker in workers:
            worker.join()
        for number in range(RACES):
            (owner,) = [name for name, got in taken.items() if number in got]
            assert index.get_dataset(f"@local/rel@{number}.0.0").name == owner


def _take_labels(place: str, name: str, barrier: Barrier, answers: SimpleQueue[object]) -> None:
    with LocalIndex(place) as index:
        entry = index.get_dataset(name)
        got = []
        for number in range(RACES):
            barrier.wait()
            try:
                index.label("rel", f"{number}.0.0", entry)
                got.append(number)
            except LabelExistsError:
                pass
        answers.put((name, got))


def is_same(one: LocalDatasetEntry, other: LocalDatasetEntry) -> bool:
    """Whether two entries are of one revision, not of one that was inserted again."""
    return one == other and one.created_at == other.created_at


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "label", "delete"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    max_size=12,
)


@given(actions=ACTIONS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_never_move(
    index: LocalIndex, digits: MakeDigits, actions: list[tuple[str, str, int, int]]
) -> None:
    """Through any insertions and deletions a label gives what was labelled, or says it is gone."""
    if not hasattr(index, "made"):
        index.made, index.round = [digits(n) for n in range(3)], 0  # type: ignore[attr-defined]
    index.round += 1  # type: ignore[attr-defined]
    made, number = index.made, index.round  # type: ignore[attr-defined]
    labels: dict[str, LocalDatasetEntry] = {}
    alive: dict[str, list[LocalDatasetEntry]] = {"a": [], "b": []}
    for action, short, content, version in actions:
        name, label = f"{short}{number}", f"@local/l{number}@{version}.0.0"
        if action == "insert":
            entry = index.insert_dataset(made[content], name=name)
            if not any(is_same(entry, other) for other in alive[short]):
                alive[short].append(entry)
        elif action == "delete" and alive[short]:
            index.delete_dataset(name)
            alive[short] = []
        elif action == "label" and alive[short]:
            entry = alive[short][content % len(alive[short])]
            if is_same(labels.setdefault(label, entry), entry):
                index.label(f"l{number}", f"{version}.0.0", entry)
            else:
                with pytest.raises(LabelExistsError):
                    index.label(f"l{number}", f"{version}.0.0", entry)
        for reference, entry in labels.items():
            if any(is_same(entry, other) for other in alive[entry.name[0]]):
                assert is_same(index.get_dataset(reference), entry)
            else:
                with pytest.raises(DatasetNotFoundError):
                    index.get_dataset(reference)


def test_a_label_without_what_goes_before_it(index: LocalIndex, digits: MakeDigits) -> None:
    """``name@1.0.0`` is no name; the error has the reference, if that leads to a dataset."""
    entry = index.insert_dataset(digits(), name="digits")
    index.label("digits", "7.0.0", entry)
    for version in ("7.0.0", "1.0.0"):
        with pytest.raises(DatasetNotFoundError, match=f"Did you mean '@local/digits@{version}'"):
            index.get_dataset(f"digits@{version}")
    with pytest.raises(DatasetNotFoundError, match="Did you mean 'digits'"):
        index.get_dataset("digits@8.0.0")
