"""Random programs: each step is done by the package and by the model, and compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.errors import DatasetNotFoundError, LabelExistsError, LengthError
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere
from tests.differential import plain
from tests.differential.plain import MAKERS, WORDS, Sample, same


@atdata.packable
class Digit:
    """See `plain.digit`."""

    image: NDArray[np.uint8]
    label: int
    writer: str | None = None


@atdata.packable
class Table:
    """See `plain.table`."""

    x: float
    flag: bool
    blob: bytes
    items: list[int]
    rates: dict[str, float]
    pairs: list[list[str]]


@atdata.packable
class Sound:
    """See `plain.sound`."""

    wave: NDArray[np.float32]
    gain: NDArray[np.float64]
    mask: NDArray[np.bool_] | None


LEVELS: tuple[Literal["full", "sizes", "off"], ...] = ("full", "sizes", "off")
TYPES: dict[str, Any] = {"Digit": Digit, "Table": Table, "Sound": Sound}


@dataclass
class Held:
    """A dataset, and what it holds."""

    dataset: atdata.Dataset[Any]
    samples: list[Sample]
    kind: str
    keys: list[str] | None = None
    filtered: bool = False
    part: bool = False
    dotted: bool = False
    """Whether keys have dots, which are read, and written nowhere."""

    @property
    def plain(self) -> bool:
        """Whether it is as stored."""
        return self.dataset.is_plain and not self.part


@dataclass
class Revision:
    """What an index should say of one revision of a name."""

    samples: list[Sample]
    content: tuple[Any, ...]
    details: dict[str, Any]
    cid: str
    kind: str
    stored: bool

    def adds_nothing_to(self, newest: Revision) -> bool:
        """Whether the newest revision says the same, and has its shards where they are wanted."""
        same = (self.content, self.details) == (newest.content, newest.details)
        return same and (newest.stored or not self.stored)


@dataclass
class World:
    """Where programs run: indexes on one database, and perhaps a network."""

    folder: Path
    index: LocalIndex
    with_store: LocalIndex
    other: LocalIndex
    client: AtmosphereClient | None = None


@dataclass
class Program:
    """One program; its seed gives its steps."""

    seed: int
    world: World
    held: list[Held] = field(default_factory=list)
    names: dict[str, list[Revision]] = field(default_factory=dict)
    labels: dict[tuple[str, str], Revision] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.folder = self.world.folder / f"p{self.seed}"
        self.folder.mkdir()

    def run(self, steps: int) -> None:
        """Take so many steps, then forget the names."""
        self.write()
        for _ in range(steps):
            step: Callable[[], None] = self.rng.choice(STEPS).__get__(self)
            self.log.append(step.__name__)
            step()
        for name in list(self.names):
            assert self.world.index.delete_dataset(name) == len(self.names[name])

    def any(self) -> Held:
        """One of the datasets."""
        return self.rng.choice(self.held)

    def path(self) -> Path:
        """A path that nothing is at, some with characters that mean something elsewhere."""
        odd = self.rng.choice(("", " b", "[1]", "{x}", "%20", "ü"))
        return self.folder / f"d{len(self.log)}{odd}.tar"

    # --- datasets

    def write(self) -> None:
        """Samples, or columns of them, become shards that tarfile and msgpack read."""
        kind = self.rng.choice(list(MAKERS))
        samples = [MAKERS[kind](self.rng) for _ in range(self.rng.choice((1, 2, 7, 30, 61)))]
        most = self.rng.choice((None, 1 + self.rng.randrange(25)))
        path, made = self.path(), TYPES[kind]
        if self.rng.random() < 0.3:
            columns = {name: [sample[name] for sample in samples] for name in samples[0]}
            dataset = atdata.write_columns(
                columns, path, sample_type=made, maxcount=most, fsync=False
            )
        else:
            typed = [made(**sample) for sample in samples]
            dataset = atdata.write_samples(typed, path, maxcount=most, fsync=False)
        self.keep(dataset, samples, kind)

    def keep(self, dataset: atdata.Dataset[Any], samples: list[Sample], kind: str) -> None:
        """Compare the shards of a written dataset, and remember it."""
        read = plain.read_tars([Path(shard) for shard in dataset.shard_list])
        assert same([sample for _, sample in read], samples)
        self.held.append(Held(dataset, samples, kind, [key for key, _ in read]))

    def foreign(self) -> None:
        """A shard of somebody else's, with keys of all sorts."""
        kind = self.rng.choice(list(MAKERS))
        chosen = {
            self.rng.choice(("", "a/", "a/b.c/", ".h/"))
            + self.rng.choice(("x", "x.y", ".dot", "22.05", "ü" * 9, "k" * 80, "seg 1"))
            + str(number)
            for number in range(self.rng.randrange(1, 12))
        }
        members = [(key, MAKERS[kind](self.rng)) for key in sorted(chosen)]
        path = self.path()
        plain.write_tar(path, members, self.rng)
        dataset: atdata.Dataset[Any] = atdata.Dataset.of(TYPES[kind], path)
        samples = [sample for _, sample in members]
        keys = [key for key, _ in members]
        dotted = any("." in key.rpartition("/")[2] for key in keys)
        self.held.append(Held(dataset, samples, kind, keys, dotted=dotted))

    def read(self) -> None:
        """One way of reading gives what the model holds."""
        held, rng = self.any(), self.rng
        dataset, samples = held.dataset, held.samples
        way = rng.randrange(8)
        if way == 0:
            assert same([fields(s) for s in dataset], samples)
        elif way == 1:
            read = [s for batch in dataset.ordered(1 + rng.randrange(20)) for s in batch]
            assert same([fields(s) for s in read], samples)
        elif way == 2:
            # What is read shuffled is the same each time, and everything once.
            options: dict[str, Any] = {"seed": rng.randrange(3), "epoch": rng.randrange(3)}
            options["window"] = rng.choice((None, 4, 64))
            one, two = ([fields(s) for s in dataset.shuffled(**options)] for _ in range(2))
            assert same(one, two)
            if not held.part:
                assert plain.in_some_order(one, samples)
        elif way == 3:
            self.by_position(held)
        elif way == 4 and held.keys is not None and not held.part and not held.filtered:
            key = rng.choice(held.keys)
            assert same(fields(dataset.by_key(key)), samples[held.keys.index(key)])
        elif way == 5:
            size = 1 + rng.randrange(9)
            verify = rng.choice(LEVELS)
            read = [s for batch in dataset.verified(verify).ordered(size) for s in batch.samples]
            assert same([fields(s) for s in read], samples)
        elif way == 6:
            size = 1 + rng.randrange(9)
            ragged: dict[str, Any] = {
                "Sound": {"wave": "list", "mask": "list"},
                "Digit": {"label": "list"},
            }
            batches = list(dataset.batches(size, ragged=ragged.get(held.kind)))
            for start, batch in zip(range(0, len(samples), size), batches, strict=True):
                for name, column in batch.items():
                    expected = [sample[name] for sample in samples[start : start + size]]
                    assert len(column) == len(expected)
                    assert all(map(equal, column, expected)), name
        elif way == 7 and not held.filtered:
            assert len(dataset) == len(samples)

    def by_position(self, held: Held) -> None:
        """Positions are those of a list."""
        count = len(held.samples)
        at = self.rng.choice((0, -1, count, -count, -count - 1, 2**64 - 1, self.rng.randrange(70)))
        if held.filtered or held.part:
            raises(LengthError, held.dataset.__getitem__, at)
        elif not -count <= at < count:
            raises(IndexError, held.dataset.__getitem__, at)
        else:
            assert same(fields(held.dataset[at]), held.samples[at]), at
        if not held.filtered and not held.part:
            cut = slice(*(self.rng.choice((None, -9, -1, 0, 3, 50)) for _ in range(2)))
            assert same([fields(s) for s in held.dataset[cut]], held.samples[cut])

    def transform(self) -> None:
        """A filter or a map."""
        held = self.any()
        name = next(iter(held.samples[0])) if held.samples else ""
        size = self.rng.choice((2, 3))
        if self.rng.random() < 0.5:
            dataset = held.dataset.filter(lambda s: len(repr(getattr(s, name))) % size > 0)
            keep = [len(repr(s[name])) % size > 0 for s in held.samples]
            kept = list(compress(held.samples, keep))
            keys = None if held.keys is None else list(compress(held.keys, keep))
            self.held.append(replace(held, dataset=dataset, samples=kept, keys=keys, filtered=True))
        elif held.kind == "Digit":
            dataset = held.dataset.map(_turned)
            turned = [
                {**s, "image": s["image"][::-1].copy(), "writer": f"{s['writer']}!"}
                for s in held.samples
            ]
            self.held.append(replace(held, dataset=dataset, samples=turned))

    def ranks(self) -> None:
        """The parts of all ranks are the whole, in order of storage as well as shuffled."""
        held = self.any()
        world = 1 + self.rng.randrange(4)
        if held.part or held.filtered:
            return
        parts = [held.dataset.split(rank, world) for rank in range(world)]
        assert [len(part) for part in parts] == [
            len(held.samples[rank::world]) for rank in range(world)
        ] or abs(max(map(len, parts)) - min(map(len, parts))) <= 1
        read = [[fields(s) for s in part] for part in parts]
        assert plain.in_some_order([s for one in read for s in one], held.samples)
        mixed = [fields(s) for part in parts for s in part.shuffled(seed=1)]
        assert plain.in_some_order(mixed, held.samples)
        chosen = self.rng.randrange(world)
        self.held.append(
            replace(
                held,
                dataset=parts[chosen],
                samples=read[chosen],
                keys=held.keys if world == 1 else None,
                part=world > 1,
            )
        )

    def rewrite(self) -> None:
        """Whatever a dataset gives is what is written of it: views, filters, a rank's part."""
        held = self.any()
        if held.samples:
            most = self.rng.choice((None, 3, 10))
            written = atdata.write_samples(held.dataset, self.path(), maxcount=most, fsync=False)
            self.keep(written, held.samples, held.kind)

    def resume(self) -> None:
        """A reading that is stopped and resumed gives each sample once, in the same order."""
        held, rng = self.any(), self.rng
        size, taken = rng.choice((None, 4)), rng.randrange(6)

        def reading() -> Any:
            if shuffle:
                return held.dataset.shuffled(size, seed=seed, window=16)
            return held.dataset.ordered(size)

        shuffle, seed = rng.random() < 0.5, rng.randrange(5)
        whole = list(reading())
        first = reading()
        begun = list(islice(first, taken))
        state = json.loads(json.dumps(first.state_dict()))
        second = reading()
        second.load_state_dict(state)
        assert same(flat([*begun, *second]), flat(whole))

    # --- indexes

    def insert(self) -> None:
        """A name gets a revision, unless its newest one says the same already."""
        held, rng = self.any(), self.rng
        if held.part and held.dotted:
            return
        stored = rng.random() < 0.5
        index = self.world.with_store if stored else self.world.index
        name = f"p{self.seed}x{rng.choice('ab')}"
        given: dict[str, Any] = {}
        if rng.random() < 0.5:
            given["description"] = f"p{self.seed}y {rng.choice(WORDS)}"
        if rng.random() < 0.5:
            given["tags"] = rng.sample(WORDS, rng.randrange(3))
        if rng.random() < 0.3:
            given["license"] = rng.choice(("MIT", "CC0-1.0"))
        if rng.random() < 0.3:
            given["metadata"] = {"n": rng.randrange(3)}
        options: dict[str, Any] = (
            {"maxcount": rng.choice((5, 40))} if stored and rng.random() < 0.5 else {}
        )
        before = self.names.get(name, [])
        dotted = any("." in key.rpartition("/")[2] for key in held.keys or ())
        if not held.samples or (not held.plain if not stored else dotted):
            raises(ValueError, partial(index.insert_dataset, held.dataset, name=name, **given))
            return
        entry = index.insert_dataset(held.dataset, name=name, **given, **options)
        content = (held.kind, *plain.digests([Path(shard.url) for shard in entry.shards]))
        base = before[-1].details if before else {}
        details = {**base, **given}
        details = {key: value for key, value in details.items() if value}
        made = Revision(held.samples, content, details, entry.cid, held.kind, stored)
        newest = before[-1] if before else None
        if newest is None or not made.adds_nothing_to(newest):
            self.names.setdefault(name, []).append(made)
        assert entry.revision == len(self.names[name])
        read = plain.read_tars([Path(shard.url) for shard in entry.shards])
        assert same([sample for _, sample in read], held.samples)

    def look(self) -> None:
        """An index says of every name what was said last, and all of what was said before."""
        index = self.rng.choice((self.world.index, self.world.with_store))
        mine = {e.name: e for e in index.list_datasets() if e.name.startswith(f"p{self.seed}x")}
        assert mine.keys() == self.names.keys()
        for name, revisions in self.names.items():
            assert details_of(mine[name]) == revisions[-1].details
            history = index.history(name)
            assert [details_of(entry) for entry in history] == [r.details for r in revisions]
            assert [entry.cid for entry in history] == [r.cid for r in revisions]
            loaded = atdata.load_dataset(f"@local/{name}", split="train", index=index)
            assert same([fields(s) for s in loaded], revisions[-1].samples)

    def label(self) -> None:
        """A label means one revision for ever, and is given once."""
        if not self.names:
            return
        name = self.rng.choice(list(self.names))
        number = self.rng.randrange(len(self.names[name]))
        revision, index = self.names[name][number], self.world.index
        key = (f"p{self.seed}l", f"{self.rng.randrange(3)}.0.0")
        known = self.labels.get(key)
        try:
            index.label(*key, index.history(name)[number])
        except LabelExistsError:
            assert known is not None
            assert known is not revision
        else:
            assert known in (None, revision)
            self.labels[key] = revision
        for (label, version), expected in self.labels.items():
            found = index.get_dataset(f"@local/{label}@{version}")
            assert (found.cid, details_of(found)) == (expected.cid, expected.details)

    def search(self) -> None:
        """A search finds the names whose words, tags and licence are asked for."""
        asked = " ".join(
            self.rng.sample(("se", "sun", "nig", "digit", "mit"), self.rng.randrange(3))
        )
        tags = self.rng.sample(WORDS, self.rng.randrange(2))
        license = self.rng.choice((None, None, "MIT"))
        found = self.world.index.search(
            f"p{self.seed}x {asked}", tags=tags, license=license, limit=10
        )
        expected = set()
        for name, revisions in self.names.items():
            said = revisions[-1].details
            texts = [name, said.get("description", ""), *said.get("tags", [])]
            texts += [revisions[-1].kind, said.get("license", "").replace("-", " ")]
            if (
                plain.fits(asked, texts)
                and set(tags) <= set(said.get("tags", []))
                and license in (None, said.get("license"))
            ):
                expected.add(name)
        assert {entry.name for entry in found} == expected, (asked, tags, license)

    def copy(self) -> None:
        """A dataset goes to an index of another kind by the documents' own program."""
        if not self.names:
            return
        name = self.rng.choice(list(self.names))
        source, target, revision = self.world.index, self.world.other, self.names[name][-1]
        entry = source.get_dataset(name)
        made: Any = source.decode_schema(entry.schema_ref)
        ref = target.publish_schema(made)
        dataset: Any = atdata.Dataset[made](entry.data_urls[0])
        if len(entry.data_urls) == 1:
            copied = target.insert_dataset(dataset, name=name, schema_ref=ref)
            loaded = atdata.load_dataset(f"@local/{name}", split="train", index=target)
            assert same([fields(s) for s in loaded], revision.samples)
            assert [s.sha256 for s in copied.shards] == [s.sha256 for s in entry.shards]
            assert target.delete_dataset(name) == 1

    def gone(self) -> None:
        """A name that is deleted is gone, with all its revisions; its labels lead nowhere."""
        if self.names and self.rng.random() < 0.3:
            name = self.rng.choice(list(self.names))
            assert self.world.index.delete_dataset(name) == len(self.names[name])
            lost = self.names.pop(name)
            for key, revision in list(self.labels.items()):
                if any(revision is one for one in lost):
                    raises(
                        DatasetNotFoundError,
                        self.world.index.get_dataset,
                        "@local/{}@{}".format(*key),
                    )
                    del self.labels[key]
                    self.world.index.label(*key, self._anything(), move=True)
                    self.world.index.delete_dataset(f"p{self.seed}z")
            raises(DatasetNotFoundError, self.world.index.get_dataset, name)

    def _anything(self) -> Any:
        held = next(held for held in self.held if held.plain)
        return self.world.index.insert_dataset(held.dataset, name=f"p{self.seed}z")

    def promote(self) -> None:
        """What was promoted reads back by its URI alone; again it is the same record."""
        if self.world.client is None or not self.names:
            return
        name = self.rng.choice(list(self.names))
        revision = self.names[name][-1]
        entry = self.world.index.get_dataset(name)
        client = self.world.client
        store = PDSBlobStore(client)
        uris = {
            promote_to_atmosphere(entry, self.world.index, client, data_store=store)
            for _ in range(2)
        }
        assert len(uris) == 1
        found = atdata.load_dataset(uris.pop(), split="train")
        assert same([fields(s) for s in found], revision.samples)


