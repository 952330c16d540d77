"""``atdata discover``: lists the datasets of servers, or mirrors them into an index."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Annotated, Any

import typer

from atdata.cli.entry_facts import entry_facts, list_entries
from atdata.cli.options import Json
from atdata.cli.output import emit
from atdata.cli.plain import plain
from atdata.cli.resolve import local_index, network_index
from atdata.errors import OptionError


def discover(
    servers: Annotated[
        list[str], typer.Argument(metavar="SERVER...", help="URLs of servers or relays.")
    ],
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="INDEX",
            help="Mirror schemas and datasets into this index: a path, or a URL such as "
            "postgresql://…",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep mirroring: publications, changes, deletions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the datasets of all accounts on servers or relays.

    Lists them, or with --into mirrors them into an index. Run it again to fetch what is new, or
    use --follow, which runs until Ctrl-C and needs the extra mirror. Interrupted, it resumes
    where it stopped.
    """
    if into is None:
        if follow:
            raise OptionError("--follow needs --into: name the index to keep up to date.")
        _list(servers, as_json)
        return
    from atdata.atmosphere.mirror import Mirror

    with local_index(into) as index:
        mirror = Mirror(index.mirrored, report=_say)
        if follow:
            _follow(mirror, servers)
        else:
            for server in servers:
                mirror.update(server)
        if as_json:
            emit(vars(mirror.counts))
        else:
            print(mirror.counts)


def _list(servers: list[str], as_json: bool) -> None:
    found = (entry_facts(entry) for entry in _entries(servers))
    list_entries(found, ("name", "samples", "size", "license", "uri"), as_json)


def _entries(servers: list[str]) -> Iterator[Any]:
    index = network_index()
    seen: set[str] = set()
    for server in servers:
        for entry in index.discover(server):
            if entry.uri not in seen:
                seen.add(entry.uri)
                yield entry


def _follow(mirror: Any, servers: list[str]) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(len(servers)) as pool:
        running = [pool.submit(mirror.follow, server, stop) for server in servers]
        try:
            for ended in as_completed(running):
                ended.result()
        except KeyboardInterrupt:
            _say("Stopping.")
        finally:
            stop.set()


def _say(line: str) -> None:
    print(f"# {plain(line)}", file=sys.stderr, flush=True)
