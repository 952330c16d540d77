"""Finding samples in tars: odd members, hostile ones, and runs of thousands."""

from __future__ import annotations

import io
import pickle
import tarfile
import uuid
import warnings
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import codec_of
from atdata.samples.ndarray import encode_array
from atdata.samples.packable import packable
from atdata.shards.reader import count_samples, read_blocks, scan_table
from atdata.shards.tar.keys import key_list
from atdata.shards.tar.walk import Walker
from tests.shards.parts import Digit, digits, packed, read_all, tar_of

PAYLOAD = packed(digits(1))[0].payload


def numbered(count: int) -> list[tuple[str, bytes]]:
    """Members of a regular shard."""
    return [(f"{i:06d}.msgpack", PAYLOAD) for i in range(count)]


def keys(data: bytes) -> list[str]:
    """Keys of the shard's samples."""
    return [key for key, _ in read_all(data)]


def added(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    """Add a member with any header fields."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def test_folders_are_no_samples_and_not_reported() -> None:
    """A folder holds nothing, whatever its name; nobody is warned of it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        added(tar, "folder", type=tarfile.DIRTYPE)
        added(tar, "b.msgpack", type=tarfile.DIRTYPE)
        added(tar, "folder/a.msgpack", PAYLOAD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert keys(out.getvalue()) == ["folder/a"]


@pytest.mark.filterwarnings("ignore::atdata.errors.UnreadMembersWarning")
def test_large_members_between_samples_are_passed_over() -> None:
    """Members of other kinds, larger than any buffer, may stand between samples of a stream."""
    members = [numbered(1)[0], ("video.mp4", bytes(20_000_000)), ("b.msgpack", PAYLOAD)]
    assert keys(tar_of(members)) == ["000000", "b"]


def test_global_headers_hold_for_all_members() -> None:
    """A global PAX header, as git archive writes, is read and changes nothing by itself."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "a commit"}) as tar:
        for name, data in numbered(40):
            added(tar, name, data)
    assert len(keys(out.getvalue())) == 40


def test_pax_sizes_win() -> None:
    """The size in a PAX header counts, not the one in the next header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        added(tar, "a.msgpack", PAYLOAD, pax_headers={"size": str(len(PAYLOAD))})
    assert keys(out.getvalue()) == ["a"]


def test_base_256_sizes_are_read() -> None:
    """Sizes in the binary form that GNU tar uses for large numbers are read."""
    data = bytearray(tar_of(numbered(1)))
    data[124:136] = b"\x80" + len(PAYLOAD).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert keys(bytes(data)) == ["000000"]


@pytest.mark.parametrize("count", [10, 100, 5000])
def test_names_may_change_in_length(count: int) -> None:
    """Numbers without leading zeros are keys in their order."""
    names = [(f"{i}.msgpack", PAYLOAD) for i in range(count)]
    assert keys(tar_of(names)) == [str(i) for i in range(count)]


@pytest.mark.parametrize("first", [0, 3, 99])
@pytest.mark.parametrize("in_order", [True, False])
def test_a_key_twice_is_found_far_apart(first: int, in_order: bool) -> None:
    """Among many keys, in order or random, one that appears twice is named."""
    random = np.random.default_rng(1)
    names = [f"{i:032x}" if in_order else uuid.UUID(bytes=random.bytes(16)).hex for i in range(100)]
    twice = [*names, names[first]]
    with pytest.raises(ShardError, match="two samples") as caught:
        read_all(tar_of([(f"{name}.msgpack", PAYLOAD) for name in twice]))
    assert caught.value.key == names[first]
    assert caught.value.offset is not None


def test_random_keys_are_read() -> None:
    """Keys in no order, as uuids are, come in the order of the shard."""
    names = [uuid.uuid4().hex for _ in range(300)]
    assert keys(tar_of([(f"{name}.msgpack", PAYLOAD) for name in names])) == names


@pytest.mark.parametrize("start", ["BZh", "PK\x03\x04", "\x28"])
def test_keys_may_begin_like_other_forms(start: str) -> None:
    """A tar whose first key begins as compressed files do is read: its header says what it is."""
    members = [(f"{start}{i}.msgpack", PAYLOAD) for i in range(3)]
    assert keys(tar_of(members)) == [f"{start}{i}" for i in range(3)]


def test_tars_inside_samples_are_data() -> None:
    """Headers inside a payload, where others would be, are not taken for members."""

    @packable
    class Inner:
        fill: bytes
        tar: bytes

    inner = tar_of(numbered(3))
    samples = []
    for i in range(60):
        start = len(msgpack.packb({"fill": b"x" * 300, "tar": inner})) - len(inner)
        samples.append(Inner(b"x" * (300 - start % 512 + 512), inner[: 512 * (i % 7)]))
    members = [(f"{p.key}.msgpack", p.payload) for p in packed(samples)]
    assert members[6][1].index(b"000000.msgpack") % 512 == 0
    assert [sample for _, sample in read_all(tar_of(members), Inner)] == samples


HOSTILE = {
    "nested 10,000 deep": b"\x81\xa5label" + b"\x91" * 10_000 + b"\x01",
    "an array of objects": msgpack.packb(
        {"image": encode_array(np.zeros(1)).replace(b"<f8", b"|O8"), "label": 1}
    ),
    "an array longer than it is": msgpack.packb(
        {"image": encode_array(np.zeros(9, np.uint8))[:-1], "label": 1}
    ),
    "a str longer than its member": b"\x81\xa4word\xdb\xff\xff\xff\xff",
    "bytes after the map": PAYLOAD + b"\0",
    "one field twice": b"\x82\xa5label\x01\xa5label\x02",
    "an extension": b"\x81\xa5label\xd4\x01\x02",
    "no map": b"\x93\x01\x02\x03",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("place", [0, 7, 49])
def test_hostile_payloads_are_named(what: str, place: int) -> None:
    """A payload that no writer makes is named by shard, offset and key, wherever it is."""
    members = numbered(50)
    members[place] = (members[place][0], HOSTILE[what])
    data = tar_of(members)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        offset = tar.getmembers()[place].offset_data
    place_of = f"^data-000000.tar, byte {offset}, sample '{place:06d}': "
    with pytest.raises(DecodeError, match=place_of) as raised:
        read_all(data)
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value)
    assert (again.shard, again.offset, again.key) == ("data-000000.tar", offset, f"{place:06d}")


def test_the_offset_of_a_payload_counts_from_the_start_of_a_long_stream(tmp_path: Path) -> None:
    """A stream is read in chunks, and a map whole; of both, an error gives the shard's offset."""
    members = numbered(5000)
    members[4321] = (members[4321][0], HOSTILE["no map"])
    path = tmp_path / "long.tar"
    path.write_bytes(tar_of(members))
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[4321].offset_data
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(DecodeError, match=f"^long.tar, byte {offset}, sample '004321': "):
            [b.samples() for b in read_blocks(source, shard="long.tar", codec=codec_of(Digit))]


def test_a_shard_of_traps_is_read() -> None:
    """Where every name has another length and every payload looks like a header, all are found."""
    trap = tar_of([("x.msgpack", b"")])[:512]
    members = [(f"{'y' * (i % 3)}{i}.msgpack", trap) for i in range(3000)]
    assert count_samples(io.BytesIO(tar_of(members)), shard="x") == 3000


@pytest.mark.filterwarnings("ignore::atdata.errors.UnreadMembersWarning")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["sample", "other", "folder"]), max_size=80))
def test_any_order_of_members(order: list[str]) -> None:
    """Samples are found between other members in any order; a shard without any is an error."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for i, what in enumerate(order):
            if what == "sample":
                added(tar, f"{i}.msgpack", PAYLOAD)
            elif what == "other":
                added(tar, f"{i}", b"{}")
            else:
                added(tar, f"{i}.d", type=tarfile.DIRTYPE)
    expected = [str(i) for i, what in enumerate(order) if what == "sample"]
    if "other" in order and not expected:
        with pytest.raises(ShardError, match=r"holds \d+ without an ending members"):
            keys(out.getvalue())
    else:
        assert keys(out.getvalue()) == expected


def test_a_shard_that_is_replaced_stays_what_it_was(tmp_path: Path) -> None:
    """A mapped shard is what it was when it was opened, though another is put in its place."""
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(numbered(50)))
    [block] = read_blocks(path, shard="x", codec=codec_of(Digit))
    (tmp_path / "new.tar").write_bytes(tar_of(numbered(3)))
    (tmp_path / "new.tar").replace(path)
    assert len(block.samples()) == 50


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("odd", [None, 0, 1, 37, 98, 99])
def test_members_at_one_distance_are_found_with_their_own_sizes(form: int, odd: int | None) -> None:
    """Sizes, times and names that differ are each member's own; one of another size is no stop."""
    members = [(f"{i:05d}.msgpack", bytes([i]) * (300 + i)) for i in range(100)]
    if odd is not None:
        members[odd] = (members[odd][0], b"x" * 2000)
    fields = {"mtime": 1700000000.25} if form == tarfile.PAX_FORMAT else {}
    data = tar_of(members, format=form, **fields)
    table = scan_table(io.BytesIO(data), shard="x.tar", shard_bytes=len(data))
    places = zip(table.offsets.tolist(), table.sizes.tolist(), strict=True)
    payloads = [data[offset : offset + size] for offset, size in places]
    spans = list(zip(table.keys(np.arange(len(table))), payloads, strict=True))
    assert spans == [(name.partition(".")[0], payload) for name, payload in members]


