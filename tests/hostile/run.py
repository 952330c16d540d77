"""Runs the corpus: ``python -m tests.hostile.run FOLDER [NAME]``, one line of JSON a file.

Each file is read in a process of its own, forked from one that has everything imported: with
a limit on its memory and its time, and watched.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.hostile import internet
from tests.hostile.addresses import large
from tests.hostile.attack import attack
from tests.hostile.items import DID, Item
from tests.hostile.make import items
from tests.hostile.watch import Watch

ADDRESS_SPACE = 3 << 30
SECONDS = 60
SECRETS = ("canary-secret", "CANARYKEY")
"""What must not leave this machine: see `environment`."""


def environment(folder: Path, trusted: Path) -> dict[str, str]:
    """The environment of a user who has keys."""
    return {
        "HOME": str(folder),
        "SSL_CERT_FILE": str(trusted),
        "AWS_ACCESS_KEY_ID": "CANARYKEY",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_CONFIG_FILE": str(folder / "work" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "work" / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "ATDATA_PLC_URL": "https://plc.example",
    }


def in_child(item: Item, folder: Path, port: int, out: int) -> None:
    """Read one file and write what came of it to ``out``."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.alarm(SECONDS)
    work = folder / "work"
    watch = Watch([work, folder / "certificate.pem", Path("/dev/null")], work, port)

    def asked(address: str) -> None:
        if address != internet.PUBLIC:
            watch.note(f"asks for a connection to {address}")

    socket.getaddrinfo = internet.resolve
    socket.socket = internet.routed(port, asked)  # type: ignore[misc]
    before = {path.name for path in folder.iterdir()}
    started = time.process_time()
    found: dict[str, object] = {"fault": ""}
    watch.start()
    try:
        found["ends"] = attack(item.path, item.data, work)
    except BaseException:
        watch.on = False
        found["fault"] = traceback.format_exc()[-3000:]
    watch.on = False
    if new := {path.name for path in folder.iterdir()} - before:
        watch.note(f"makes {new}")
    found["seconds"] = round(time.process_time() - started, 2)
    found["violations"] = watch.seen
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    os.write(out, json.dumps(found).encode())


def run(item: Item, folder: Path, server: internet.PublicServer) -> dict[str, object]:
    """Read one file in a child of this process."""
    server.asked.clear()
    server.answer = _answer_for(item)
    server.document = _ok(document()) if item.path.startswith("listings/") else b""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            in_child(item, folder, server.port, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    found: dict[str, object] = json.loads(said) if said else {"fault": f"ended with {status}"}
    leaked = [secret for secret in SECRETS for request in server.asked if secret in request]
    # A signed request to AWS itself names the key, never the secret.
    to_aws = all("amazonaws.com" in request.split("Host: ")[-1] for request in server.asked)
    if "canary-secret" in leaked or (leaked and not to_aws):
        found["fault"] = f"sends secrets: {server.asked!r:.500}"
    return {"path": item.path, "asked": len(server.asked), **found}


def _answer_for(item: Item) -> bytes:
    """What the public server gives where the file itself is not an answer."""
    if item.path.startswith("answers/"):
        return item.data
    if item.path.startswith("listings/"):
        return _ok(large(item.data))
    if item.path.startswith("identities/"):
        return _ok(item.data)
    return _with_head(b'{"error": "NotFound"}', "404 Not Found")


def _ok(body: bytes) -> bytes:
    return _with_head(body, "200 OK")


def _with_head(body: bytes, status: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def document() -> bytes:
    """The identity document of a stranger whose server is the public one."""
    service = {"id": "#atproto_pds", "serviceEndpoint": "https://public.example"}
    return json.dumps({"id": DID, "service": [service]}).encode()


def warm_up() -> None:
    """Import what is imported on first use, so that children import nothing."""
    import boto3

    from atdata._registry import SHARD_SCHEMES
    from atdata.sources.s3_access import S3Access
    from atdata.sources.s3_client import client_for

    for scheme in ("file", "https", "at", "s3"):
        SHARD_SCHEMES.load(scheme)
    boto3.session.Session()
    for endpoint in (None, "https://evil.example:9000"):
        client, _ = client_for(S3Access(endpoint, "us-east-1", anonymous=True))
        client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})


def main(folder: Path, only: str = "") -> None:
    """Run the corpus, or the files whose path holds ``only``."""
    (folder / "work").mkdir(exist_ok=True)
    (folder / "canary.tar").write_bytes(b"not for strangers")
    (folder / "canary_module.py").write_text("open('canary-was-here', 'w').close()\n")
    server = internet.PublicServer(folder)
    os.environ.update(environment(folder, server.trusted))
    for name in ("ATDATA_PDS_URL", "ATDATA_ALLOW_PRIVATE", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        os.environ.pop(name, None)
    os.chdir(folder)
    sys.path.append(str(folder))
    tempfile.tempdir = str(folder / "work")
    warm_up()
    for item in items():
        if only in item.path:
            print(json.dumps(run(item, folder, server)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:3])
