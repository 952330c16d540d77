"""The commands on a local index, as a user types them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import atdata
from tests.cli.commands import COMMAND, TYPES, atdata_command, documents
from tests.docs.running import environment
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server

INSERT = ("insert", "rows-000000.tar", "rows-000001.tar", "rows-000002.tar", "--name", "rows")


def test_from_files_to_a_dataset_and_its_samples(folder: Path) -> None:
    """Shards are inserted with a type, listed, shown, and read sample by sample."""
    said = ("--type", "rows:Row", "--tag", "a", "--tag", "b", "--license", "MIT")
    [entry] = documents(folder, *INSERT, *said, "--description", "Rows of text")
    assert entry["samples"] == 20
    assert len(entry["shards"]) == 3
    assert documents(folder, "ls") == [entry]
    [shown] = documents(folder, "show", "rows")
    assert shown["cid"] == entry["cid"]
    assert shown["schema"]["name"] == "rows.Row"
    assert (shown["tags"], shown["license"]) == (["a", "b"], "MIT")
    for target in ("rows", "@local/rows", "rows-{000000..000002}.tar", "rows-*.tar"):
        read = documents(folder, "head", target, "-n", "9")
        assert [sample["text"] for sample in read] == [f"text {i}" for i in range(9)]
        assert read[1]["vector"] == {"dtype": "float32", "shape": [3]}


def test_what_people_get_says_the_same(folder: Path) -> None:
    """Without --json the same facts are printed as text."""
    assert atdata_command(folder, *INSERT, "--type", "rows:Row").returncode == 0
    listed = atdata_command(folder, "ls").stdout
    assert listed.split("\t")[:3] == ["rows", "20", "3"]
    assert "vector: float32" in atdata_command(folder, "show", "rows").stdout
    first = "0: text=text 0, vector=float32 [0.0, 0.0, 0.0], score=None\n"
    assert atdata_command(folder, "head", "rows", "-n", "1").stdout == first


def test_a_type_is_found_in_the_samples(folder: Path) -> None:
    """Without a type the fields come from the samples; a copy goes to the store, resharded."""
    copied = documents(folder, *INSERT, "--store", "copies", "--maxcount", "5")[0]
    assert len(copied["shards"]) == 4
    assert all("/copies/" in shard["url"] for shard in copied["shards"])
    [schema] = documents(folder, "schema", "show", "rows")
    assert [(f["name"], f["type"], f["optional"]) for f in schema["fields"]] == [
        ("text", "str", False),
        ("vector", "float32", False),
        ("score", "float", True),
    ]


CLASSES = """
import atdata

@atdata.packable
class Row:
    other: int
