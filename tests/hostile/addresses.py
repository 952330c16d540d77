"""URLs, identity documents and answers of servers: where a stranger wants to lead us."""

from __future__ import annotations

import json
from typing import Any

from tests.hostile.items import DID, Item, text

_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def items() -> list[Item]:
    """All of them."""
    return [*_urls(), *_references(), *_documents(), *_answers(), *_listings()]


def _urls() -> list[Item]:
    hosts = {
        "localhost": ("names this machine", "localhost"),
        "loopback": ("names this machine by its address", "127.0.0.1"),
        "loopback-other": ("names this machine by another of its addresses", "127.8.9.1"),
        "decimal": ("writes this machine's address as one number", "2130706433"),
        "hex": ("writes this machine's address in hexadecimal", "0x7f000001"),
        "octal": ("writes this machine's address in octal", "0177.0.0.1"),
        "short": ("leaves parts of the address out", "127.1"),
        "zero": ("names the address of no machine, which is this one", "0.0.0.0"),
        "private": ("names a machine of the private net", "192.168.0.1"),
        "link-local": ("names the keys of a cloud's machine", "169.254.169.254"),
        "cgnat": ("names a machine of the provider's net", "100.64.0.1"),
        "azure": ("names a cloud's own address, which looks public", "168.63.129.16"),
        "broadcast": ("names every machine of the net", "255.255.255.255"),
        "multicast": ("names a group of machines", "224.0.0.1"),
        "ipv6": ("names this machine in IPv6", "[::1]"),
        "ipv6-any": ("names no machine in IPv6", "[::]"),
        "ipv6-mapped": ("hides this machine in IPv6", "[::ffff:127.0.0.1]"),
        "ipv6-compatible": ("hides this machine in IPv6 of old", "[::127.0.0.1]"),
        "ipv6-6to4": ("hides this machine in a tunnel", "[2002:7f00:1::]"),
        "ipv6-nat64": ("hides this machine behind a translator", "[64:ff9b::7f00:1]"),
        "ipv6-nat64-local": ("hides this machine behind a translator's own", "[64:ff9b:1::7f00:1]"),
        "ipv6-translated": ("hides this machine in another form", "[::ffff:0:127.0.0.1]"),
        "ipv6-teredo": ("hides this machine in another tunnel", "[2001:0:5db8:d822::80ff:fffe]"),
        "ipv6-isatap": ("hides this machine in a tunnel of a site", "[2606:4700::5efe:7f00:1]"),
        "ipv6-mapped-hex": ("hides a cloud's keys in IPv6", "[::ffff:a9fe:a9fe]"),
        "mixed-forms": ("writes this machine's address in three ways at once", "0177.0x0.1"),
        "beyond": ("writes an address that is too large and turns around", "4294967297"),
        "dot": ("ends the name with a dot", "localhost."),
        "dot-metadata": ("ends a name of a cloud's keys with a dot", "metadata.example."),
        "dots": ("parts an address by other dots", "127\u30020\u30020\u30021"),
        "percent": ("escapes an address", "%31%32%37.0.0.1"),
        "punycode": (
            "has a name in punycode that leads into the private net",
            "xn--prvat-wva.example",
        ),
        "idna": (
            "has a name of other letters that leads into the private net",
            "pr\u00efvat.example",
        ),
        "ipv6-site": ("names a machine of the site", "[fec0::1]"),
        "ipv6-ula": ("names a machine of the private net in IPv6", "[fd00:ec2::254]"),
        "ipv6-zone": ("names a network card", "[fe80::1%25lo]"),
        "dns-private": ("has a name that leads into the private net", "private.example"),
        "dns-loopback": ("has a name that leads to this machine", "loopback.example"),
        "dns-metadata": ("has a name that leads to a cloud's keys", "metadata.example"),
        "dns-mapped": ("has a name that leads to a hidden address", "mapped.example"),
        "dns-mixed": ("has a name with a good and a bad address", "mixed.example"),
        "dns-rebind": ("has a name that changes between the check and the use", "rebind.example"),
        "userinfo": ("hides where it leads behind a user's name", "public.example@127.0.0.1"),
        "backslash": ("is read in two ways", "127.0.0.1\\@public.example"),
        "port-ssh": ("speaks to a server that is no web server", "public.example:22"),
        "port-smtp": ("speaks to a mail server", "public.example:25"),
        "port-beyond": ("names a port that is none", "public.example:99999"),
        "null": ("has a zero character in the host", "public.example\0.evil.example"),
        "fullwidth": ("writes an address in other digits", "\uff11\uff12\uff17.0.0.1"),
        "long": ("has a host of 100,000 characters", "a" * 100_000),
        "surrogate": ("has a host that UTF-8 cannot hold", "\ud800.example"),
    }
    found = [
        text(f"urls/{name}.json", tries, {"url": f"https://{host}/a.tar"})
        for name, (tries, host) in hosts.items()
    ]
    whole = {
        "newline": ("smuggles a second request", "https://public.example/a\r\nHost: evil/a.tar"),
        "bracket": ("breaks the parser", "https://[public.example/a.tar"),
        "no-host": ("has no host", "https:///a.tar"),
        "scheme-only": ("ends early", "https:"),
        "proxy": ("asks for a proxy's scheme", "socks5://127.0.0.1:1080/a.tar"),
        "gopher": (
            "speaks to another service by an old scheme",
            "gopher://127.0.0.1:6379/_FLUSHALL",
        ),
        "unix": ("names a socket of this machine", "http+unix://%2Fvar%2Frun%2Fdocker.sock/x.tar"),
        "at-handle": ("names a blob of an account by name", f"at://alice.example/blob/{_CID}"),
        "at-path": ("has a path as a DID", f"at://did:web:../../etc/blob/{_CID}"),
        "did-loopback": (
            "has an account on this machine",
            f"at://did:web:localhost%3A1/blob/{_CID}",
        ),
        "did-decimal": ("has an account at a number", f"at://did:web:2130706433/blob/{_CID}"),
        "did-private": (
            "has an account in the private net",
            f"at://did:web:private.example/blob/{_CID}",
        ),
        "did-method": ("has an account of an unknown kind", f"at://did:key:zabc/blob/{_CID}"),
    }
    return found + [text(f"urls/{k}.json", t, {"url": u}) for k, (t, u) in whole.items()]


