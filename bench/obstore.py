"""Shards of a user's own bucket, read by our S3 reader and by the package obstore.

``python -m bench.obstore`` starts the S3 server of the tests and prints a table: throughput with
16 connections, dropped connections, a forked and a spawned process, pickles and reprs. Both run in
one environment below ``.cache``, each case in a process of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import pickle
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, Final

from atdata.net.policy import Policy
from atdata.sources.s3_access import S3Access, without_keys
from atdata.sources.s3_reader import S3Reader
from bench.envs import ANY_PYTHON, ROOT, Environment

ENVIRONMENT: Final = Environment(
    "obstore", ("-e", ".", "boto3>=1.36", "obstore==0.12.1"), ANY_PYTHON
)
BUCKET: Final = "bench"
SHARDS: Final = 48
SHARD_BYTES: Final = 8_000_000
CONNECTIONS: Final = 16
READ_BYTES: Final = 1 << 20
ROUNDS: Final = 3
ERROR: Final = re.compile(r"[\w.]+(Error|Exception)\b")
"""The line of a traceback that names the exception."""
LIMIT_SECONDS: Final = 60
"""What is not done by then hangs."""
DROPS: Final[dict[str, dict[str, Any]]] = {
    "one drop in the middle": {"after": SHARD_BYTES // 2, "times": 1},
    "a drop every 2 MB": {"after": 2_000_000, "times": None},
    "twenty drops every 200 kB": {"after": 200_000, "times": 20},
}


def key_of(number: int) -> str:
    return f"train-{number:06d}.tar"


def shard(number: int) -> bytes:
    return random.Random(number).randbytes(SHARD_BYTES)


class Ours:
    """Our reader."""

    def __init__(self, access: dict[str, str]) -> None:
        self.access = S3Access.from_settings(access)

    def read(self, key: str) -> Iterator[bytes]:
        with S3Reader(self.access).open(f"s3://{BUCKET}/{key}") as stream:
            while chunk := stream.read(READ_BYTES):
                yield chunk


class Obstore:
    """The other package, with its default settings."""

    def __init__(self, access: dict[str, str]) -> None:
        store: Any = importlib.import_module("obstore.store")
        self.store = store.S3Store(
            BUCKET,
            endpoint=access["AWS_ENDPOINT"],
            access_key_id=access["AWS_ACCESS_KEY_ID"],
            secret_access_key=access["AWS_SECRET_ACCESS_KEY"],
            region=access["AWS_REGION"],
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def read(self, key: str) -> Iterator[bytes]:
        yield from self.store.get(key).stream(min_chunk_size=READ_BYTES)


Reader = Ours | Obstore
READERS: Final[dict[str, Callable[[dict[str, str]], Reader]]] = {"ours": Ours, "obstore": Obstore}


def size_of(reader: Reader, key: str) -> int:
    return sum(len(chunk) for chunk in reader.read(key))


def throughput(reader: Reader) -> str:
    """All shards, by 16 threads; the best of three rounds, and the processor time of one."""
    keys = [key_of(number) for number in range(SHARDS)]
    seconds, processor = [], []
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in range(ROUNDS):
            started, before = time.monotonic(), time.process_time()
            assert sum(pool.map(size_of, repeat(reader), keys)) == SHARDS * SHARD_BYTES
            seconds.append(time.monotonic() - started)
            processor.append(time.process_time() - before)
    megabytes = SHARDS * SHARD_BYTES / 1e6
    return f"{megabytes / min(seconds):.0f} MB/s, {min(processor) / megabytes * 1e3:.2f} s/GB"


def dropped(reader: Reader) -> str:
    """One shard, through a proxy that drops connections."""
    digest = hashlib.sha256()
    for chunk in reader.read(key_of(0)):
        digest.update(chunk)
    return "whole" if digest.digest() == hashlib.sha256(shard(0)).digest() else "other bytes"


def forked(reader: Reader) -> str:
    """A shard in a process that is forked after one was read."""
    size_of(reader, key_of(0))
    child = os.fork()
    if child == 0:
        os._exit(0 if size_of(reader, key_of(1)) == SHARD_BYTES else 1)
    return "reads" if os.waitpid(child, 0)[1] == 0 else "fails"


def spawned(reader: Reader) -> str:
    """A shard in a spawned process, to which the reader is pickled."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(size_of, (reader, key_of(0)))
    return "reads" if found == SHARD_BYTES else "fails"


def kept_keys(reader: Reader) -> str:
    """Whether the secret key is in the repr, and in a pickle that is to have no keys."""
    if isinstance(reader, Ours):
        secret = str(reader.access.secret_key)
    else:
        secret = str(reader.store.config["secret_access_key"])
    with without_keys():
        pickled = secret.encode() in pickle.dumps(reader)
    shown = secret in repr(vars(reader))
    return f"repr: {'shown' if shown else 'hidden'}, pickle: {'kept' if pickled else 'left out'}"


def refused(reader: Reader) -> str:
    """Whether an address of this machine can be refused, as for URLs from the network."""
    if not isinstance(reader, Ours):
        return "no such setting"
    try:
        S3Reader(endpoint=reader.access.endpoint).open(
            f"s3://{BUCKET}/{key_of(0)}", policy=Policy(allow_private=False)
        )
    except ValueError as error:
        return type(error).__name__
    return "reads"


CASES: Final[dict[str, Callable[[Reader], str]]] = {
    "16 connections": throughput,
    "after fork": forked,
    "spawned": spawned,
    "keys": kept_keys,
    "private addresses": refused,
    **dict.fromkeys(DROPS, dropped),
}


def ask(reader: str, case: str, access: dict[str, str]) -> str:
    """One case, in a process of the environment."""
    command = [str(ENVIRONMENT.python()), "-m", "bench.obstore", reader, case, json.dumps(access)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"hangs (over {LIMIT_SECONDS} s)"
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if ERROR.match(line)]
        return (said or ["fails"])[-1].partition(":")[0].rpartition(".")[2]
    return done.stdout.strip()


def main() -> None:
    from tests.services import s3
    from tests.services.proxy import FaultProxy

    with s3.start() as server:
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        for number in range(SHARDS):
            client.put_object(Bucket=BUCKET, Key=key_of(number), Body=shard(number))
        print(f"| | {' | '.join(READERS)} |\n| --- | {' | '.join('---' for _ in READERS)} |")
        for case in CASES:
            found = []
            for reader in READERS:
                with FaultProxy(server.endpoint) as proxy:
                    access = server.credentials()
                    if case in DROPS:
                        proxy.cut(match=r"GET .*\.tar", **DROPS[case])
                        access["AWS_ENDPOINT"] = proxy.url
                    found.append(ask(reader, case, access))
            print(f"| {case} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(CASES[sys.argv[2]](READERS[sys.argv[1]](json.loads(sys.argv[3]))))
    else:
        main()
