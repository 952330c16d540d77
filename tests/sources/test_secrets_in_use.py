"""Secrets stay out of what is logged, printed and raised while the library is used for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.services.s3 import S3Server
from tests.sources.web import WebServer

PROGRAM = '''
import io, json, logging, sys, traceback, warnings
lines = io.StringIO()
logging.basicConfig(stream=lines, level=logging.DEBUG)
import atdata
atdata.limits.patience = 3
from atdata.local import LocalIndex, S3DataStore

place = json.loads(sys.argv[1])

@atdata.packable
class Digit:
    label: int

def attempt(what):
    """What a person would see of it."""
    try:
        found = what()
    except BaseException:
        lines.write(traceback.format_exc())
    else:
        lines.write(f"{found!r} {found}")

keys = place["keys"]
store = S3DataStore(keys, bucket=place["bucket"])
index = LocalIndex(place["index"], data_store=store)
made = atdata.write_samples([Digit(n) for n in range(9)], place["folder"] + "/digits.tar")
entry = index.insert_dataset(made, name="digits")
print(len(list(atdata.load_dataset("@local/digits", Digit, split="train", index=index))))
for url in place["urls"]:
    dataset = atdata.Dataset[Digit](url)
    attempt(lambda: dataset)
    attempt(lambda: list(dataset))
    attempt(lambda: dataset[0])
    attempt(lambda: len(dataset.cached(place["folder"] + "/cache")))
    attempt(lambda: index.add_entry(dataset, name="other"))
    attempt(lambda: (index.get_dataset("other"), index.get_dataset("other").data_urls))
    attempt(lambda: dataset.source)
wrong = {**keys, "AWS_SECRET_ACCESS_KEY": place["wrong"]}
attempt(lambda: S3DataStore(wrong, bucket=place["bucket"]).write_shards(made, prefix="x"))
attempt(lambda: S3DataStore({**keys, "AWS_SESSION_TOKEN": place["wrong"]}, bucket="gone").check())
attempt(lambda: atdata.S3Source.from_credentials(wrong, bucket=place["bucket"]).shard_list)
for where in place["databases"]:
    attempt(lambda: LocalIndex(where))
print(json.dumps(lines.getvalue()))
'''


def test_nothing_secret_is_said(
    s3_server: S3Server, s3_bucket: str, web: WebServer, tmp_path: Path
) -> None:
    """With every library at DEBUG, and each URL refused, broken or not there, no log line, repr or
    traceback has a key, a password, a token or a signature."""
    secret = "hunter2Canary"
    host = web.url.removeprefix("http://")
    web.files["/there.tar"] = b"no tar"
    urls = [
        f"http://bob:{secret}@{host}/gone.tar",
        f"http://{secret}@{host}/there.tar",
        f"http://{host}/there.tar?X-Amz-Signature={secret}",
        f"http://{host}/gone.tar?token={secret}",
        f"http://{host}/gone-{{0..2}}.tar?token={secret}#key={secret}",
        f"http://bob:un/escaped{secret}@{host}/a.tar",
        f"http://bob:{secret}@127.0.0.1:1/a.tar?sig={secret}",
        f"http://{host}/redirect?to=http://bob:{secret}@127.0.0.1:1/x.tar",
        f"s3://AKIAEXAMPLE:{secret}@{s3_bucket}/a.tar",
        f"s3://{s3_bucket}/a.tar?X-Amz-Security-Token={secret}",
        f"gs://bob:{secret}@bucket/a.tar",
    ]
    databases = [
        f"postgresql://bob:{secret}@127.0.0.1:1/index",
        f"postgresql://bob:p@ss/{secret}@127.0.0.1:1/index",
        f"postgresql://127.0.0.1:1/index?password={secret}",
        f"redis://:{secret}@127.0.0.1:1/0",
        f"redis://bob:p@ss#{secret}@127.0.0.1:1/0",
    ]
    place = {
        "keys": s3_server.credentials(),
        "bucket": s3_bucket,
        "index": str(tmp_path / "index.db"),
        "folder": str(tmp_path),
        "urls": urls,
        "databases": databases,
        "wrong": secret,
    }
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROGRAM, json.dumps(place)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert done.returncode == 0, done.stderr
    read, said = done.stdout.splitlines()
    assert read == "9"
    lines = json.loads(said)
    assert "botocore" in lines
    assert "urllib3" in lines
    shown = [line for line in (lines + done.stderr).splitlines() if secret in line]
    assert shown == []
    for key in (s3_server.secret_key, s3_server.access_key):
        assert key not in lines