def _references() -> list[Item]:
    refs = {
        "long": ("is a million characters long", "at://" + "a" * 1_000_000),
        "slashes": ("has a million slashes", "at://" + "/" * 1_000_000),
        "handle": ("makes the parser of handles try for ever", "@" + "a." * 120 + "!/x"),
        "dots": ("has a path as a record key", f"at://{DID}/ac.foundation.dataset.record/.."),
        "version": ("has a version of 5,000 digits", "@local/a@" + "9" * 5000 + ".0.0"),
        "name-escape": ("acts on the terminal", "@local/\x1b[2J"),
        "name-url": ("is a URL as a name", "@local/https://evil.example/a"),
        "cid-codec": (
            "has a CID of another kind",
            f"at://{DID}/blob/bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ),
        "cid-case": ("writes a CID in another way", f"at://{DID}/blob/{_CID.upper()}"),
        "class": ("has code as a class", "atdata://local/sampleSchema/os.system('x')@1.0.0"),
        "surrogate": ("has what UTF-8 cannot hold", "@local/\ud800"),
    }
    return [text(f"refs/{name}.json", tries, ref) for name, (tries, ref) in refs.items()]


def _documents() -> list[Item]:
    def document(*services: Any, **rest: Any) -> dict[str, Any]:
        return {"id": DID, "alsoKnownAs": ["at://evil.example"], "service": list(services), **rest}

    def server(url: Any) -> dict[str, Any]:
        return document(
            {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": url}
        )

    urls = {
        "loopback": ("names this machine as its server", "https://127.0.0.1:443"),
        "http": ("names a server over plain http", "http://public.example"),
        "metadata": ("names a cloud's keys as its server", "https://metadata.example"),
        "mapped": ("hides this machine in IPv6", "https://[::ffff:127.0.0.1]"),
        "decimal": ("writes this machine's address as a number", "https://2130706433"),
        "file": ("names a file as its server", "file:///etc/passwd"),
        "pipe": ("names a command as its server", "pipe:touch canary-was-here"),
        "userinfo": ("hides the server behind a user's name", "https://public.example@127.0.0.1"),
        "path": ("has a path and a query", "https://public.example/a?b=c"),
        "port": ("names a mail server", "https://public.example:25"),
        "bracket": ("breaks the parser", "https://[::1"),
        "unicode": ("has a host with other letters", "https://p\u00fcblic.example"),
        "arrow": ("has a host that no header can hold", "https://\u2192.example"),
        "number": ("has a number as a server", 80),
        "long": ("has a server of 100,000 characters", "https://" + "a" * 100_000),
    }
    found = [
        text(f"identities/server-{name}.json", tries, server(url))
        for name, (tries, url) in urls.items()
    ]
    other = {**server("https://public.example"), "id": "did:web:victim.example"}
    return [
        *found,
        text("identities/other.json", "is the document of another account", other),
        text("identities/none.json", "names no server", document()),
        text(
            "identities/services.json",
            "has services that are none",
            {**document(), "service": "https://127.0.0.1"},
        ),
        text("identities/list.json", "is a list", [document()]),
        text(
            "identities/names.json",
            "has names that are none",
            {**document(), "alsoKnownAs": {"at://x": 1}},
        ),
        text(
            "identities/large.json",
            "is larger than any document",
            {**document(), "x": "a" * 1_200_000},
        ),
    ]


def _answers() -> list[Item]:
    def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
        lines = [
            f"HTTP/1.1 {status}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def redirect(to: str) -> bytes:
        return answer("302 Found", f"Location: {to}")

    bodies = {
        "redirect-loopback": ("redirects to this machine", redirect("https://127.0.0.1/a.tar")),
        "redirect-metadata": (
            "redirects to a cloud's keys",
            redirect("https://169.254.169.254/latest/"),
        ),
        "redirect-name": (
            "redirects into the private net by a name",
            redirect("https://private.example/a"),
        ),
        "redirect-http": ("redirects to plain http", redirect("http://public.example/a.tar")),
        "redirect-file": ("redirects to a file", redirect("file:///etc/passwd")),
        "redirect-pipe": ("redirects to a command", redirect("pipe:touch canary-was-here")),
        "redirect-user": ("redirects behind a user's name", redirect("https://a@127.0.0.1/")),
        "redirect-port": ("redirects to a mail server", redirect("https://public.example:25/")),
        "redirect-broken": ("redirects to what breaks the parser", redirect("https://[::1")),
        "redirect-port-beyond": (
            "redirects to a port that is none",
            redirect("https://a.example:99999/"),
        ),
        "redirect-circle": ("redirects to itself", redirect("https://public.example/a.tar")),
        "length-digits": (
            "announces 10**5000 bytes",
            answer("200 OK", "Content-Length: " + "9" * 5000),
        ),
        "length-two": ("announces two lengths", answer("200 OK", "Content-Length: 5", body=b"{}")),
        "retry-power": (
            "asks to wait for a number that is none",
            answer("429 Too Many", "Retry-After: \u00b2"),
        ),
        "retry-digits": (
            "asks to wait for 10**400 s",
            answer("503 No", "Retry-After: " + "9" * 400),
        ),
        "retry-date": (
            "asks to wait until the year 1",
            answer("503 No", "Retry-After: Mon, 01 Jan 0001 00:00:00 +2359"),
        ),
        "headers": ("has 10,000 headers", answer("200 OK", *(f"X-{i}: a" for i in range(10_000)))),
        "header-long": ("has a header of 200 kB", answer("200 OK", "X: " + "a" * 200_000)),
        "no-http": ("does not speak HTTP", b"220 mail.example ESMTP\r\n"),
        "nothing": ("closes the connection", b""),
        "gzip": (
            "sends 100 MB packed into 100 kB",
            answer("200 OK", "Content-Encoding: gzip", body=_bomb()),
        ),
        "chunks": (
            "sends a chunk of a size that is none",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        ),
        "deep": ("answers JSON nested 100,000 deep", answer("200 OK", body=b"[" * 100_000)),
        "lists": (
            "answers three million empty lists, 200 MB in memory",
            answer("200 OK", body=b'{"records": [' + b"[]," * 3_000_000 + b"[]]}"),
        ),
        "number": ("answers a number of 100,000 digits", answer("200 OK", body=b"9" * 100_000)),
        "short": (
            "sends less than it announces",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc",
        ),
    }
    return [Item(f"answers/{name}.http", tries, data) for name, (tries, data) in bodies.items()]


def _listings() -> list[Item]:
    """What an account's server answers to every call, as large as an answer may be: see `large`."""
    bodies = {
        "strings": ("answers three million short texts, 230 MB in memory", '"ab",'),
        "numbers": ("answers four million numbers", "999,"),
        "objects": ("answers two million objects, 400 MB in memory", '{"a":0},'),
        "deep": ("answers objects in one another", '{"a":' * 900 + "0" + "}" * 900 + ","),
        "keys": ("answers objects of a thousand keys", KEYS),
        "text": ("answers one text of escapes", "\\u1234"),
        "spaces": ("answers spaces", " "),
    }
    return [
        text(f"listings/{name}.json", tries, row, harmless=name in ("text", "spaces"))
        for name, (tries, row) in bodies.items()
    ]


KEYS = "{" + ",".join(f'"{n}":0' for n in range(1_000)) + "},"
_LARGE = 15_900_000


def large(data: bytes) -> bytes:
    """The answer that a file of ``listings/`` stands for: rows of what it holds."""
    row = json.loads(data)
    rows = row * (_LARGE // len(row))
    rows = f'"{rows}"' if row.startswith("\\") else f"{rows}0"
    return b'{"records": [' + rows.encode() + b"]}"


def _bomb() -> bytes:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(100)), packer.flush()])
