"""Records of datasets: where a stranger says that shards are."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.hostile.items import DID, Item, record, text

_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def items() -> list[Item]:
    """All of them."""
    return [*_places(), *_buckets(), *_sizes(), *_shapes(), *_manifests()]


def _manifests() -> list[Item]:
    kind = "ac.foundation.dataset.storageObject"
    places = {
        "file": ("has its manifest in a file of this machine", "file:///etc/passwd", None),
        "path": ("has a path as its manifest", "canary.tar", None),
        "pipe": ("has a command as its manifest", "pipe:touch canary-was-here", None),
        "loopback": ("has its manifest on this machine", "https://127.0.0.1/m.json", None),
        "metadata": ("has a cloud's keys as its manifest", "https://169.254.169.254/m", None),
        "private": ("has its manifest in the private net", "https://private.example/m", None),
        "braces": ("hides the place of its manifest in braces", "{fil,http}e:///etc/passwd", None),
        "s3": ("is sent the keys for its manifest", "s3://b/m.json", "https://evil.example:9000"),
        "s3-loopback": (
            "asks this machine for its manifest",
            "s3://b/m.json",
            "http://127.0.0.1:9",
        ),
    }
    found = []
    for name, (tries, url, endpoint) in places.items():
        said = {"url": url, "cid": _CID, "size": 10, **({"endpoint": endpoint} if endpoint else {})}
        storage = {"$type": kind, "manifestObject": said}
        found.append(text(f"records/manifest-{name}.json", tries, record(storage=storage)))
    return found


def _places() -> list[Item]:
    urls = {
        "pipe": ("runs a command when the shard is opened", "pipe:touch canary-was-here"),
        "pipe-braces": (
            "hides a command in braces",
            "{pipe:touch canary-was-here,https://public.example/a.tar}",
        ),
        "path": ("reads a file of this machine", "/etc/passwd"),
        "relative": ("reads a file of the working folder", "canary.tar"),
        "file": ("reads a file of this machine by URL", "file:///etc/passwd"),
        "file-host": ("names a file as if another host had it", "file://localhost/etc/passwd"),
        "file-capitals": ("hides the scheme in capitals", "FILE:///etc/passwd"),
        "file-braces": ("hides the scheme in braces", "{fil,http}e:///etc/passwd"),
        "home": ("reads a file of the user's home", "~/.ssh/id_rsa"),
        "glob": ("lists a folder of this machine", "/etc/*"),
        "http": ("asks for a connection that anyone can listen to", "http://public.example/a.tar"),
        "gs": ("uses the user's keys for another cloud", "gs://bucket/a.tar"),
        "hf": ("uses the user's token of a hub", "hf://datasets/x/a.tar"),
        "ftp": ("uses a scheme that nobody opens", "ftp://public.example/a.tar"),
        "data": ("carries a shard in the URL itself", "data:application/x-tar;base64,AAAA"),
        "empty": ("names nothing", ""),
        "loopback": ("reaches a service of this machine", "https://127.0.0.1:6379/a.tar"),
        "metadata": (
            "reaches the keys of a cloud's machine",
            "https://169.254.169.254/latest/meta-data/",
        ),
        "private-name": (
            "leads into the private net by a public name",
            "https://private.example/a.tar",
        ),
        "blob-braces": (
            "expands an account's name",
            f"at://{{{DID},did:web:loopback.example}}/blob/{_CID}",
        ),
    }
    found = [text(f"records/url-{k}.json", t, record(u)) for k, (t, u) in urls.items()]
    mixed = record("https://public.example/a.tar", "/etc/passwd")
    blob = {"$type": "ac.foundation.dataset.storageBlobs"}
    path = {**blob, "blobs": [{"$type": "blob", "ref": {"$link": "../../etc/passwd"}, "size": 1}]}
    number = {**blob, "blobs": [{"$type": "blob", "ref": {"$link": 5}, "size": 1}]}
    detail = {"shards": [{"url": "https://public.example/a.tar", "sha256": "../x"}]}
    return [
        *found,
        text("records/url-second.json", "hides a local file behind a good URL", mixed),
        text("records/blob-path.json", "names a path as the CID of a blob", record(storage=path)),
        text("records/blob-number.json", "names a number as the CID", record(storage=number)),
        text(
            "records/detail-hash.json",
            "gives a hash that is none",
            record("https://public.example/a.tar", storage=detail),
        ),
    ]


def _buckets() -> list[Item]:
    def at(endpoint: Any, url: str = "s3://bucket/a.tar", **rest: Any) -> dict[str, Any]:
        return record(url, storage={"endpoint": endpoint, **rest})

    return [
        text(
            "records/s3-loopback.json",
            "names this machine as the S3 server",
            at("https://127.0.0.1:9000"),
        ),
        text(
            "records/s3-http.json",
            "asks for keys over a connection that anyone hears",
            at("http://public.example:9000"),
        ),
        text(
            "records/s3-evil.json",
            "makes its own server the S3 server, to be sent the keys",
            at("https://evil.example:9000"),
        ),
        text(
            "records/s3-userinfo.json",
            "hides the server behind a user's name",
            at("https://s3.amazonaws.com@evil.example"),
        ),
        text("records/s3-file.json", "names a file as the S3 server", at("file:///etc/passwd")),
        text("records/s3-bracket.json", "breaks the parser of the endpoint", at("https://[::1")),
        text(
            "records/s3-list.json", "gives a list where the endpoint is", at(["https://a.example"])
        ),
        text(
            "records/s3-region.json",
            "leads to another host by the region",
            record("s3://bucket/a.tar", storage={"region": "x.evil.example/#"}),
        ),
        text(
            "records/s3-function.json",
            "has a signed request sent to a function of its own",
            record("s3://arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint:f/a.tar"),
        ),
        text(
            "records/s3-bucket-host.json",
            "writes a host into the bucket's name",
            record("s3://evil.example#/a.tar"),
        ),
        text(
            "records/s3-surrogate.json",
            "has a key that UTF-8 cannot hold",
            record("s3://bucket/\ud800.tar"),
        ),
        text(
            "records/s3-aws.json",
            "has this machine ask a bucket on AWS, which may be anyone's",
            record("s3://someones-bucket/a.tar"),
        ),
    ]


def _sizes() -> list[Item]:
    host = "https://public.example/"
    return [
        text(
            "records/braces-million.json",
            "stands for 10**18 shards in 60 characters",
            record(host + "{0..999999}{0..999999}{0..999999}"),
        ),
        text(
            "records/braces-long.json",
            "stands for 90 GB of text in one URL of 90 kB",
            record(host + "a" * 90_000 + "{000000..999999}"),
        ),
        text(
            "records/braces-many.json",
            "stands for 10**6 shards, more than a dataset may have",
            record(host + "{000000..999999}.tar"),
        ),
        text(
            "records/braces-digits.json",
            "counts to a number of 5,000 digits",
            record(host + "{1.." + "9" * 5000 + "}"),
        ),
        text(
            "records/braces-deep.json",
            "nests braces a thousand deep",
            record(host + "{a," * 1000 + "b" + "}" * 1000),
        ),
        text("records/braces-open.json", "never closes its braces", record(host + "{" * 50_000)),
        text(
            "records/digits.json",
            "names shards by numbers of 5,000 digits",
            record(host + "1" * 5000, host + "1" * 4999 + "2"),
        ),
        text(
            "records/size-huge.json",
            "gives a shard 10**4000 bytes",
            record(
                host + "a.tar", storage={"shards": [{"url": host + "a.tar", "bytes": 10**4000}]}
            ),
        ),
        text(
            "records/size-negative.json",
            "gives a shard -1 samples",
            record(host + "a.tar", storage={"shards": [{"url": host + "a.tar", "samples": -1}]}),
        ),
    ]


def _shapes() -> list[Item]:
    good = "https://public.example/a.tar"

    def metadata(data: bytes) -> dict[str, Any]:
        return record(good, metadata={"$bytes": b64encode(data).decode()})

    deep: Any = []
    for _ in range(900):
        deep = [deep]
    lists = b"\x81\xa1a" + (b"\xdd" + (60_000).to_bytes(4, "big")) * 500 + b"\xc0" * 60_000
    return [
        text(
            "records/type-other.json",
            "says that it is another record",
            {**record(good), "$type": "app.bsky.feed.post"},
        ),
        text(
            "records/name-escape.json",
            "acts on the terminal by its name",
            {**record(good), "name": "\x1b]0;owned\x07"},
        ),
        text("records/name-list.json", "has a list as its name", {**record(good), "name": ["a"]}),
        text(
            "records/name-long.json",
            "has a name of 100,000 characters",
            {**record(good), "name": "a" * 100_000},
        ),
        text(
            "records/name-surrogate.json",
            "has a name that UTF-8 cannot hold",
            {**record(good), "name": "a\udfff"},
        ),
        text(
            "records/schema-local.json",
            "names a schema of the local index",
            {**record(good), "schemaRef": "atdata://local/sampleSchema/Thing@1.0.0"},
        ),
        text(
            "records/time.json",
            "is from a year beyond all",
            {**record(good), "createdAt": "99999-01-01"},
        ),
        text("records/urls-deep.json", "nests lists 900 deep", record(storage={"urls": deep})),
        text(
            "records/urls-number.json",
            "has numbers as URLs",
            record(storage={"urls": [1, 2.5, None]}),
        ),
        text(
            "records/no-storage.json",
            "says nothing of its shards",
            {**record(good), "storage": None},
        ),
        text(
            "records/metadata-depth.json",
            "claims lists of 60,000 items 500 deep in its metadata",
            metadata(lists),
        ),
        text(
            "records/metadata-extension.json",
            "has a msgpack extension in its metadata",
            metadata(b"\x81\xa1a\xc7\x0c\xff" + b"\xff" * 12),
        ),
        text(
            "records/metadata-keys.json",
            "has the same key twice in its metadata",
            metadata(b"\x82\xa1a\x01\xa1a\x02"),
        ),
        text(
            "records/metadata-base64.json",
            "has metadata that are no base64",
            record(good, metadata={"$bytes": "%%%"}),
        ),
    ]