STEPS: list[Any] = [
    Program.write,
    Program.foreign,
    *[Program.read] * 6,
    *[Program.transform] * 2,
    Program.ranks,
    Program.rewrite,
    *[Program.resume] * 2,
    *[Program.insert] * 3,
    Program.look,
    Program.label,
    Program.search,
    Program.copy,
    Program.gone,
    Program.promote,
]


def _turned(sample: Digit) -> Digit:
    return Digit(sample.image[::-1].copy(), sample.label, f"{sample.writer}!")


def fields(sample: Any) -> Sample:
    """A sample as the model has it."""
    return {field.name: getattr(sample, field.name) for field in sample.__atdata_codec__.fields}


def flat(items: list[Any]) -> list[Sample]:
    """Samples, or batches of them, one by one."""
    found: list[Sample] = []
    for item in items:
        found += (
            [fields(s) for s in item] if isinstance(item, atdata.SampleBatch) else [fields(item)]
        )
    return found


def equal(a: Any, b: Any) -> bool:
    """A value of a column, which may be NumPy's, and the model's."""
    if isinstance(b, np.ndarray) and b.ndim == 0:
        return bool(np.asarray(a).dtype == b.dtype and np.array_equal(a, b, equal_nan=True))
    if isinstance(a, np.generic):
        a = a.item()
    return same(a, b)


def details_of(entry: Any) -> dict[str, Any]:
    """The description of an entry, without empty fields."""
    said = {
        "description": entry.description,
        "tags": list(entry.tags),
        "license": entry.license,
        "metadata": entry.metadata,
    }
    return {name: value for name, value in said.items() if value}


def raises(kind: type[Exception], function: Callable[..., Any], *arguments: Any) -> None:
    """The call must fail like this."""
    try:
        function(*arguments)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")
