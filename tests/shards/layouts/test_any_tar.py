"""Any tar that webdataset reads: the same members here, or an error; never a sample less."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

import atdata
from atdata.errors import AtdataError
from atdata.samples.codec import codec_of
from atdata.shards.layouts.codec import find_members
from atdata.shards.reader import Unread, read_blocks, scan_table

KEYS = st.text("ab0_-é", max_size=3) | st.sampled_from(["__meta__", "long" * 40, "é" * 60])
FOLDERS = st.sampled_from(["", "", "d/", "./", "d.v1/", "/abs/", "__skip__/", "f/" * 60])
FIELDS = st.sampled_from(
    ["jpg", "JPG", "left.png", "right.png", "bin", "x", "", "a.b.c", "msgpack", "mp", "__key__"]
)
NAMES = st.builds(
    lambda folder, key, field: folder + key + "." + field, FOLDERS, KEYS, FIELDS
) | st.sampled_from(["README", ".hidden", "._a.jpg", "d/.x", "d/"])
FLAGS = st.sampled_from([tarfile.REGTYPE] * 12 + [tarfile.DIRTYPE, tarfile.LNKTYPE, b"7", b"Z"])
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=700), FLAGS), max_size=12)


def runs() -> st.SearchStrategy[list[tuple[str, bytes, bytes]]]:
    """Samples whose members stand together, as real shards have them."""

    def members(names: list[str], fields: list[str], size: int) -> list[tuple[str, bytes, bytes]]:
        return [
            (f"{name}.{field}", bytes([n % 251]) * (size * n % 1500), tarfile.REGTYPE)
            for n, name in enumerate(names)
            for field in fields
        ]

    keys = st.lists(st.text("abc/01", min_size=1, max_size=4), unique=True, max_size=30)
    fields = st.lists(st.sampled_from(["jpg", "json.bin", "x", "Y"]), min_size=1, unique=True)
    return st.builds(members, keys, fields, st.integers(0, 300))


def tar_of(members: list[tuple[str, bytes, bytes]], format: int, **fields: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data, flag in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = flag, len(data) if flag in (tarfile.REGTYPE, b"7") else 0
            info.linkname = "target" if flag == tarfile.LNKTYPE else ""
            vars_of = {"mtime": 0, **fields}
            info.mtime = vars_of["mtime"]
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def of_webdataset(data: bytes) -> list[tuple[str, dict[str, bytes]]]:
    """Key and members of every sample, as webdataset gives them."""
    files = tar_file_expander([{"url": "x.tar", "stream": io.BytesIO(data)}])
    return [
        (sample["__key__"], {k: v for k, v in sample.items() if not k.startswith("__")})
        for sample in group_by_keys(files)
    ]


def of_ours(source: Any) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The same, read here, not decoded."""
    for block in read_blocks(source, shard="x.tar", codec=codec_of(atdata.DictSample)):
        payloads, head = block._payloads, block.decoder.head
        for key, start, end in zip(block.keys, payloads.starts, payloads.ends, strict=True):
            if not head:
                yield key, {"msgpack": bytes(payloads.buffer[start:end])}
                continue
            found = find_members(payloads.buffer[start - head : end])
            assert found.key == key
            yield key, dict(zip(found.fields, map(bytes, found.values), strict=True))


def check(data: bytes, folder: Path) -> None:
    try:
        expected = of_webdataset(data)
    except Exception:
        expected = None
    path = folder / "x.tar"
    path.write_bytes(data)
    results: list[Any] = []
    for source in (path, io.BytesIO(data)):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                results.append(list(of_ours(source)))
            except AtdataError as error:
                results.append(str(error))
    assert results[0] == results[1]
    found = results[0]
    if isinstance(found, str) or expected is None:
        return
    table = scan_table(path, shard="x.tar", shard_bytes=len(data), unread=Unread())
    if table.head.layout == "members":
        # Files such as d/.DS_Store, which webdataset takes for samples, are reported instead.
        hidden = [key for key, _ in expected if key.endswith("/")]
        wanted: list[tuple[str, dict[str, bytes]]] = []
        for key, fields in expected:
            if wanted and wanted[-1][0] == key:
                wanted[-1][1].update(fields)
            elif not key.endswith("/"):
                wanted.append((key, fields))
        assert found == wanted
        assert warned or not hidden
        return
    # In our own layout a dot is part of a key, more keys are allowed, and the rest is reported.
    endings = ("msgpack", "mp", "msg")
    theirs = [item for _, fields in expected for item in fields.items()]
    samples = [value for name, value in theirs if name.rpartition(".")[2] in endings]
    assert Counter(samples) <= Counter(fields["msgpack"] for _, fields in found)
    assert warned or len(samples) == len(theirs)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(),
    MEMBERS | runs(),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from([0, 1700000000.25]),
)
def test_any_tar_gives_what_webdataset_gives(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    members: list[tuple[str, bytes, bytes]],
    format: int,
    mtime: float,
) -> None:
    """Whatever its names, order and form, a tar gives the same samples, or one of our errors."""
    try:
        made = tar_of(members, format, mtime=mtime if format == tarfile.PAX_FORMAT else 0)
    except ValueError:
        return
    check(made, tmp_path_factory.mktemp("any"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), runs())
def test_a_changed_byte_never_loses_a_sample(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    members: list[tuple[str, bytes, bytes]],
) -> None:
    """A shard with changed or missing bytes gives what webdataset gives, or one of our errors."""
    made = bytearray(tar_of(members, tarfile.USTAR_FORMAT))
    for _ in range(data.draw(st.integers(1, 3))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del made[data.draw(st.integers(0, len(made) - 1)) :]
    before = of_webdataset(tar_of(members, tarfile.USTAR_FORMAT))
    path = tmp_path_factory.mktemp("any") / "x.tar"
    path.write_bytes(made)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = list(of_ours(path))
        except AtdataError:
            return
    # What is not an error and not warned of has all samples; only bytes of data may differ.
    if not warned:
        assert sum(len(fields) for _, fields in found) == sum(len(f) for _, f in before)
