"""Files of an index that are damaged: every use ends as it should, or with an error of ours."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

import atdata
from atdata.errors import AtdataError, BackendError
from atdata.local import LocalIndex
from tests.local.conftest import Digit

USES: list[Callable[[LocalIndex], object]] = [
    lambda index: list(index.list_datasets()),
    lambda index: list(index.list_schemas()),
    lambda index: index.get_dataset("n3"),
    lambda index: index.get_dataset("missing"),
    lambda index: index.get_dataset("@local/n1@1.0.0"),
    lambda index: index.get_dataset("@local/n1@9.0.0"),
    lambda index: index.history("n1"),
    lambda index: index.decode_schema("atdata://local/sampleSchema/Digit@1.0.0"),
    lambda index: index.search("words"),
    lambda index: index.search("w", tags=["t1"]),
    lambda index: index.search(license="MIT"),
    lambda index: index.publish_schema(Digit),
    lambda index: index.label("n2", "1.0.0", index.get_dataset("n2")),
    lambda index: index.insert_dataset(atdata.Dataset[Digit]("https://a.org/x.tar"), name="n4"),
    lambda index: index.mirrored.uris(),
    lambda index: index.delete_dataset("n5"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of some entries, in one file that nobody has open."""
    folder = tmp_path_factory.mktemp("whole")
    with LocalIndex(folder / "index.db") as index:
        dataset = atdata.write_samples([Digit(np.zeros((1, 1), np.uint8), 1)], folder / "d.tar")
        for number in range(20):
            index.insert_dataset(
                dataset,
                name=f"n{number % 12}",
                description=f"some words n{number}",
                tags=[f"t{number % 3}"],
                license="MIT",
                metadata={"a": number},
            )
        index.label("n1", "1.0.0", index.get_dataset("n1"))
    with sqlite3.connect(folder / "index.db") as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return folder / "index.db"


def use_all(path: Path) -> int:
    """Use a file in every way; how many ways failed, each with an error of ours."""
    failed = 0
    for use in USES:
        try:
            with LocalIndex(path) as index:
                use(index)
        except AtdataError:
            failed += 1
    return failed


def test_bytes_changed_anywhere(whole: Path, tmp_path: Path) -> None:
    """Files with random bytes in random places never give an error that is not ours."""
    data, failed = whole.read_bytes(), 0
    for seed in range(25):
        random, damaged = Random(seed), bytearray(data)
        for _ in range(random.choice([1, 5, 50])):
            at = random.randrange(len(damaged))
            size = random.choice([1, 4, 100])
            damaged[at : at + size] = random.randbytes(len(damaged[at : at + size]))
        path = tmp_path / f"{seed}.db"
        path.write_bytes(damaged[: random.choice([len(damaged), len(damaged), len(damaged) // 2])])
        failed += use_all(path)
    assert failed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET document = CAST(x'ff80c3' AS TEXT)",
        "UPDATE entries SET document = x'ff80c3'",
        "UPDATE entries SET document = '[' || document",
        "UPDATE entries SET name = CAST(x'6eff' AS TEXT) WHERE name = 'n3'",
        "UPDATE entries SET revision = 'x' || revision",
        "UPDATE entries SET cid = x'00'",
        "UPDATE schemas SET document = CAST(x'7b22ff' AS TEXT)",
        "UPDATE schemas SET document = '{}'",
        "UPDATE schemas SET document = '3'",
        "UPDATE schemas SET key = 'Digit x'",
        "UPDATE notes SET value = CAST(x'ff' AS TEXT)",
        "UPDATE notes SET value = '[]'",
        "UPDATE found_by SET value = x'ff'",
        "UPDATE found_by SET value = x'73ffffffff'",
        "UPDATE found_by SET value = 'text'",
        "UPDATE found_by SET value = x'62'",
        "DELETE FROM found_by WHERE hex(key) LIKE '64%'",
        "DELETE FROM found_by WHERE hex(key) LIKE '6D%'",
        "DROP TABLE found_by",
        "DROP TABLE notes",
    ],
)
def test_rows_that_make_no_sense(whole: Path, tmp_path: Path, statement: str) -> None:
    """Invalid Unicode, numbers in place of text and random pages are reported as damage."""
    path = tmp_path / "index.db"
    shutil.copy(whole, path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    assert use_all(path)


def test_a_damaged_text_says_what_to_do(whole: Path, tmp_path: Path) -> None:
    """The error names the file and says to restore it."""
    path = tmp_path / "index.db"
    shutil.copy(whole, path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET document = CAST(x'ff80c3' AS TEXT)")
    connection.close()
    with LocalIndex(path) as index, pytest.raises(BackendError, match="damaged") as caught:
        index.get_dataset("n1")
    assert str(path) in str(caught.value)
    assert "Restore" in str(caught.value)