def judged(tar: bytes, most: int) -> list[tuple[str, int, int]] | str:
    """Key, offset and size of each sample, looked for ``most`` at a time; or the error."""
    walker, at, over = Walker(), 0, False
    spans: list[tuple[str, int, int]] = []
    try:
        while not over:
            found = walker.find(memoryview(tar), at, base=0, final=True, most=most)
            names = key_list([found.keys])
            offsets, sizes = np.asarray(found.offsets).tolist(), np.asarray(found.sizes).tolist()
            spans += zip(names, offsets, sizes, strict=True)
            at, over = found.end, found.over
    except ShardError as error:
        return str(error)
    return spans


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("twice", [1, 20, 39])
def test_a_key_twice_names_the_header_of_the_second(form: int, twice: int) -> None:
    """Judged many at once or one by one, the error leads to one byte: the later header's."""
    names = [f"{i:05d}.msgpack" for i in range(40)]
    names[twice] = names[0]
    data = tar_of([(name, PAYLOAD) for name in names], format=form)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        header = tar.getmembers()[twice].offset_data - 512
    wanted = f"byte {header}, sample '00000': two samples have this key"
    assert judged(data, 64) == judged(data, 7) == wanted


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(st.data())
def test_headers_are_judged_together_as_they_are_one_by_one(form: int, data: st.DataObject) -> None:
    """Whatever is changed in headers, many at once are taken for what each is taken for alone."""
    fields = {"mtime": 1700000000.25} if form == tarfile.PAX_FORMAT else {}
    members = [(f"{i:05d}.msgpack", bytes([i]) * (300 + i)) for i in range(40)]
    tar = bytearray(tar_of(members, format=form, **fields))
    each = (len(tar.rstrip(b"\0")) + 1023) // 512 // 40 * 512
    heads = range(0, each - 512, 1024)
    for _ in range(data.draw(st.integers(1, 3))):
        row = each * data.draw(st.integers(0, 39))
        at = row + data.draw(st.integers(0, each - 513) | st.integers(100, 160))
        tar[at] = data.draw(st.integers(0, 255) | st.sampled_from([0, 32, *b"01234567"]))
        if data.draw(st.booleans()):
            for head in (row + start for start in heads):
                total = sum(tar[head : head + 148]) + sum(tar[head + 156 : head + 512]) + 256
                tar[head + 148 : head + 156] = b"%06o\0 " % total
    together, alone = judged(bytes(tar), 64), judged(bytes(tar), 7)
    if isinstance(together, str) or isinstance(alone, str):
        # How far the last whole sample is before the error depends on how many were read.
        assert str(together).partition(";")[0] == str(alone).partition(";")[0]
    else:
        assert together == alone
