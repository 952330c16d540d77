"""A real S3 server that checks signatures: OpenStack Swift with its S3 interface, on loopback.

By hand: ``python -m tests.services.s3``. Known gaps: a conditional PUT with If-Match answers
501, an unknown access key is reported as a bad signature, an unsigned request answers 400.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import secrets
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import process

REGION = "us-east-1"
_KINDS = ("account", "container", "object")
_FILTERS = [
    "catch_errors",
    "gatekeeper",
    "healthcheck",
    "cache",
    "listing_formats",
    "bulk",
    "s3api",
    "tempauth",
    "copy",
    "slo",
    "dlo",
    "versioned_writes",
    "symlink",
]


@dataclass(frozen=True)
class S3Server:
    """Where the server listens, its owner's keys, and those of a user without any rights."""

    endpoint: str
    access_key: str
    secret_key: str
    other_access_key: str
    other_secret_key: str
    region: str = REGION

    def credentials(self) -> dict[str, str]:
        """The owner's keys and the endpoint under the names that AWS tools use."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT": self.endpoint,
            "AWS_REGION": self.region,
        }

    def client(self, endpoint: str | None = None) -> Any:
        """A boto3 client of the owner's, at this endpoint (a fault proxy's, say)."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}),
        )


def _folder_parent() -> Path:
    """A folder on a file system that keeps user attributes, which Swift stores metadata in."""
    below_project = process.ROOT / ".cache"
    below_project.mkdir(exist_ok=True)
    for parent in (Path(tempfile.gettempdir()), below_project):
        with tempfile.NamedTemporaryFile(dir=parent) as probe:
            try:
                os.setxattr(probe.name, "user.atdata.probe", b"1")
            except (OSError, AttributeError):
                continue
            return parent
    raise process.ServiceUnavailable(
        "S3: neither the temporary folder nor .cache keeps user extended attributes. Set TMPDIR "
        "to a folder on ext4, xfs or btrfs."
    )


def _daemon(kind: str) -> Path:
    program = Path(sysconfig.get_path("scripts"), f"swift-{kind}-server")
    if importlib.util.find_spec("swift") is None or not program.exists():
        raise process.ServiceUnavailable("S3: no package 'swift'. Run `make setup`.")
    return program


def _write_rings(etc: Path, ports: dict[str, int]) -> None:
    """One device and one replica for each kind of daemon."""
    from swift.common.ring import RingBuilder

    for kind in _KINDS:
        builder = RingBuilder(part_power=6, replicas=1, min_part_hours=1)
        address = {"ip": "127.0.0.1", "port": ports[kind]}
        builder.add_dev(
            {
                **address,
                "id": 0,
                "region": 1,
                "zone": 1,
                "device": "disk",
                "weight": 1.0,
                "meta": "",
                "replication_ip": address["ip"],
                "replication_port": address["port"],
            }
        )
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{kind}.ring.gz"))


def _write_settings(etc: Path, disks: Path, ports: dict[str, int], keys: dict[str, str]) -> None:
    megabyte = 1 << 20
    salt = f"swift_hash_path_suffix = {secrets.token_hex(8)}\nswift_hash_path_prefix = atdata\n"
    (etc / "swift.conf").write_text(f"[swift-hash]\n{salt}")
    # Without workers of its own a daemon is one process, which ends with its supervisor.
    common = (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nuser = {getpass.getuser()}\nswift_dir = {etc}\n"
        "workers = 0\nlog_level = WARNING\nlog_udp_host = 127.0.0.1\nlog_udp_port = 9\n"
    )
    for kind in _KINDS:
        chunks = f"disk_chunk_size = {megabyte}\nnetwork_chunk_size = {megabyte}\n"
        (etc / f"{kind}.conf").write_text(
            f"{common}bind_port = {ports[kind]}\ndevices = {disks}\nmount_check = false\n"
            "disable_fallocate = true\nfallocate_reserve = 0\n"
            f"[pipeline:main]\npipeline = {kind}-server\n"
            f"[app:{kind}-server]\nuse = egg:swift#{kind}\n{chunks if kind == 'object' else ''}"
        )
    settings = {
        "cache": "memcache_servers = 127.0.0.1:1\nerror_suppression_limit = 1\n",
        "s3api": f"location = {REGION}\nallow_no_owner = true\n",
        "tempauth": (
            f"user_test_owner = {keys['owner']} .admin\nuser_test_other = {keys['other']}\n"
        ),
        "versioned_writes": "allow_object_versioning = true\n",
    }
    filters = "".join(
        f"[filter:{name}]\nuse = egg:swift#{'memcache' if name == 'cache' else name}\n"
        f"{settings.get(name, '')}"
        for name in _FILTERS
    )
    (etc / "proxy.conf").write_text(
        f"{common}bind_port = {ports['proxy']}\n"
        f"[pipeline:main]\npipeline = {' '.join(_FILTERS)} proxy-server\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
        f"client_chunk_size = {megabyte}\nobject_chunk_size = {megabyte}\n{filters}"
    )


def _is_healthy(ports: dict[str, int]) -> bool:
    if not all(process.is_listening(port) for port in ports.values()):
        return False
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['proxy']}/healthcheck", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def start() -> Iterator[S3Server]:
    """Run the four daemons until the block ends.

    Raises:
        ServiceUnavailable: Swift is not installed, or no folder keeps user attributes.
        ServiceFailed: A daemon did not start.
    """
    daemons = {kind: _daemon(kind) for kind in (*_KINDS, "proxy")}
    ports = {kind: process.free_port() for kind in daemons}
    keys = {"owner": secrets.token_urlsafe(16), "other": secrets.token_urlsafe(16)}
    with process.temporary_folder("s3", _folder_parent()) as folder:
        etc, disks = folder / "etc", folder / "disks"
        etc.mkdir(mode=0o700)
        (disks / "disk").mkdir(parents=True)
        _write_rings(etc, ports)
        _write_settings(etc, disks, ports, keys)
        commands = [
            process.Command([sys.executable, str(program), str(etc / f"{kind}.conf")])
            for kind, program in daemons.items()
        ]
        with process.supervised(commands, folder, lambda: _is_healthy(ports)):
            endpoint = f"http://127.0.0.1:{ports['proxy']}"
            yield S3Server(endpoint, "test:owner", keys["owner"], "test:other", keys["other"])


if __name__ == "__main__":
    process.serve(start)