"""


def test_samples_get_the_published_schema_that_fits(folder: Path) -> None:
    """If no type was recorded with the shards, a published schema with the same fields is used and
    named; of two, none is."""
    (folder / "rows.atdata.json").unlink()
    documents(folder, *INSERT, "--type", "rows:Row")
    shards = ("insert", "rows-*.tar", "--name", "again")
    done = atdata_command(folder, *shards, "--json")
    published = "atdata://local/sampleSchema/Row@1.0.0"
    assert json.loads(done.stdout)["schema_ref"] == published, done.stderr
    assert f"note: the samples fit the published schema {published}" in done.stderr

    twin = (folder / "rows.py").read_text().replace("class Row", "class Twin")
    (folder / "twins.py").write_text(twin)
    documents(folder, *INSERT[:-1], "twins", "--type", "twins:Twin")
    [third] = documents(folder, *shards[:-1], "third")
    assert third["schema_ref"].endswith("/Third@1.0.0")


def test_a_schema_by_the_name_of_its_class(folder: Path) -> None:
    """A class alone means its newest version; a dataset of this name, a typo or two classes are
    answered with what can be written."""
    documents(folder, *INSERT, "--type", "rows:Row")
    [shown] = documents(folder, "schema", "show", "Row")
    assert shown["ref"].endswith("/Row@1.0.0")
    typo = atdata_command(folder, "schema", "show", "Rwo")
    assert (typo.returncode, typo.stdout) == (3, "")
    assert "No schema has this name either. Did you mean 'Row'?" in typo.stderr
    typo = atdata_command(folder, "schema", "show", "Row@1.0")
    assert (typo.returncode, typo.stdout) == (3, "")
    assert "'1.0' is not a version" in typo.stderr
    assert "Published: Row@1.0.0 (rows.Row)." in typo.stderr

    (folder / "more.py").write_text(CLASSES)
    code = "import atdata, more; atdata.write_samples([more.Row(1)], 'more.tar')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
    documents(folder, "insert", "more.tar", "--name", "more", "--type", "more:Row")
    both = atdata_command(folder, "schema", "show", "Row")
    assert (both.returncode, both.stdout) == (3, "")
    assert "Row@1.0.0 (rows.Row), Row@2.0.0 (more.Row)" in both.stderr
    documents(folder, "insert", "more.tar", "--name", "Row", "--type", "more:Row")
    assert documents(folder, "schema", "show", "Row")[0]["name"] == "more.Row"


def test_schemas_are_listed_shown_and_compared(folder: Path) -> None:
    """A schema is named by reference, class and version, or dataset; 7 means that they differ."""
    (folder / "rows.atdata.json").unlink()
    documents(folder, "insert", "rows-000000.tar", "--name", "loose")
    documents(folder, *INSERT, "--type", "rows:Row")
    assert {s["name"] for s in documents(folder, "schema", "ls")} == {"rows.Row", "inferred.Loose"}
    for name in ("rows", "Row@1.0.0", "atdata://local/sampleSchema/Row@1.0.0"):
        assert documents(folder, "schema", "show", name)[0]["name"] == "rows.Row"
    assert "class Row:" in atdata_command(folder, "schema", "show", "rows", "--python").stdout
    assert atdata_command(folder, "schema", "diff", "rows", "Row@1.0.0").returncode == 0
    (folder / "rows.py").write_text("import atdata\n@atdata.packable\nclass Row:\n    text: int\n")
    other = folder / "other.py"
    other.write_text("import atdata, rows\natdata.local.LocalIndex().publish_schema(rows.Row)\n")
    subprocess.run(
        [COMMAND[0], other.name], cwd=folder, env=environment(folder, {}), check=True, timeout=60
    )
    done = atdata_command(folder, "schema", "diff", "Row@1.0.0", "Row@2.0.0")
    assert done.returncode == 7
    assert "text: str → int" in done.stdout


def test_a_schema_of_the_index_serves_for_other_shards(folder: Path) -> None:
    """--schema takes a reference or Class@version of the index."""
    documents(folder, *INSERT, "--type", "rows:Row")
    for ref in ("Row@1.0.0", "atdata://local/sampleSchema/Row@1.0.0"):
        [entry] = documents(folder, "insert", "rows-000001.tar", "--name", "one", "--schema", ref)
        assert entry["schema_ref"] == "atdata://local/sampleSchema/Row@1.0.0"


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ("nothing",), "No such command"),
        (2, ("ls", "--nothing"), "No such option"),
        (2, ("ls", "--index", "ftp://x"), "postgresql"),
        (2, ("ls", "--index", "x", "--network", "a.test"), "--network"),
        (2, ("insert", "rows-000000.tar", "--name", " "), "name"),
        (2, ("insert", "rows-000000.tar", "--name", "x", "--type", "rows"), "module:Class"),
        (2, ("insert", "rows-000000.tar", "--name", "x", "--type", "rows:None_"), "None_"),
        (2, ("insert", "rows-000000.tar", "--name", "x", "--maxcount", "2"), "--store"),
        (2, ("promote", "rows", "--handle", "a.test", "--store", "folder"), "s3://"),
        (2, ("show", "at://nobody"), "AT URI"),
        (3, ("show", "rows"), "rows"),
        (3, ("schema", "show", "Row@1.0.0"), "Row"),
        (3, ("head", "none-*.tar"), "none"),
        (3, ("verify", "none.tar"), "none.tar"),
        (2, ("ls", "--network", "not a handle"), "not a handle"),
        (2, ("lenses", "not a handle"), "not a handle"),
        (3, ("insert", "none.tar", "--name", "x"), "none.tar"),
        (4, ("insert", "rows-000000.tar", "--name", "x", "--store", "s3://b"), "AWS_ACCESS_KEY_ID"),
        (5, ("head", "cut.tar"), "cut.tar"),
        (5, ("insert", "cut.tar", "--name", "cut"), "cut.tar"),
        (6, ("ls", "--index", "redis://127.0.0.1:1/0"), "127.0.0.1:1"),
        (6, ("head", "http://127.0.0.1:1/x.tar"), "127.0.0.1:1"),
    ],
)
def test_exit_codes_and_messages(
    folder: Path, code: int, arguments: tuple[str, ...], said: str
) -> None:
    """A command that fails says why on standard error, without a traceback."""
    (folder / "cut.tar").write_bytes((folder / "rows-000000.tar").read_bytes()[:2500])
    done = atdata_command(folder, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search(r"[a-z]\w+=|\w\(", done.stderr), "Python in a message of the shell"
    assert done.stdout == ""


def test_debug_shows_where(folder: Path) -> None:
    """--debug adds the traceback and keeps the exit code."""
    done = atdata_command(folder, "--debug", "show", "rows")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_nothing_is_recorded_of_data_that_do_not_fit(folder: Path) -> None:
    """A type that does not fit the recorded one is refused before anything is recorded."""
    (folder / "wrong.py").write_text(TYPES_THAT_DIFFER)
    done = atdata_command(folder, *INSERT, "--type", "wrong:Row")
    assert done.returncode == 7
    assert "$.text" in done.stderr
    assert documents(folder, "ls") == []
    assert documents(folder, "schema", "ls") == []


TYPES_THAT_DIFFER = "import atdata\n@atdata.packable\nclass Row:\n    text: int\n"


def test_insert_into_redis_and_s3(
    folder: Path, redis_url: str, s3_server: S3Server, s3_bucket: str
) -> None:
    """The index can be in Redis and the shards in a bucket, with access from the environment."""
    more = {**s3_server.credentials(), "AWS_ENDPOINT_URL": s3_server.endpoint}
    place = ("--index", redis_url)
    [entry] = documents(
        folder, *INSERT, "--type", "rows:Row", "--store", f"s3://{s3_bucket}/own", *place, more=more
    )
    assert entry["data_urls"][0].startswith(f"s3://{s3_bucket}/own/")
    assert entry["samples"] == 20
    assert len(documents(folder, "head", "rows", "-n", "99", *place, more=more)) == 20


def test_control_c_ends_with_130(
    folder: Path, proxy_to: Callable[[str], FaultProxy], s3_server: S3Server
) -> None:
    """Ctrl-C in the middle of a download ends the command with 130 and no traceback."""
    proxy = proxy_to(s3_server.endpoint)
    paused = proxy.pause()
    process = subprocess.Popen(
        [*COMMAND, "head", f"{proxy.url}/x.tar"],
        cwd=folder,
        env=environment(folder, {}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    paused.wait()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    paused.release()
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_reader_that_has_enough(folder: Path) -> None:
    """A closed pipe ends a command silently."""
    documents(folder, *INSERT, "--type", "rows:Row")
    process = subprocess.Popen(
        [*COMMAND, "head", "rows", "-n", "20"],
        cwd=folder,
        env=environment(folder, {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    process.wait(60)
    assert "Traceback" not in said


def test_bars_go_to_a_terminal_only(folder: Path) -> None:
    """A progress bar is drawn on a terminal, on standard error; standard output stays data."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [*COMMAND, *INSERT, "--type", "rows:Row", "--store", "copies", "--json"],
            cwd=folder,
            env=environment(folder, {"TERM": "xterm"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            timeout=60,
        )
        os.close(theirs)
        drawn = terminal.read(100_000)
    assert b"copying rows" in drawn
    assert done.stdout.startswith("{")
    assert done.stdout.count("\n") == 1
    arguments = ("--type", "rows:Row", "--store", "copies", "--json")
    again = atdata_command(folder, *INSERT, *arguments)
    assert again.stderr == ""


def test_a_label_in_the_local_index(folder: Path) -> None:
    """A label resolves to the dataset that had the name at that time, in the chosen index."""
    [first] = documents(folder, *INSERT, "--type", "rows:Row")
    assert documents(folder, "label", "rows", "rows", "2.0.0") == [{"name": "@local/rows@2.0.0"}]
    [second] = documents(folder, *INSERT[:2], "--name", "rows", "--type", "rows:Row")
    assert second["cid"] != first["cid"]
    assert documents(folder, "show", "@local/rows@2.0.0")[0]["cid"] == first["cid"]
    refused = atdata_command(folder, "label", "rows", "rows", "2.0.0")
    assert (refused.returncode, refused.stdout) == (7, "")
    moved = atdata_command(folder, "label", "@local/rows", "rows", "2.0.0", "--move")
    assert moved.stdout == "@local/rows@2.0.0\n"
    assert documents(folder, "show", "@local/rows@2.0.0")[0]["cid"] == second["cid"]
    documents(folder, "label", first["cid"], "rows", "1.9.0")
    assert documents(folder, "show", "@local/rows@1.9.0")[0]["cid"] == first["cid"]
    assert atdata_command(folder, "label", "rows", "rows", "two").returncode == 2
    assert atdata_command(folder, "label", "nothing", "rows", "3.0.0").returncode == 3
    elsewhere = atdata_command(folder, "label", "rows", "rows", "3.0.0", "--index", "other.db")
    assert elsewhere.returncode == 3
    network = atdata_command(folder, "label", "@alice.test/rows", "rows", "3.0.0")
    assert network.returncode == 2
    assert "--handle" in network.stderr


@pytest.mark.parametrize("name", ["team/digits", "v1.tar", "a*b", "{a,b}", "rows"])
def test_a_name_is_a_name(folder: Path, name: str) -> None:
    """A dataset is found by each of its names, even if a folder has the same name."""
    documents(folder, *INSERT[:-1], name, "--type", "rows:Row")
    assert len(documents(folder, "head", name, "-n", "99")) == 20
    (folder / name).mkdir(parents=True)
    shadowed = atdata_command(folder, "head", name, "-n", "99", "--json")
    assert len(shadowed.stdout.splitlines()) == 20
    assert f"./{name}" in shadowed.stderr
    assert len(documents(folder, "verify", name)) == 3
    (folder / "rows-000000.tar").rename(folder / name / "one.tar")
    assert len(documents(folder, "head", f"./{name}", "-n", "99")) == 7


def test_looking_makes_no_index(folder: Path) -> None:
    """Reading shards by their path, or completing a name, leaves no index file."""
    documents(folder, "head", "rows-000000.tar")
    assert atdata_command(folder, "head", "nothing").returncode == 3
    assert completed(folder, "atdata show r") == []
    assert not (folder / "index.db").exists()


def completed(folder: Path, line: str) -> list[str]:
    """What the shell offers after this line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    more = {"_ATDATA_COMPLETE": "complete_bash", **words}
    return atdata_command(folder, more=more).stdout.split()


def test_names_are_completed(folder: Path) -> None:
    """The shell completes names of datasets, of the index that the command would use."""
    for name in ("rows", "rows-2", "other"):
        documents(folder, *INSERT[:-1], name, "--type", "rows:Row")
    for command in ("show", "head", "verify", "promote", "label"):
        assert completed(folder, f"atdata {command} r") == ["rows", "rows-2"]
    assert completed(folder, "atdata show --index redis://127.0.0.1:1 r") == []


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("ls --json >&-", 0, ""),
        ("ls --json <&-", 0, ""),
        ("ls 2>&-", 0, ""),
        ("show nothing 2>&-", 3, ""),
        ("show nothing >&- 2>&- <&-", 3, ""),
        ("promote rows --handle a.test <&-", 4, "ATDATA_PASSWORD"),
        ("head rows -n 20 >/dev/full", 1, "No space left"),
        ("ls >/dev/full", 1, "No space left"),
        ("head rows -n 20 | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("PYTHONIOENCODING=ascii ls", 0, ""),
        ("PYTHONIOENCODING=ascii show nöthing", 3, "n\\xf6thing"),
    ],
)
def test_streams_as_they_come(folder: Path, shell: str, code: int, said: str) -> None:
    """Closed, full, broken or ASCII streams end a command with its own code and no traceback."""
    documents(folder, *INSERT[:-1], "rows", "--type", "rows:Row", "--description", "Zeilen für x")
    variable, command = shell.split(" ", 1) if shell.startswith("PYTHON") else ("", shell)
    done = subprocess.run(
        ["bash", "-c", f'{variable} "{COMMAND[0]}" -m atdata {command}'],
        cwd=folder,
        env=environment(folder, {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert said in done.stderr


def test_the_data_of_the_tour_need_no_type(folder: Path) -> None:
    """The type that samples were written with is recorded next to them, and inserted; without it,
    a field that is None in every sample does not stop an insertion."""
    (folder / "tour.py").write_text(TOUR)
    subprocess.run(
        [COMMAND[0], "tour.py"], cwd=folder, env=environment(folder, {}), check=True, timeout=60
    )
    [entry] = documents(folder, "insert", "digits.tar", "--name", "typed")
    assert entry["schema_ref"].endswith("/Digit@1.0.0")
    image = documents(folder, "schema", "show", "typed")[0]["fields"][0]
    assert (image["name"], image["type"]) == ("image", "uint8")
    (folder / "digits.tar.atdata.json").write_text('{\n "atdata": 2}')
    done = atdata_command(folder, "insert", "digits.tar", "--name", "digits", "--json")
    assert done.returncode == 0, done.stderr
    assert "format 2, which this version of atdata does not know" in done.stderr
    assert "writer" in done.stderr
    fields = documents(folder, "schema", "show", "digits")[0]["fields"]
    assert [field["name"] for field in fields] == ["image", "label", "writer"]
    assert documents(folder, "head", "digits", "-n", "1")[0]["writer"] is None


TOUR = """
import atdata, numpy as np
from numpy.typing import NDArray

@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    writer: str | None = None

atdata.write_samples([Digit(np.zeros((2, 2), np.uint8), i) for i in range(300)], "digits.tar")
"""


def test_what_a_module_prints_is_not_output(folder: Path) -> None:
    """A module that --type names may print; standard output stays JSON."""
    (folder / "loud.py").write_text(TYPES + "print('hello')\n")
    done = atdata_command(folder, *INSERT, "--type", "loud:Row", "--json")
    assert done.stdout.startswith("{")
    assert "hello" in done.stderr


@pytest.mark.parametrize("module", ["atdata", "atdata.cli"])
def test_a_module_is_the_command(module: str) -> None:
    """``python -m`` runs it by the name of the package and by the one that it had at first."""
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True)
    assert (done.returncode, done.stdout.split()) == (0, [b"atdata", atdata.__version__.encode()])
