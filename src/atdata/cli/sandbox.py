"""``atdata sandbox``: runs a local network to try promotion on."""

from __future__ import annotations

import shlex
import sys

from atdata.cli.options import Json
from atdata.cli.output import emit


def sandbox(as_json: Json = False) -> None:
    """Run an AT Protocol network on this machine until Ctrl-C.

    It has a directory, two servers and the accounts alice and bob. Prints the variables to
    export in another terminal. Everything published on it is lost when it ends.
    """
    from atdata.testing import network

    with network.start(report=_say) as net:
        # Its servers are on this machine, which URLs from the network may not reach by default.
        environment = {**net.environment(), "ATDATA_ALLOW_PRIVATE": "1"}
        if as_json:
            emit(environment)
        else:
            for name, value in environment.items():
                print(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        _say("The network runs until Ctrl-C.")
        network.wait_for_end()


def _say(line: str) -> None:
    print(f"# {line}", file=sys.stderr, flush=True)
