"""What other packages wrote is read here."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from tests.interop.cases import CASES, digest, digest_sample, shard_count

BATCH_SIZE = 3


@pytest.fixture(params=sorted(CASES))
def case_name(request: pytest.FixtureRequest) -> str:
    """Name of a case."""
    return str(request.param)


def patterns(case_name: str) -> list[str]:
    """The case as one shard, and as several."""
    last = shard_count(CASES[case_name]) - 1
    return [f"{case_name}.tar", f"{case_name}-{{000000..{last:06d}}}.tar"]


def test_peer_shards_read_by_type(peer_shards: Path, case_name: str) -> None:
    """Every sample that the peer wrote arrives, in order, equal in every field, as its type."""
    case = CASES[case_name]
    for pattern in patterns(case_name):
        dataset = atdata.Dataset.of(case.sample_type, peer_shards / pattern)
        found = [digest_sample(sample, case.sample_type) for sample in dataset]
        assert found == case.digests()
        assert len(dataset) == len(case.rows)


def test_peer_shards_read_in_batches(peer_shards: Path, case_name: str) -> None:
    """A batch of the peer's samples holds what reading them one by one gives."""
    case = CASES[case_name]
    for pattern in patterns(case_name):
        batches = atdata.Dataset.of(case.sample_type, peer_shards / pattern).ordered(BATCH_SIZE)
        found = [digest_sample(sample, case.sample_type) for batch in batches for sample in batch]
        assert found == case.digests()


def test_peer_shards_read_without_a_type(peer_shards: Path, case_name: str) -> None:
    """Without the peer's class, its shards give the same fields, arrays decoded."""
    case = CASES[case_name]
    for pattern in patterns(case_name):
        dataset = atdata.Dataset[atdata.DictSample](peer_shards / pattern)
        assert [digest(sample.to_dict()) for sample in dataset] == case.digests()


def test_peer_shards_shuffle_without_loss(peer_shards: Path, case_name: str) -> None:
    """Shuffled, one by one or in batches, the peer's samples are all there, each once."""
    case = CASES[case_name]
    dataset = atdata.Dataset.of(case.sample_type, peer_shards / patterns(case_name)[1])
    each = list(dataset.shuffled(seed=1))
    batched = [sample for batch in dataset.shuffled(BATCH_SIZE, seed=1) for sample in batch]
    for samples in (each, batched):
        found = [digest_sample(sample, case.sample_type) for sample in samples]
        assert sorted(map(str, found)) == sorted(map(str, case.digests()))
